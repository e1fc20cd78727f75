"""The schema of a target in `bridge.yaml`: address, login, delivery and retries."""

import difflib
import re
from enum import Enum
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bridge.settings.headers import TargetHeader, TargetHeaders
from bridge.settings.keywords import HTTP_URL, JsonSchema
from bridge.settings.parsing import (
    Duration,
    HeaderSecret,
    HeaderText,
    Rate,
    Strict,
    as_written,
    duration,
    is_loopback,
    rate,
    wrong,
)
from bridge.settings.tls_and_proxy import ProxySettings, TlsSettings

Text = Annotated[str, Field(min_length=1)]


def _attempts(value: Any) -> Any:
    return None if value == "none" else as_written(value, {int})


def _replacement(text: str) -> str:
    if set(text) & set(";=\r\n"):
        raise wrong("holds what it is to replace", "write other characters, or nothing")
    return text


Attempts = Annotated[
    int | None,
    BeforeValidator(_attempts),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "none"}]}),
]
"""A number of attempts, or `none`."""


def base_url(url: str) -> str:
    """A base URL without a slash at its end. Problems do not quote it: it may hold a password."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # it is checked when it is read
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or set(url) & _NOT_IN_URLS:
        raise wrong("is not an http:// or https:// URL", "write it like https://crm.example.com/superoffice/api")
    if parts.username is not None or parts.password is not None:
        raise wrong("holds a user name or a password", "put them under authorization")
    if "?" in url or "#" in url:
        raise wrong("holds a query or a fragment", "end it with the path")
    return url.rstrip("/")


ENVIRONMENTS = ("sod", "stage", "qaonline", "online")  # of SuperOffice Online
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def _environment(text: str) -> str:
    """`online`, a host, or an http:// URL of this machine (a sandbox) -> the URL that the environment is asked at."""
    if text in ENVIRONMENTS:
        return f"https://{text}.superoffice.com"
    scheme, separator, host = text.rpartition("://")
    names = ", ".join(ENVIRONMENTS)
    if not separator and "." not in text and ":" not in text:
        near = difflib.get_close_matches(text.lower(), ENVIRONMENTS, 1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise wrong("is not an environment of SuperOffice Online", f"{hint}use {names}, or its host")
    try:
        url = base_url(f"{scheme or 'https'}://{host.lower()}" if _HOST.fullmatch(host) else "")
    except ValueError:
        raise wrong("is not the host of an environment", f"use {names}, or write it like online.example.com") from None
    if scheme == "http" and not is_loopback(urlsplit(url).hostname or ""):
        raise wrong("is plain http: whoever is on the way could say where credentials go", "use https")
    return url


Environment = Annotated[str, AfterValidator(_environment)]
"""The URL of an environment of SuperOffice Online, written as its name or its host."""

_NOT_IN_URLS = {chr(code) for code in (*range(0x21), 0x7F)} | set('<>"\\^`{|}')


class SchemeSettings(Strict):
    """A scheme by name; its other keys are read by the room that knows the scheme, and never kept here."""

    model_config = ConfigDict(extra="ignore")

    scheme: Text = Field(description="the name of the scheme, such as basic")


class RetrySettings(Strict):
    """When to send an event again."""

    first_wait: Duration = Field(duration("2s"), gt=0, description="the first wait; it doubles with every attempt")
    max_wait: Duration = Field(duration("15m"), gt=0, description="the longest wait")
    jitter: float = Field(0.2, ge=0, le=1, description="the part of a wait that is random, from 0 to 1")
    max_age: Duration = Field(duration("48h"), gt=0, description="how old an event may get before it is given up")
    max_attempts: Attempts = Field(
        None, ge=1, description="how many attempts before it is given up, or none for no limit"
    )
    retry_after_cap: Duration = Field(duration("1h"), gt=0, description="the longest Retry-After that is obeyed")

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.max_wait < self.first_wait:
            raise wrong("max_wait is shorter than first_wait", "make it at least as long")
        return self


class OnlineSettings(Strict):
    """A tenant of SuperOffice Online, whose URL is asked for."""

    environment: Environment = Field(description="the environment: sod, stage, qaonline, online, or its host")
    tenant: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="the tenant's id, such as Cust12345")


class BreakerSettings(Strict):
    """When a target that fails is left alone for a while."""

    after: Attempts = Field(
        10, ge=1, description="after how many attempts in a row that were unavailable or unknown, or none for never"
    )


