"""No scheme lets a forgery in: it is answered 401, nothing is stored, and one line says why without a byte of it."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clocks import Hand
from databases import sqlite_at
from forwarding.support import logged
from msgspec.structs import replace

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.content import cloud_events
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.signature_spec import SignatureSpec
from bridge.receiving.sources import CompiledSource
from bridge.receiving.verification import Reason
from bridge.receiving.verification.proofs.public_key import STANDARD_V1
from bridge.receiving.verification.schemes import credential_filter_of
from bridge.service import composition
from bridge.settings.configuration import Source
from bridge.settings.document import Document, Section
from bridge.store.store import Store, owned
from bridge.web.problems import for_error
from receiving.support import Receiving

from .genuine import PUBLISHED, SCHEMES, Genuine, verified, with_header
from .support import NOW, compiled, request

YEAR = 365 * 86_400_000
TEXT = b"a body"
SECRETS = ["whsec_b3VyIG93biBzZWNyZXQgb2YgdGhlIHRlc3RzIQ==", "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzIQ=="]
TARGET = {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}
MORE: dict[str, dict[str, Any]] = {
    "hmac": {"header": "X-Signature"},
    "token": {"header": "X-Token"},
    "basic": {"username": "bridge"},
    "pipedrive": {"username": "bridge"},
}


def _plain(name: str, way: SignatureSpec | None = None) -> Genuine:
    """A scheme that the bridge itself can sign or show."""
    sender = SENDERS[name]
    way = way or next(iter(sender.recipes), None)
    verify = {"scheme": name, "secrets": SECRETS[:1], **MORE.get(name, {})}
    url = f"https://hooks.example.com/webhooks/{name}" if sender.signs_url else ""

    def make(body: bytes, at: int) -> Request:
        if name == "linear":
            body = json.dumps({"text": body.decode(), "webhookTimestamp": at}).encode()
        made = compiled(verify, url).sign(body, method="POST", at=at, delivery_id="delivery-1")
        return request(body, made)

    recipe = way or SignatureSpec(header=MORE.get(name, {}).get("header", "Authorization"))
    signed = [part.partition(":")[2].lower() for part in recipe.signed if part.startswith("header:")]
    return Genuine(
        settings=verify,
        make=make,
        other={"secrets": SECRETS[1:]},
        headers=(recipe.header.lower(), *signed),
        covers_body=way is not None or name == "hmac",
        tolerance=recipe.tolerance if recipe.timestamp else None,
        public_url=url,
    )


ALL = {
    **{name: _plain(name) for name in SENDERS if name not in SCHEMES and name != "none"},
    **SCHEMES,
    "standard-webhooks-v1": _plain("standard-webhooks", STANDARD_V1),
    "gitlab-token": dataclasses.replace(
        _plain("gitlab"),
        make=lambda body, _: request(body, {"X-Gitlab-Token": SECRETS[0]}),
        headers=("x-gitlab-token",),
        covers_body=False,
        tolerance=None,
    ),
}
CREDENTIALS = {
    *("token", "basic", "pipedrive", "okta", "azure-event-grid", "cloudevents", "bearer"),
    *("jira-connect", "microsoft-graph"),
}
LISTS = {name for name, sender in SENDERS.items() if any(recipe.separator for recipe in sender.recipes)}


@dataclass
class House:
    """All schemes' sources on one store."""

    sources: Mapping[str, CompiledSource]
    store: Store
    connection: sqlite3.Connection

    def intake(self) -> Receiving:
        return Receiving(self.sources, self.store, Metrics(), lambda _: None, _download)

    def stored(self) -> int:
        count: int = self.connection.execute("SELECT count(*) FROM webhooks").fetchone()[0]
        return count


async def _download(url: str) -> bytes:
    return PUBLISHED[url]


def house_in(root: Path) -> Iterator[House]:
    (root / "config" / "sources").mkdir(parents=True)
    (root / "config" / "bridge.yaml").write_text(json.dumps({"targets": {"crm": TARGET}}))
    for name, one in ALL.items():
        for kind, settings in (("", one.settings), ("-other", {**one.settings, **one.other})):
            url = {"public_url": one.public_url} if one.public_url else {}
            source = {"verify": dict(settings), "rules": [], **url}
            (root / "config" / "sources" / f"{name}{kind}.yaml").write_text(json.dumps(source))
    with owned(sqlite_at(root / "bridge.db")) as engine:
        store, connection = Store(engine, Hand(NOW)), sqlite3.connect(root / "bridge.db")
        try:
            yield House(composition.build(root / "config").sources, store, connection)
        finally:
            connection.close()
            store.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from house_in(tmp_path_factory.mktemp("forgery"))


Forge = Callable[[Genuine, str], Request | None]


def altered_body(one: Genuine, _: str) -> Request | None:
    asked = one.make(TEXT, NOW)
    changed = asked.body.replace(b"a body", b"b body").replace(b"a+body", b"b+body")
    return replace(asked, body=changed) if one.covers_body else None


def signature_of_another_body(one: Genuine, _: str) -> Request | None:
    return replace(one.make(TEXT, NOW), headers=one.make(b"another", NOW).headers) if _by_header(one) else None


