"""Turns CloudEvents in HTTP's binary mode into the object of the structured mode.

Rules are the same for both. Facts: the CloudEvents HTTP protocol binding 1.0.2, sections 3.1 and 3.2.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from bridge.errors import Unreadable

MARK = "ce-specversion"
"""The attribute that every event has. A proof that covers the body drops it: anybody could add these headers to what is
proven, and rules would read them as `body`.
"""

_PREFIX = "ce-"
_QUOTED = re.compile(r'"(.*)"', re.DOTALL)


def is_binary(headers: Mapping[str, str]) -> bool:
    """Whether the headers hold an event's attributes, and the body only its data."""
    return MARK in headers and not headers.get("content-type", "").lower().startswith("application/cloudevents")


def event(headers: Mapping[str, str], data: Mapping[str, Any]) -> dict[str, Any]:
    """The event: its attributes, `datacontenttype` if there is a Content-Type, and `data` if there is any.

    Raises:
        Unreadable: an attribute is not UTF-8 once it is percent-decoded.
    """
    attributes = {name[len(_PREFIX) :]: _decoded(value) for name, value in headers.items() if name.startswith(_PREFIX)}
    attributes.pop("data", None)  # no attribute may be called so
    content_type = headers.get("content-type")
    return attributes | ({"datacontenttype": content_type} if content_type else {}) | dict(data)


def _decoded(value: str) -> str:
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        return unquote_to_bytes(value).decode()
    except ValueError:
        raise Unreadable("an attribute of the CloudEvent is not UTF-8 after percent-decoding") from None
