"""TLS with real servers: whom a target trusts, the certificate it shows, the oldest version it speaks."""

import ssl
import tempfile
from pathlib import Path
from typing import Any

import pytest
import structlog
from authorities import Issued, authority, server_tls
from cryptography.hazmat.primitives import serialization

from bridge.model import Attempt, Outcome
from bridge.settings.document import Document, Section
from bridge.settings.expansion import Expansion
from bridge.settings.parsing import parse
from bridge.settings.target_schema import TargetSettings
from bridge.superoffice.send_event import compile_target
from superoffice.support import BASIC, Call, claim, opened, playing

pytestmark = pytest.mark.anyio  # of those that are asynchronous

AUTHORITY = authority()
OTHER = authority("another authority")
SERVER = AUTHORITY.issue("127.0.0.1")
CLIENT = AUTHORITY.issue("bridge.example.com")
CA = AUTHORITY.pem.decode()
SHOWN = {"certificate": CLIENT.pem.decode(), "key": CLIENT.key_pem.decode()}


def asking_for_certificates(trusted: Issued, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> ssl.SSLContext:
    """A server that lets in only who shows a certificate of an authority."""
    context = server_tls(SERVER)
    context.minimum_version = minimum
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trusted.pem.decode())
    return context


async def attempt(server: ssl.SSLContext, tls: dict[str, Any]) -> Attempt:
    async with playing(Call.answer, tls=server) as played, opened(played.url, tls=tls) as crm:
        return await crm.send(claim())


def problems(tls: object) -> list[str]:
    written = {"url": "https://a.example/api", "authorization": BASIC, "tls": tls}
    section = Section(Document("f", written))
    settings, found = parse(section, TargetSettings)
    if settings is not None:
        found += compile_target("crm", settings, section)[1]
    return [f"{problem.path}: {problem.message}" for problem in found]


async def test_an_own_authority_is_trusted() -> None:
    assert (await attempt(server_tls(SERVER), {"ca": CA})).outcome is Outcome.DELIVERED


async def test_with_an_own_authority_no_other_is_trusted() -> None:
    found = await attempt(server_tls(SERVER), {"ca": OTHER.pem.decode()})
    assert (found.outcome, found.detail) == (Outcome.UNAVAILABLE, "the host's TLS certificate is not valid")


async def test_several_authorities_may_stand_in_one_file() -> None:
    assert (await attempt(server_tls(SERVER), {"ca": OTHER.pem.decode() + CA})).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_is_shown_to_a_server_that_asks_for_one(version: ssl.TLSVersion) -> None:
    server = asking_for_certificates(AUTHORITY)
    server.minimum_version = server.maximum_version = version
    assert (await attempt(server, {"ca": CA, **SHOWN})).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("shown", [{}, SHOWN])
@pytest.mark.parametrize(
    ("version", "outcome"),
    [
        (ssl.TLSVersion.TLSv1_2, Outcome.UNAVAILABLE),
        (ssl.TLSVersion.TLSv1_3, Outcome.UNKNOWN),  # there the server judges it when the request is on its way
    ],
)
async def test_a_server_that_refuses_the_certificate_gets_nothing(
    version: ssl.TLSVersion, outcome: Outcome, shown: dict[str, str]
) -> None:
    tls = asking_for_certificates(OTHER)
    tls.minimum_version = tls.maximum_version = version
    async with playing(Call.answer, tls=tls) as server, opened(server.url, tls={"ca": CA, **shown}) as crm:
        found = await crm.send(claim())
    assert (found.outcome, found.status) == (outcome, None)
    assert server.calls == []


async def test_a_server_that_speaks_only_older_tls_is_not_spoken_to() -> None:
    server = server_tls(SERVER)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    assert (await attempt(server, {"ca": CA, "minimum": "TLSv1.2"})).outcome is Outcome.DELIVERED
    found = await attempt(server, {"ca": CA, "minimum": "TLSv1.3"})
    assert (found.outcome, found.status) == (Outcome.UNAVAILABLE, None)


async def test_a_certificate_is_followed_when_its_files_change(tmp_path: Path) -> None:
    expansion = Expansion({}, tmp_path)

    def write(issued: Issued, *names: str) -> None:
        texts = {"certificate": issued.pem, "key": issued.key_pem}
        for name in names:
            (tmp_path / name).write_bytes(texts[name])

    asking = asking_for_certificates(AUTHORITY)
    asking.maximum_version = ssl.TLSVersion.TLSv1_2
    write(OTHER.issue("bridge.example.com"), "certificate", "key")
    tls = {"ca": CA} | {name: expansion.expand(f"${{file:{name}}}")[0] for name in ("certificate", "key")}
    async with (
        playing(Call.answer, tls=asking) as server,
        opened(server.url, tls=tls) as crm,
    ):
        assert (await crm.send(claim())).outcome is Outcome.UNAVAILABLE
        with structlog.testing.capture_logs() as lines:
            write(CLIENT, "certificate")  # and not yet its key
            assert (await crm.send(claim())).outcome is Outcome.UNAVAILABLE
            assert (await crm.send(claim())).outcome is Outcome.UNAVAILABLE
        write(CLIENT, "key")
        assert (await crm.send(claim())).outcome is Outcome.DELIVERED
    assert lines == [
        {
            "event": "target.certificate_refused",
            "log_level": "warning",
            "target": "crm",
            "setting": "certificate",
        }
    ]


ENCRYPTED = CLIENT.key.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"hush")
).decode()


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ({"ca": "/etc/ssl/ca.pem"}, "tls.ca: holds no certificates in PEM"),
        ({"ca": "\u00e4"}, "tls.ca: holds no certificates in PEM"),
        ({"certificate": SHOWN["certificate"]}, "tls: has only one of certificate and key"),
        ({"key": SHOWN["key"]}, "tls: has only one of certificate and key"),
        ({**SHOWN, "certificate": "none"}, "tls.certificate: is no certificate in PEM that key belongs to"),
        ({**SHOWN, "key": SERVER.key_pem.decode()}, "tls.certificate: is no certificate in PEM that key belongs to"),
        ({**SHOWN, "key": ENCRYPTED}, "tls.certificate: is no certificate in PEM that key belongs to"),
        ({"minimum": "TLSv1.1"}, 'tls.minimum: must be one of TLSv1.2, TLSv1.3, not "TLSv1.1"'),
        ({"verify": False}, "tls.verify: unknown key `verify`"),
    ],
)
async def test_what_is_wrong_with_tls_is_told_at_load_and_never_quoted(tls: object, problem: str) -> None:
    (found,) = problems(tls)
    assert found == problem
    assert "PRIVATE KEY" not in found


def test_the_key_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert problems({"ca": CA, **SHOWN}) == []
    assert list(tmp_path.iterdir()) == []
