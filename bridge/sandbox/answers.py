"""Computes SuperOffice's answer to a SendEvent from credentials and request. Values only, no server.

The facts are those of SuperOffice's reference page "POST Agents/Workflow/SendEvent" and its list WorkflowEventType
(12.4). The texts of the errors are the sandbox's own, and so is what goes beyond that page.
"""

import base64
import hmac
import http
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import orjson

EVENT_TYPES = frozenset({
    "None", "Run", "PersonCreated", "PersonUpdated", "AddedToProject", "CreatedRequest", "LinkClicked",
    "AddedToSelection", "FormSubmitted", "AddedMessage", "StartedChat", "OrderPlaced", "SaleCreated", "SaleSold",
    "SaleLost",
})  # fmt: skip
RESULT_FIELDS = ("EventType", "Attributes", "TableRight", "FieldProperties")

_JSON = b"application/json; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
_READABLE = frozenset({"application/json", "text/json", "application/json-patch+json", "application/merge-patch+json"})
_MASKED = frozenset({"authorization", "cookie", "so-apptoken", "x-xsrf-token"})
_MAX_HEADERS = 32 * 1024  # bytes, all names and values together
_TABLE_RIGHT = {"Mask": "FULL", "Reason": ""}
_FIELD_PROPERTIES = {
    "EventType": {"FieldRight": None, "FieldType": "System.Int32", "FieldLength": 0},
    "Attributes": {"FieldRight": None, "FieldType": "System.String", "FieldLength": 0},
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One HTTP answer; `headers` are those beyond content type and length."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class SendEventError(Exception):
    """A request that SuperOffice would not take, with the answer to it."""

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Head:
    """The accepted headers of a request as they are recorded: lower-case names, credentials masked; size in bytes."""

    headers: dict[str, str]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the sandbox lets in: one account for each way of signing in that SuperOffice documents."""

    basic: str = "sandbox:sandbox"
    ticket: str = "7T:sandbox"
    app_token: str = "sandbox"
    bearer: str = "8A:sandbox"
    xsrf: str = "sandbox"

    def head(self, raw: tuple[tuple[bytes, bytes], ...], accepted: bool | None = None) -> Head:
        """Check the raw headers of a request (names in lower case); `accepted` where a log-in has its say already.

        Raises:
            Refusal: 401 without good credentials, 415 where the body is not declared as JSON, 431 where they are long.
        """
        headers, size = self.let_in(raw, accepted)
        if headers.get("content-type", "").partition(";")[0].strip().lower() not in _READABLE:
            raise SendEventError(page(415))
        return Head({name: _masked(name, value) for name, value in headers.items()}, size)

    def let_in(self, raw: tuple[tuple[bytes, bytes], ...], accepted: bool | None = None) -> tuple[dict[str, str], int]:
        """The headers of a request that is logged in, and their size; as `head`, without a look at the body's type."""
        size = sum(len(name) + len(value) for name, value in raw)
        if size > _MAX_HEADERS:
            raise SendEventError(page(431))
        headers: dict[str, str] = {}
        for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw):
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if not (self._accept(headers) if accepted is None else accepted):
            challenge = ((b"www-authenticate", b'Basic realm="sandbox"'),)
            raise SendEventError(error(401, "AuthenticationException", "Authentication failed.", headers=challenge))
        return headers, size

    def _accept(self, headers: dict[str, str]) -> bool:
        authorization = headers.get("authorization")
        if authorization is None:
            cookies = dict(pair.strip().partition("=")[::2] for pair in headers.get("cookie", "").split(";"))
            return _same(headers.get("x-xsrf-token"), self.xsrf) and _same(cookies.get("XSRF-TOKEN"), self.xsrf)
        scheme, _, value = authorization.partition(" ")
        match scheme.lower():
            case "basic":
                return _same(value, base64.b64encode(self.basic.encode()).decode())
            case "soticket":
                return _same(value, self.ticket) and _same(headers.get("so-apptoken"), self.app_token)
            case "bearer":
                return _same(value, self.bearer)
        return False


def members(body: bytes) -> dict[str, Any]:
    """The members of a request's JSON object by their names in lower case, in which SuperOffice takes any case.

    Raises:
        Refusal: 400, it is no JSON. What is no object has no members.
    """
    try:
        return _lowered(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise argument("The request body is not valid JSON.") from None


def _lowered(value: Any) -> dict[str, Any]:
    return {name.lower(): member for name, member in value.items()} if isinstance(value, dict) else {}


def workflow_event(body: bytes, known: frozenset[str] = EVENT_TYPES) -> tuple[str, str | None]:
    """The EventType and Attributes of a request body `{"WorkflowEvent": {"EventType": ..., "Attributes": ...}}`.

    `known` are the event types that there are.

    Raises:
        Refusal: 400 with an error object that says what is wrong.
    """
    request = members(body)
    if "workflowevent" not in request:
        raise argument('The request has no WorkflowEvent: expected {"WorkflowEvent": {"EventType": ...}}.')
    if not isinstance(request["workflowevent"], dict):
        raise argument("WorkflowEvent is null or no object.")
    carrier = _lowered(request["workflowevent"])
    event_type, attributes = carrier.get("eventtype"), carrier.get("attributes")
    if not isinstance(event_type, str):
        raise argument("EventType is missing or not the name of an event type.")
    if event_type not in known:
        raise argument(f"EventType '{event_type[:100]}' is not an event type.")
    if attributes is not None and not isinstance(attributes, str):
        raise argument("Attributes is no string.")
    return event_type, attributes


@lru_cache(maxsize=100)
def selected(query: bytes) -> tuple[str | None, frozenset[str]]:
    """The text of `$select` in a query string (None without one) and the fields of the result that it leaves."""
    text = parse_qs(query.decode("latin-1")).get("$select", [""])[0]
    names = {name.strip().lower() for name in text.split(",")}
    return text or None, frozenset(field for field in RESULT_FIELDS if not text or field.lower() in names)


def result(event_type: str, text: str, fields: frozenset[str]) -> HttpAnswer:
    """A WorkflowEventResult; properties outside of `fields` are there, but null, as `$select` is documented."""
    values = (event_type, text, _TABLE_RIGHT, _FIELD_PROPERTIES)
    shown = {field: value if field in fields else None for field, value in zip(RESULT_FIELDS, values, strict=True)}
    return HttpAnswer(200, orjson.dumps(shown))


def error(status: int, kind: str, message: str, *, headers: Iterable[tuple[bytes, bytes]] = ()) -> HttpAnswer:
    """An error object as SuperOffice documents it for 400 and 404."""
    body: dict[str, Any] = {"Error": True, "ErrorType": kind, "Message": message, "ErrorSource": "Sandbox"}
    return HttpAnswer(status, orjson.dumps(body), headers=tuple(headers))


def page(status: int) -> HttpAnswer:
    """What a web server or proxy in front of SuperOffice answers: a page of HTML."""
    title = http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else "Unknown"
    text = f"<!DOCTYPE html><html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>"
    return HttpAnswer(status, text.encode(), _HTML)


def argument(message: str) -> SendEventError:
    """What SuperOffice answers to a request that it cannot read: 400."""
    return SendEventError(error(400, "ArgumentException", message))


def _same(given: str | None, wanted: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())


def _masked(name: str, value: str) -> str:
    if name not in _MASKED:
        return value
    return f"{value.partition(' ')[0]} ***" if name == "authorization" else "***"
