"""The sandbox's faults, and the script of those still to come."""

import gzip
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from bridge.sandbox.answers import HttpAnswer, error, page

_HUGE = 5_000_000  # bytes of the message of "huge"
_MAX_SCRIPT = 1000  # entries
_SUPEROFFICE = {
    400: ("ArgumentException", "The request is not valid."),
    401: ("AuthenticationException", "Authentication failed."),
    403: ("AccessDeniedException", "Access is denied."),
    404: ("NotFoundException", "The resource was not found."),
    500: ("Exception", "An unexpected error occurred."),
}
_ANSWERS = {
    "null": HttpAnswer(200, b"null"),
    "error": error(200, "ArgumentException", "The event could not be handled."),
    "rejected": error(400, "ArgumentException", "The event is not valid."),
    "html404": page(404),
    "html200": page(200),
    "redirect": HttpAnswer(302, b"", headers=((b"location", b"/login"),)),
    "garbage": HttpAnswer(200, b'{"EventType": '),
}

FAULTS = {
    "503": "any status from 300 to 599, with a body of SuperOffice's or of a web server",
    "202": "any status from 200 to 299, with the usual answer's body (204 and 205 without one); recorded",
    "gzip": "the usual answer compressed, although nobody asked for it; recorded",
    "latin-1": "the usual answer in ISO 8859-1, with a letter that is no UTF-8 there; recorded",
    "utf-16": "the usual answer in UTF-16; recorded",
    "null": "200 with the JSON text null",
    "error": "200 with an error object",
    "rejected": "400 with an error object",
    "html404": "404 with a page of HTML, as where the URL is wrong",
    "html200": "200 with a page of HTML, as from a login page or a captive proxy",
    "redirect": "302 to /login",
    "garbage": "200 with half a JSON object, well-formed as HTTP",
    "huge": "200 with an error object of 5 MB",
    "hang": "no answer until the client leaves (nothing recorded) or the faults are cleared (then as usual)",
    "slow": "recorded at once, answered after `seconds`",
    "cut-before": "the connection is cut without an answer; nothing recorded",
    "cut-after": "recorded, then the connection is cut without an answer",
    "cut-middle": "recorded, then half of the answer's body, then the connection is cut",
}
_STATUS = re.compile(r"[2-5][0-9][0-9]")
_SUCCESS = re.compile(r"2[0-9][0-9]")
_WITHOUT_ANSWER = frozenset({"hang", "slow", "cut-before", "cut-after", "cut-middle"})


class Fault(BaseModel):
    """One entry of a script: which fault, how often (None: until cleared), for one tenant or for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: str
    times: Annotated[int, Field(ge=1)] | None = 1
    tenant: str | None = None
    retry_after: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern="^[ -~]{1,100}$")] | None = None
    seconds: Annotated[float, Field(ge=0, le=3600)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Fault":
        if self.fault not in FAULTS and not _STATUS.fullmatch(self.fault):
            names = ", ".join(name for name in FAULTS if not _STATUS.fullmatch(name))
            raise ValueError(f"unknown fault '{self.fault[:50]}', use a status or one of {names}")
        if self.retry_after is not None and (self.fault in _WITHOUT_ANSWER or self.guise):
            raise ValueError(f"'{self.fault}' has no answer of its own that could carry retry_after, leave it out")
        if (self.fault == "slow") != (self.seconds is not None):
            raise ValueError("'slow' needs seconds" if self.fault == "slow" else "seconds goes with 'slow' only")
        return self

    @property
    def guise(self) -> "Callable[[HttpAnswer], HttpAnswer] | None":
        """How the usual answer is changed; None where there is another one instead, or none."""
        if _SUCCESS.fullmatch(self.fault):
            return lambda usual: _as_status(usual, int(self.fault))
        return _GUISES.get(self.fault)

    def answer(self) -> HttpAnswer | None:
        """What is answered instead of the usual; None where the fault is in the manner, or in the usual's guise."""
        if self.fault in _WITHOUT_ANSWER or self.guise:
            return None
        answer = _ANSWERS.get(self.fault) or (_huge() if self.fault == "huge" else _status(int(self.fault)))
        if self.retry_after is None:
            return answer
        retry_after = (b"retry-after", str(self.retry_after).encode())
        return HttpAnswer(answer.status, answer.body, answer.content_type, (*answer.headers, retry_after))


