"""Senders that sign by HMAC, as data: one row each, and what makes a row sound.

Rows and the YAML of `scheme: hmac` say the same things by the same words. Where a fact comes from is said at its row.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from bridge.receiving.verification.keys import KeyForm
from bridge.settings.document import Path

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IN_ENCODED_TEXT = re.compile(r"[0-9A-Za-z+/=]")


def is_header_name(text: str) -> bool:
    """Whether HTTP allows a header to be called so."""
    return bool(_HEADER_NAME.fullmatch(text))


class Kind(Enum):
    """What a part of the signed content is."""

    BODY = "body"
    METHOD = "method"
    HEADER = "header"
    ITEM = "item"
    LITERAL = "lit"


class Part(NamedTuple):
    """One part of the signed content. `name` is a lower-case header name, an item's key with its `=`, or the text."""

    kind: Kind
    name: bytes = b""

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read `body`, `method`, `header:NAME`, `item:KEY` or `lit:TEXT`.

        Raises:
            ValueError: what is wrong with it.
        """
        word, colon, name = text.partition(":")
        match word:
            case "body" | "method" if not colon:
                return cls(Kind(word))
            case "header" if is_header_name(name):
                return cls(Kind.HEADER, name.lower().encode())
            case "item" if is_header_name(name):
                return cls(Kind.ITEM, f"{name}=".encode())
            case "lit" if name:
                return cls(Kind.LITERAL, name.encode())
            case "url":
                raise ValueError("is not available yet")
        raise ValueError("is no part of a request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one sender signs: HMAC of `signed`, encoded, in `header`.

    The header is one value, or a list of items at `separator`. A signature begins with `prefix`, or has the key `item`
    in a list of `key=value` items; other items can be signed parts and the timestamp. Any signature that matches will
    do. `timestamp` and `delivery_id` are `header:NAME` (the timestamp also `item:KEY`), empty where there is none.
    """

    header: str
    separator: str = ""
    prefix: str = ""
    item: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    signed: tuple[str, ...] = ("body",)
    timestamp: str = ""
    timestamp_unit: Literal["s", "ms"] = "s"
    tolerance: int = 300_000  # milliseconds, to both sides
    key: KeyForm = "utf8"
    delivery_id: str = ""
    dedupe: str = ""  # an expression for the delivery id, where it stands in the body
    drops: tuple[str, ...] = ()  # further headers that must not be stored

    @property
    def marker(self) -> str:
        """What an item that is a signature begins with."""
        return f"{self.item}=" if self.item else self.prefix


def faults(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    """What makes a recipe unsound: the key at fault, what is wrong, what to do."""
    if not is_header_name(recipe.header):
        yield ("header",), "is no name of a header", "write one like X-Hub-Signature-256"
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


def _part_faults(recipe: Recipe) -> Iterator[tuple[Path, str, str]]:
    parts: list[Part] = []
    for index, text in enumerate(recipe.signed):
        try:
            parts.append(Part.parse(text))
        except ValueError as error:
            yield ("signed", index), str(error), "use body, method, header:NAME, item:KEY or lit:TEXT"
    if len(parts) == len(recipe.signed) and Part(Kind.BODY) not in parts:
        yield ("signed",), "leaves out the body, so anyone could change it", "add body"

    for key, text, allowed in (
        ("timestamp", recipe.timestamp, "header:NAME or item:KEY"),
        ("delivery_id", recipe.delivery_id, "header:NAME"),
    ):
        source = _source(text)
        if text and (source is None or f"{source.kind.value}:" not in allowed):
            yield (key,), "cannot be read from there", f"use {allowed}"
        elif source and key == "timestamp" and source not in parts:
            yield (key,), "is not signed, so it proves nothing", "add it to signed, or leave timestamp out"

    if not recipe.separator and any(part.kind is Kind.ITEM for part in parts):
        yield ("separator",), "is needed to find the items of the header", "say what stands between them"


def _source(text: str) -> Part | None:
    try:
        return Part.parse(text)
    except ValueError:
        return None


RECIPES: Mapping[str, Recipe] = {
    # docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries; the delivery id is not signed
    "github": Recipe(
        header="X-Hub-Signature-256",
        prefix="sha256=",
        delivery_id="header:X-GitHub-Delivery",
        drops=("X-Hub-Signature",),  # the older SHA-1 signature of the same body
    ),
    # github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md; the delivery id is signed
    "standard-webhooks": Recipe(
        header="webhook-signature",
        separator=" ",
        prefix="v1,",
        encoding="base64",
        signed=("header:webhook-id", "lit:.", "header:webhook-timestamp", "lit:.", "body"),
        timestamp="header:webhook-timestamp",
        key="whsec",
        delivery_id="header:webhook-id",
    ),
    # stripe-python, stripe/_webhook.py; the secret's text is the key as it is, whsec_ and all; the id is in the body
    "stripe": Recipe(
        header="Stripe-Signature",
        separator=",",
        item="v1",
        signed=("item:t", "lit:.", "body"),
        timestamp="item:t",
        dedupe="body.id",
    ),
    # docs.slack.dev/authentication/verifying-requests-from-slack; the id is in the body
    "slack": Recipe(
        header="X-Slack-Signature",
        prefix="v0=",
        signed=("lit:v0:", "header:X-Slack-Request-Timestamp", "lit::", "body"),
        timestamp="header:X-Slack-Request-Timestamp",
        dedupe="body.event_id",
    ),
    # shopify.dev/docs/apps/build/webhooks/subscribe/https; no timestamp, and the delivery id is not signed
    "shopify": Recipe(
        header="X-Shopify-Hmac-SHA256",
        encoding="base64",
        delivery_id="header:X-Shopify-Webhook-Id",
    ),
}

# Senders that get a row later, by the scheme that does meanwhile ("" where none does).
_NOT_YET = {
    "hmac": "asana bitbucket calendly docusign dropbox gitea gogs intercom jira linear meta mux notion paddle "
    "pagerduty razorpay sentry superoffice svix typeform x xero zendesk zoom",
    "token": "cloudevents gitlab okta",
    "basic": "pipedrive",
    "": "aws-sns azure-event-grid discord hubspot mailgun microsoft-graph paypal sendgrid square trello twilio",
}
NOT_YET: Mapping[str, str] = {name: instead for instead, names in _NOT_YET.items() for name in names.split()}
