"""A signature specification: how a sender signs with a shared secret, as data, and checks that the data is sound.

The rows of `senders` and the YAML of `scheme: hmac` say the same things by the same words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from bridge.settings.document import Path

Encoding = Literal["hex", "base64"]
KeyForm = Literal["utf8", "base64", "hex", "whsec"]  # what the text of a secret stands for
TimeUnit = Literal["s", "ms", "rfc3339"]
Algorithm = Literal["sha1", "sha256", "sha512", "sha256-concat"]  # the last is no HMAC: the hash of key and content

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IN_ENCODED_TEXT = re.compile(r"[0-9A-Za-z+/=]")


def is_header_name(text: str) -> bool:
    """Whether HTTP allows a header to be called so."""
    return bool(HEADER_NAME.fullmatch(text))


class Kind(Enum):
    """What a part of the signed content is."""

    BODY = "body"
    METHOD = "method"
    URL = "url"
    HEADER = "header"
    ITEM = "item"
    LITERAL = "lit"
    FIELD = "field"  # only of a timestamp: a key of the body, which is JSON


_TIMED = (Kind.HEADER, Kind.ITEM, Kind.FIELD)


class Part(NamedTuple):
    """One part of the signed content. `name` is a lower-case header name, an item's key with its `=`, or the text."""

    kind: Kind
    name: bytes = b""

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read `body`, `method`, `url`, `header:NAME`, `item:KEY` or `lit:TEXT`.

        Raises:
            ValueError: what is wrong with it.
        """
        word, colon, name = text.partition(":")
        match word:
            case "body" | "method" | "url" if not colon:
                return cls(Kind(word))
            case "header" if is_header_name(name):
                return cls(Kind.HEADER, name.lower().encode())
            case "item" if is_header_name(name):
                return cls(Kind.ITEM, f"{name}=".encode())
            case "lit" if name:
                return cls(Kind.LITERAL, name.encode())
        raise ValueError("is no part of a request")

    @classmethod
    def source(cls, text: str) -> "Part":
        """Read where a timestamp or a delivery id is: `header:NAME`, `item:KEY` or `body:KEY`.

        Raises:
            ValueError: what is wrong with it.
        """
        word, _, name = text.partition(":")
        return cls(Kind.FIELD, name.encode()) if word == "body" and name else cls.parse(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureSpec:
    """How one sender signs: HMAC of `signed`, encoded, in `header`, or in any of the headers `also`.

    A header is one value, or a list of items at `separator`. A signature begins with `prefix`, or has the key `item`
    in a list of `key=value` items; other items can be signed parts and the timestamp. Any signature that matches will
    do. `timestamp` is `header:NAME`, `item:KEY` or `body:KEY` (the last is checked only where it is there), empty where
    there is none; `delivery_id` is `header:NAME` or empty. `url` among `signed` is the source's `public_url`.
    """

    header: str
    also: tuple[str, ...] = ()
    separator: str = ""
    prefix: str = ""
    item: str = ""
    encoding: Encoding = "hex"
    algorithm: Algorithm = "sha256"
    signed: tuple[str, ...] = ("body",)
    timestamp: str = ""
    timestamp_unit: TimeUnit = "s"
    tolerance: int = 300_000  # milliseconds, to both sides
    key: KeyForm = "utf8"
    delivery_id: str = ""
    decoded: str = ""  # percent-escapes of the URL that the sender may sign as the characters they stand for
    json_body: bool = False  # the body must look like JSON: what another way of the sender signs before it does not
    redacted_headers: tuple[str, ...] = ()  # further headers that must not be stored

    @property
    def marker(self) -> str:
        """What an item that is a signature begins with."""
        return f"{self.item}=" if self.item else self.prefix

    @property
    def signed_headers(self) -> frozenset[str]:
        """The headers, in lower case, that are signed beside the body."""
        parts = (part.partition(":") for part in self.signed)
        return frozenset(name.lower() for kind, _, name in parts if kind == Kind.HEADER.value)


def faults(recipe: SignatureSpec) -> Iterator[tuple[Path, str, str]]:
    """What makes a recipe unsound: the key at fault, what is wrong, what to do."""
    if not is_header_name(recipe.header):
        yield ("header",), "is no name of a header", "write one like X-Hub-Signature-256"
    for index, name in enumerate(recipe.also):
        if not is_header_name(name):
            yield ("also", index), "is no name of a header", "write one like X-Hub-Signature-256"
    if recipe.item and recipe.prefix:
        yield ("prefix",), "stands beside item, which already says how a signature begins", "leave one of them out"
    if _IN_ENCODED_TEXT.search(recipe.separator):
        yield ("separator",), "could be part of a signature", "take a comma, a semicolon or a space"
    if recipe.item and not is_header_name(recipe.item):
        yield ("item",), "is no key of an item", "say v1 where the header reads t=...,v1=..."
    elif recipe.item and not recipe.separator:
        yield (
            ("item",),
            "needs a separator",
            "say what stands between items; where the header is one value, say prefix instead",
        )
    if recipe.separator and recipe.separator in recipe.marker.strip():
        yield ("separator",), "is part of what a signature begins with, so none would ever be found", "take another"
    yield from _part_faults(recipe)


def _part_faults(recipe: SignatureSpec) -> Iterator[tuple[Path, str, str]]:
    parts: list[Part] = []
    for index, text in enumerate(recipe.signed):
        try:
            parts.append(Part.parse(text))
        except ValueError as error:
            yield ("signed", index), str(error), "use body, method, url, header:NAME, item:KEY or lit:TEXT"
    if len(parts) == len(recipe.signed) and Part(Kind.BODY) not in parts:
        yield ("signed",), "leaves out the body, so anyone could change it", "add body"

    for key, text, kinds, allowed in (
        ("timestamp", recipe.timestamp, _TIMED, "header:NAME, item:KEY or body:KEY"),
        ("delivery_id", recipe.delivery_id, (Kind.HEADER,), "header:NAME"),
    ):
        source = _source(text)
        if text and (source is None or source.kind not in kinds):
            yield (key,), "cannot be read from there", f"use {allowed}"
        elif source and key == "timestamp" and source.kind is not Kind.FIELD and source not in parts:
            yield (key,), "is not signed, so it proves nothing", "add it to signed, or leave timestamp out"

    if not recipe.separator and any(part.kind is Kind.ITEM for part in parts):
        yield ("separator",), "is needed to find the items of the header", "say what stands between them"


def _source(text: str) -> Part | None:
    try:
        return Part.source(text)
    except ValueError:
        return None
