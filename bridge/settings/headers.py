"""Validates the headers that a configuration adds to requests to a target.

What a request itself consists of, and what logs in, has keys of its own or none at all: another header of that name
would break the request, or be a credential in a place that is not kept secret.
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator

from bridge.settings.keywords import JsonSchema, in_any_case
from bridge.settings.parsing import HeaderSecret, wrong

MAX_HEADERS = 16
MAX_VALUE = 1024  # characters; common servers take 8 to 16 KiB of headers in all
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # a token of RFC 9110
_VALUE = re.compile(rf"[\x20-\x7e]{{1,{MAX_VALUE}}}")

_NO_HINT = "remove it, the bridge sets it itself"
_METHOD = "remove it, SendEvent is a POST"
_LOG_IN = "put the log-in under the target's authorization"
_RESERVED = {
    **dict.fromkeys(("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"), _NO_HINT),
    **dict.fromkeys(("content-length", "content-type", "content-encoding", "expect", "proxy-connection"), _NO_HINT),
    **dict.fromkeys(("accept", "accept-encoding", "range", "if-match", "if-none-match"), _NO_HINT),
    **dict.fromkeys(("if-modified-since", "if-unmodified-since", "if-range"), _NO_HINT),
    **dict.fromkeys(("x-http-method", "x-http-method-override", "x-method-override"), _METHOD),
    **dict.fromkeys(("authorization", "cookie", "x-xsrf-token"), _LOG_IN),
    "proxy-authorization": "put username and password under the target's proxy",
    "so-apptoken": "use the target's app_token",
}
_WITH_KEYS = {
    "so-language": "language",
    "accept-language": "accept_language",
    "so-culture": "culture",
    "so-timezone": "time_zone",
}


def is_value(text: str) -> bool:
    """Whether a header can carry a text: some printable ASCII, no blanks around it, at most `MAX_VALUE` characters."""
    return _VALUE.fullmatch(text) is not None and text[0] != " " and text[-1] != " "


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise wrong("is no name of a header", "use letters, digits and -, at most 100 characters")
    if hint := _RESERVED.get(name.lower()):
        raise wrong("cannot be set as a header", hint)
    return name


def _target_name(name: str) -> str:
    if key := _WITH_KEYS.get(_name(name).lower()):
        raise wrong("has a key of its own", f"use {key}")
    return name


def _each_once(headers: dict[str, Any]) -> dict[str, Any]:
    if len(headers) > MAX_HEADERS:
        raise wrong(f"holds {len(headers)} headers", f"at most {MAX_HEADERS} are allowed")
    seen: set[str] = set()
    for name in headers:
        if name.lower() in seen:
            raise wrong(f"names {name} twice", "names of headers are the same in capitals; remove one")
        seen.add(name.lower())
    return headers


_TARGET_NAME = JsonSchema(pattern=f"^{_NAME.pattern}$", not_={"pattern": in_any_case([*_RESERVED, *_WITH_KEYS])})
_RULE_NAME = JsonSchema(pattern=f"^{_NAME.pattern}$", not_={"pattern": in_any_case([*_RESERVED])})

TargetHeader = Annotated[str, AfterValidator(_target_name), _TARGET_NAME]
"""The name of a header that every request to a target carries."""

TargetHeaders = Annotated[
    dict[TargetHeader, HeaderSecret], AfterValidator(_each_once), JsonSchema(maxProperties=MAX_HEADERS)
]
"""Headers of every request to a target. Their values may be secrets, such as a gateway's key."""

RuleHeaders = Annotated[
    dict[Annotated[str, AfterValidator(_name), _RULE_NAME], str],
    AfterValidator(_each_once),
    JsonSchema(maxProperties=MAX_HEADERS),
]
"""Headers of the events that a rule makes; their values are templates."""