def empty_body(one: Genuine, _: str) -> Request | None:
    return replace(one.make(TEXT, NOW), body=b"") if one.covers_body else None


def stale(one: Genuine, _: str) -> Request | None:
    return None if one.tolerance is None else one.make(TEXT, NOW - YEAR)


def from_the_future(one: Genuine, _: str) -> Request | None:
    return None if one.tolerance is None or not one.future else one.make(TEXT, NOW + YEAR)


def altered_header(one: Genuine, header: str) -> Request | None:
    return _with(one, header, lambda value: [value[:1] + bytes([value[1] ^ 1]) + value[2:]])


def missing_header(one: Genuine, header: str) -> Request | None:
    return _with(one, header, lambda _: [])


def empty_header(one: Genuine, header: str) -> Request | None:
    return _with(one, header, lambda _: [b""])


def non_ascii_header(one: Genuine, header: str) -> Request | None:
    return _with(one, header, lambda value: [value + b"\xff\xc3\xa9"])


def repeated_header(one: Genuine, header: str) -> Request | None:
    return _with(one, header, lambda value: [value, value])


def two_signatures(one: Genuine, header: str) -> Request | None:
    """A wrong one before the right one, as a proxy joins what came twice; a list is right for who signs by lists."""
    name = str(one.settings["scheme"])
    if name in LISTS or name == "standard-webhooks" or header != one.headers[0] or not _by_header(one):
        return None
    return _with(one, header, lambda value: [b"x" + value + b", " + value])


def _by_header(one: Genuine) -> bool:
    return one.covers_body and bool(one.headers)


def _with(one: Genuine, header: str, change: Callable[[bytes], list[bytes]]) -> Request | None:
    asked = one.make(TEXT, NOW)
    return with_header(asked, header, *change(dict(asked.headers)[header.encode()]))


WHOLE: tuple[Forge, ...] = (altered_body, signature_of_another_body, empty_body, stale, from_the_future)
OF_A_HEADER: tuple[Forge, ...] = (
    *(altered_header, missing_header, empty_header, non_ascii_header, repeated_header),
    two_signatures,
)
CASES = [
    (name, forge, header)
    for name, one in ALL.items()
    for forge, headers in [*((forge, ("",)) for forge in WHOLE), *((forge, one.headers) for forge in OF_A_HEADER)]
    for header in headers
    if forge(one, header) is not None
]


async def refused(house: House, source: str, forged: Request) -> str:
    """What a forgery is refused for, and everything that must be so then."""
    before = house.stored()
    with logged() as lines, pytest.raises(NotVerified) as told:
        await house.intake().receive(replace(forged, source=source))
    assert for_error(told.value, "Signature")[0] == 401
    assert house.stored() == before
    (line,) = lines.lines
    assert (line["event"], line["source"], line["reason"]) == (logs.WEBHOOK_REFUSED, source, told.value.reason)
    shown = [value for _, value in forged.headers] + [forged.body]
    assert not [value for value in shown if len(value) > 9 and value.decode("latin-1") in repr(line)]
    return Reason(line["reason"])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.anyio
async def test_what_is_genuine_is_stored_and_refused_by_another_secret(house: House, name: str) -> None:
    asked = ALL[name].make(TEXT, NOW)
    before = house.stored()
    receipt = await house.intake().receive(replace(asked, source=name))
    assert house.stored() == before + 1
    assert not receipt.duplicate
    await refused(house, f"{name}-other", asked)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.anyio
async def test_a_forgery_is_refused(house: House, name: str) -> None:
    for scheme, forge, header in CASES:
        if scheme != name:
            continue
        forged = forge(ALL[name], header)
        assert forged is not None
        reason = await refused(house, name, forged)
        if forge in (missing_header, empty_header) and header == ALL[name].headers[0]:
            assert reason.endswith("_missing"), (forge, header)
        if forge is stale:
            assert reason == "timestamp_stale"
        if forge is from_the_future:
            assert reason == "timestamp_future"


@pytest.mark.parametrize("name", sorted(set(ALL) - CREDENTIALS))
def test_headers_that_nobody_signed_do_not_become_the_body(house: House, name: str) -> None:
    """Those of CloudEvents' binary mode do, where nothing is signed anyway."""
    asked = ALL[name].make(TEXT, NOW)
    more = ((b"ce-specversion", b"1.0"), (b"ce-type", b"forged"))
    webhook = verified(house.sources[name].verifier, replace(asked, headers=(*asked.headers, *more)))
    assert webhook.headers["ce-type"] == "forged"
    assert not cloud_events.is_binary(webhook.headers)
    source = Source(name, None, Section(Document("x", {"verify": ALL[name].settings})))
    assert credential_filter_of(source).is_proof("headers", cloud_events.MARK)


def test_every_scheme_is_tried_and_by_every_forgery() -> None:
    assert {str(one.settings["scheme"]) for one in ALL.values()} == set(SENDERS) - {"none"}
    tried = {(name, forge) for name, forge, _ in CASES}
    for name, one in ALL.items():
        assert {forge for scheme, forge in tried if scheme == name} >= set(OF_A_HEADER[:5]) or not one.headers
    assert {forge for _, forge in tried} == {*WHOLE, *OF_A_HEADER}
