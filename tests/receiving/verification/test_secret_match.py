import pytest

from bridge.errors import NotVerified
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.signature_spec import KeyForm
from bridge.receiving.verification import Reason
from bridge.receiving.verification.proofs.signature import Signature
from bridge.receiving.verification.secret_match import key_of, position_of_match
from bridge.receiving.verification.verifier import Verifier
from bridge.settings.secrets import FileText, Secret
from receiving.verification.support import NOW, STANDARD, compiled, request, signed


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("utf8", "whsec_AQ==", b"whsec_AQ=="),
        ("utf8", "ö", b"\xc3\xb6"),
        ("base64", "AQID", b"\x01\x02\x03"),
        ("base64", "AQI", b"\x01\x02"),
        ("whsec", "whsec_AQI=", b"\x01\x02"),
        ("whsec", "AQI=", b"\x01\x02"),
        ("hex", "01fF", b"\x01\xff"),
    ],
)
def test_each_form_gives_its_bytes(form: KeyForm, text: str, expected: bytes) -> None:
    assert key_of(form, text) == expected


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("utf8", ""),
        ("utf8", "\udc80"),
        ("base64", "A"),
        ("base64", "AQ-_"),
        ("base64", "é"),
        ("base64", "AQ==AQ=="),
        ("whsec", "whsec_"),
        ("whsec", "whpk_AQI="),
        ("hex", "abc"),
        ("hex", "zz"),
    ],
)
def test_what_is_not_of_the_form_is_no_key(form: KeyForm, text: str) -> None:
    assert key_of(form, text) is None


def test_the_first_of_ours_that_is_shown_is_named() -> None:
    assert position_of_match([b"a", None, b"c", b"d"], [b"x", b"d", b"c"], Reason.CREDENTIAL_MISMATCH) == 3


def test_without_a_usable_secret_nothing_is_verified() -> None:
    with pytest.raises(NotVerified, match="secret_unusable"):
        position_of_match([None], [b""], Reason.CREDENTIAL_MISMATCH)
    with pytest.raises(NotVerified, match="credential_mismatch"):
        position_of_match([b"a"], [], Reason.CREDENTIAL_MISMATCH)


def test_a_secret_from_a_file_is_read_at_each_request_and_fails_closed_when_it_is_no_key_any_more() -> None:
    text = [STANDARD["secrets"][0]]
    rotating = Secret(FileText(lambda: text[0]))
    verifier = Verifier("standard-webhooks", Signature(SENDERS["svix"].recipes[1], [rotating]))
    genuine = signed(compiled(STANDARD))
    assert verifier.verify(request(b"{}", genuine), NOW).secret == 1
    text[0] = "whsec_bmV3"
    with pytest.raises(NotVerified, match="signature_mismatch"):
        verifier.verify(request(b"{}", genuine), NOW)
    assert verifier.verify(request(b"{}", signed(verifier)), NOW).secret == 1
    text[0] = "not base64!"
    with pytest.raises(NotVerified, match="secret_unusable"):
        verifier.verify(request(b"{}", genuine), NOW)
    with pytest.raises(NotVerified, match="secret_unusable"):
        signed(verifier)


def test_another_secret_still_works_beside_an_unusable_one() -> None:
    secrets = [Secret("not base64!"), Secret(STANDARD["secrets"][0])]
    verifier = Verifier("standard-webhooks", Signature(SENDERS["svix"].recipes[1], secrets))
    assert verifier.verify(request(b"{}", signed(compiled(STANDARD))), NOW).secret == 2
