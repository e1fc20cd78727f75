"""Parses XML into objects, lists and text.

The body is an object with the root element's name as its only key. An element is its text, where it has neither
attributes nor elements in it; else an object: `@name` for an attribute, the name for an element in it (a list where
there are several of one name), `#text` for its own text. Names are without namespace and prefix. White space around
text goes, and so do comments and processing instructions. What has a DTD is refused, so there are no entities but
XML's own.
"""

from typing import Any

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from bridge.errors import Unreadable
from bridge.media_types import MediaType


def read(media: MediaType, raw: bytes, max_depth: int) -> dict[str, Any]:
    """Read an XML document. A charset of the Content-Type wins over that of the document (RFC 7303).

    Raises:
        Unreadable: it is not XML, has a DTD, or elements are nested deeper than `max_depth`; the text never quotes it.
    """
    named = media.charset != ""
    parser = DefusedXMLParser(
        target=(document := _Document(max_depth)), encoding="utf-8" if named else None, forbid_dtd=True
    )
    try:
        parser.feed(media.decode(raw).removeprefix("\ufeff").encode() if named else raw)
        parser.close()
    except DefusedXmlException:
        raise Unreadable("the XML has a DTD or entities, which are not read") from None
    except ParseError as error:
        line, column = error.position
        raise Unreadable(f"the body is not XML: line {line}, column {column + 1}") from None
    except (ValueError, LookupError):
        raise Unreadable("the XML is in an encoding that is not known") from None
    return document.root


class _Document:
    """Hears of the elements of one document, in order; `root` is what they come to."""

    def __init__(self, max_depth: int) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = []
        self._max_depth = max_depth

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) >= self._max_depth:
            raise Unreadable(f"the XML is nested deeper than {self._max_depth} levels")
        element: dict[str, Any] = {}
        for name, value in attributes.items():
            element.setdefault("@" + name.rpartition("}")[2], value)
        self._open.append((tag.rpartition("}")[2], element, []))

    def data(self, text: str) -> None:
        self._open[-1][2].append(text)

    def end(self, _tag: str) -> None:
        name, element, pieces = self._open.pop()
        text = "".join(pieces).strip()
        value: Any = element
        if not element:
            value = text
        elif text:
            element["#text"] = text
        around = self._open[-1][1] if self._open else self.root
        if name not in around:
            around[name] = value
        elif isinstance(around[name], list):
            around[name].append(value)
        else:
            around[name] = [around[name], value]

    def close(self) -> None:
        """Nothing is left to do."""
