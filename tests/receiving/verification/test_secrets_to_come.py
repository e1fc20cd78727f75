"""A secret whose file is empty at first lets nobody in, and is used once the file is filled, in every scheme."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest

from bridge.model import Request
from bridge.receiving.verification import Verifier
from bridge.settings.expansion import Expansion
from bridge.settings.secrets import FileText

from .genuine import SCHEMES, SHARED, Genuine, refusal, verified
from .support import BASIC, GITHUB, NOW, PROVING, TOKEN, compiled, request

_BY_SECRET = {name: one for name, one in SCHEMES.items() if "secrets" in one.settings}
_KEYED = {name: settings for name, settings in PROVING.items() if name != "basic"} | {"basic": BASIC}
_OTHERS = {
    "standard": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "512": "aabbcc",
}


@pytest.fixture
def to_come(tmp_path: Path) -> FileText:
    (tmp_path / "next").write_text("\n")
    text, problems = Expansion({}, tmp_path).expand("${file:next}")
    assert problems == []
    assert isinstance(text, FileText)
    return text


@pytest.fixture
def fill(tmp_path: Path) -> Callable[[str], int]:
    return (tmp_path / "next").write_text


def signed(verifier: Verifier) -> Request:
    headers = verifier.sign(b"{}", method="POST", at=NOW, delivery_id="1")
    return request(b"{}", headers)


@pytest.mark.parametrize("name", _KEYED)
def test_it_is_used_once_it_is_there(name: str, to_come: FileText, fill: Callable[[str], int]) -> None:
    settings = _KEYED[name]
    other = _OTHERS.get(name, "another secret")
    (first,) = settings["secrets"]
    by_the_first, by_the_other = compiled(settings), compiled({**settings, "secrets": [other]})
    for secrets, positions in (([first, to_come], (1, 2)), ([to_come, first], (2, 1))):
        fill("\n")
        verifier = compiled({**settings, "secrets": secrets})
        assert verified(verifier, signed(by_the_first)).secret == positions[0]
        assert refusal(verifier, signed(by_the_other)) is not None
        assert verified(by_the_first, signed(verifier)).secret == 1, "it signs by the first that there is"
        fill(other)
        assert verified(verifier, signed(by_the_first)).secret == positions[0]
        assert verified(verifier, signed(by_the_other)).secret == positions[1]


@pytest.mark.parametrize("name", _BY_SECRET)
def test_it_is_used_once_it_is_there_by_special_proofs(
    name: str, to_come: FileText, fill: Callable[[str], int]
) -> None:
    genuine: Genuine = _BY_SECRET[name]
    (right,), (wrong,) = genuine.settings["secrets"], genuine.other["secrets"]
    verifier = genuine.verifier(secrets=[wrong, to_come])
    reason = refusal(genuine.verifier(**genuine.other), genuine.make(b"{}", NOW))
    assert refusal(verifier, genuine.make(b"{}", NOW)) == reason
    fill(right)
    assert verified(verifier, genuine.make(b"{}", NOW)).secret == 2


def by_an_empty_key() -> Mapping[str, tuple[Mapping[str, Any], Request]]:
    """What a forger would send that takes an empty secret for one."""
    digest = hmac.digest(b"", b"{}", hashlib.sha256).hex()
    jira = SCHEMES["jira-connect"]
    token = jwt.encode({"iss": "x", "exp": NOW // 1000 + 60}, SHARED, "HS256").rpartition(".")[0]
    signature = base64.urlsafe_b64encode(hmac.digest(b"", token.encode(), "sha256")).rstrip(b"=").decode()
    return {
        "github": (GITHUB, request(b"{}", {"X-Hub-Signature-256": f"sha256={digest}"})),
        "token": (TOKEN, request(b"{}", {"X-Token": ""})),
        "basic": (BASIC, request(b"{}", {"Authorization": f"Basic {base64.b64encode(b'hook:').decode()}"})),
        "jira-connect": (jira.settings, request(b"{}", {"Authorization": f"Bearer {token}.{signature}"})),
    }


@pytest.mark.parametrize("name", by_an_empty_key())
def test_an_empty_one_lets_nobody_in(name: str, to_come: FileText) -> None:
    settings, forged = by_an_empty_key()[name]
    url = SCHEMES[name].public_url if name in SCHEMES else ""
    for secrets in ([*settings["secrets"], to_come], [to_come, *settings["secrets"]]):
        assert refusal(compiled({**settings, "secrets": secrets}, url), forged) is not None
