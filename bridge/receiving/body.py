"""What a verified body says: JSON, strictly, no deeper than the rest of the bridge can carry."""

from collections.abc import Mapping
from typing import Any

from bridge import jsontext
from bridge.errors import Unreadable

MAX_DEPTH = 100


def read(headers: Mapping[str, str], body: bytes) -> Any:
    """Parse a JSON body.

    Raises:
        Unreadable: it is not JSON in UTF-8, too deep, or in a content encoding; the text never quotes the body.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Unreadable("the body has a content encoding, which is not available yet")
    if not body:
        raise Unreadable("the body is empty, and the source's content is json")
    try:
        value = jsontext.decode(body)
    except ValueError as error:
        raise Unreadable(f"the body is not JSON in UTF-8: {str(error)[:120]}") from None
    # Every level costs a bracket, so few brackets need no walk.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(value):
        raise Unreadable(f"the body is nested deeper than {MAX_DEPTH} levels")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