class Script:
    """The faults still to come, in order: each request takes one that is for its tenant or for all."""

    def __init__(self, faults: Iterable[Fault | str] = ()) -> None:
        self._entries: list[Fault] = []
        self.add(faults)

    def add(self, faults: Iterable[Fault | str]) -> None:
        """Put faults at the end of the script; text is read by `parse_fault`.

        Raises:
            ValueError: a text is no fault, or the script gets longer than 1,000 entries.
        """
        new = [parse_fault(fault) if isinstance(fault, str) else fault for fault in faults]
        if len(self._entries) + len(new) > _MAX_SCRIPT:
            raise ValueError(f"more than {_MAX_SCRIPT} faults in the script, use `times` to repeat one")
        self._entries += new

    def take(self, tenant: str, *, by_name: bool = False) -> Fault | None:
        """The next fault for this tenant, which is used up by that; None for the usual answer.

        `by_name`: faults for all tenants are not for this one.
        """
        for index, fault in enumerate(self._entries):
            if fault.tenant == tenant or (fault.tenant is None and not by_name):
                if fault.times == 1:
                    del self._entries[index]
                elif fault.times is not None:
                    self._entries[index] = fault.model_copy(update={"times": fault.times - 1})
                return None if fault.fault == "200" else fault
        return None

    def clear(self) -> None:
        """Forget all that was still to come."""
        self._entries.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """What is still to come, in the shape that `faults_from_json` reads."""
        return [fault.model_dump() for fault in self._entries]


def parse_fault(text: str) -> Fault:
    """Read a fault as it is written on a command line: `503`, `503*2 retry-after=1`, `hang*forever tenant=crm`.

    Raises:
        ValueError: what is wrong with it.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError(f"fault '{text[:100]}': a quotation is not closed") from None
    name, star, times = words[0].partition("*") if words else ("", "", "")
    fields: dict[str, Any] = {"fault": name}
    if star:
        fields["times"] = None if times == "forever" else times
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"fault '{text[:100]}': '{word}' is no option, write it as name=value")
        fields[key.replace("-", "_")] = value
    try:
        return Fault.model_validate(fields)
    except ValidationError as problem:
        raise ValueError(f"fault '{text[:100]}': {readable(problem)}") from None


_LIST = TypeAdapter(list[Fault])


def faults_from_json(text: bytes) -> list[Fault]:
    """Read a JSON list of faults, `[{"fault": "503", "times": 2, "retry_after": 1}]`.

    Raises:
        ValueError: what is wrong with it.
    """
    try:
        return _LIST.validate_json(text)
    except ValidationError as problem:
        raise ValueError(readable(problem)) from None


def readable(problem: ValidationError) -> str:
    """What pydantic finds, on one line and without the values."""
    findings = []
    for finding in problem.errors(include_url=False, include_input=False):
        place = ".".join(map(str, finding["loc"]))
        message = finding["msg"].removeprefix("Value error, ")
        findings.append(f"{place}: {message}" if place else message)
    return "; ".join(findings)


def _status(status: int) -> HttpAnswer:
    if status == HTTPStatus.NOT_MODIFIED:
        return HttpAnswer(status, b"")
    return error(status, *_SUPEROFFICE[status]) if status in _SUPEROFFICE else page(status)


def _as_status(usual: HttpAnswer, status: int) -> HttpAnswer:
    if usual.status != HTTPStatus.OK:
        return usual
    empty = status in (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT)
    return replace(usual, status=status, body=b"" if empty else usual.body)


def _gzipped(usual: HttpAnswer) -> HttpAnswer:
    return replace(usual, body=gzip.compress(usual.body), headers=(*usual.headers, (b"content-encoding", b"gzip")))


def _in_latin_1(usual: HttpAnswer) -> HttpAnswer:
    value = orjson.loads(usual.body)
    if value.get("Attributes"):
        value["Attributes"] += ";ræk=1"
    return _in("iso-8859-1", replace(usual, body=orjson.dumps(value)))


def _in(charset: str, usual: HttpAnswer) -> HttpAnswer:
    content_type = f"application/json; charset={charset}".encode()
    return replace(usual, body=usual.body.decode().encode(charset), content_type=content_type)


_GUISES: dict[str, Callable[[HttpAnswer], HttpAnswer]] = {
    "gzip": _gzipped,
    "latin-1": _in_latin_1,
    "utf-16": lambda usual: _in("utf-16", usual),
}


def _huge() -> HttpAnswer:
    return error(200, "ArgumentException", "x" * _HUGE)