class _Misplaced(Enum):
    """What stands for the url of a target that is not in one place."""

    BOTH = wrong("has both url and online", "keep url for an installation of your own, online for a tenant")
    NEITHER = wrong("has neither url nor online", "add url: the URL of its web API, ending in /api, or online")


def _placed(url: Any) -> Any:
    if isinstance(url, _Misplaced):
        raise url.value
    return url


Url = Annotated[str, BeforeValidator(_placed), AfterValidator(base_url), JsonSchema(pattern=HTTP_URL)]
Selected = Annotated[
    tuple[Literal["EventType", "Attributes", "TableRight", "FieldProperties"], ...], JsonSchema(minItems=1)
]


class TargetSettings(Strict):
    """One SuperOffice tenant or installation."""

    url: Url | None = Field(None, description="the URL of its web API, ending in /api")
    online: OnlineSettings | None = Field(None, description="or, for SuperOffice Online, which tenant it is")
    authorization: SchemeSettings = Field(description="how to log in: a scheme and what it needs")
    language: HeaderText | None = Field(None, description="the SO-Language of requests")
    accept_language: HeaderText | None = Field(None, description="the Accept-Language of requests")
    culture: HeaderText | None = Field(None, description="the SO-Culture of requests")
    time_zone: HeaderText | None = Field(None, description="the SO-TimeZone of requests")
    app_token: HeaderSecret | None = Field(None, description="the SO-AppToken of requests")
    headers: TargetHeaders = Field({}, description="further headers of requests, by name")
    correlation_header: TargetHeader | None = Field(None, description="the header that carries the event's id")
    tls: TlsSettings | None = Field(None, description="other certificates and versions of TLS than the machine's")
    proxy: ProxySettings | None = Field(None, description="an HTTP proxy on the way to it")
    select: Selected | None = Field(None, description="which fields of the result to ask for, all where left out")
    attributes_format: Literal["pairs", "json", "text"] = Field(
        "pairs", description="how attributes are written: pairs (a=1;b=2), json or text"
    )
    attributes_escape: Literal["fail", "percent", "replace"] = Field(
        "fail", description="what becomes of ; = and line ends in the values of pairs"
    )
    attributes_replacement: Annotated[str, AfterValidator(_replacement), JsonSchema(pattern=r"^[^;=\r\n]*$")] = Field(
        " ", description="what stands in their place under attributes_escape: replace"
    )
    version: Text = Field("latest", description="the server's version, which says which event types exist, or auto")
    allow_unknown_event_types: bool = Field(False, description="whether event types that the version lacks are sent")
    timeout: Duration = Field(duration("10s"), gt=0, description="how long one attempt may take")
    max_in_flight: int = Field(8, ge=1, le=1000, description="how many attempts run at once")
    rate: Rate = Field(rate("50/s"), description="how many attempts may start in a span of time")
    retry: RetrySettings = Field(RetrySettings(), description="when to send an event again")
    breaker: BreakerSettings = Field(
        BreakerSettings(), description="when to send a target that fails one event at a time"
    )
    log_answers: bool = Field(
        False, description="whether the log tells what SuperOffice says of an event that it did not take"
    )

    @model_validator(mode="before")
    @classmethod
    def _is_in_one_place(cls, written: Any) -> Any:
        """Make url wrong where it and online are not one of the two: so that is told beside all else that is wrong."""
        if isinstance(written, dict) and ("url" in written) == ("online" in written):
            return written | {"url": _Misplaced.BOTH if "url" in written else _Misplaced.NEITHER}
        return written

    @property
    def place(self) -> str:
        """Where it is, for people: its URL, or its tenant."""
        return self.url or (f"{self.online.tenant} at {self.online.environment}" if self.online else "")

    @field_validator("attributes_replacement")
    @classmethod
    def _replaces_something(cls, text: str, info: ValidationInfo) -> str:
        if info.data.get("attributes_escape") in ("fail", "percent"):
            raise wrong("does nothing here", "set attributes_escape: replace, or remove it")
        return text

    @field_validator("correlation_header")
    @classmethod
    def _is_free(cls, name: str, info: ValidationInfo) -> str:
        if name.lower() in map(str.lower, info.data.get("headers") or ()):
            raise wrong("stands among headers too", "remove it from one of them")
        return name

    @field_validator("select")
    @classmethod
    def _selects_something(cls, select: tuple[str, ...]) -> tuple[str, ...]:
        if not select:
            raise wrong("is empty", "name at least one field, or remove it")
        return select
