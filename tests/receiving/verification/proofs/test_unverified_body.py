"""A body that carries its own proof: what is found there is what rules find, it costs little, and it is bounded."""

import gzip
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import media_types
from bridge.errors import NotVerified, Unreadable
from bridge.receiving.content import body, forms, json_text
from bridge.receiving.verification.proofs import unverified_body
from bridge.receiving.verification.request_headers import RequestHeaders
from receiving.verification.genuine import CLIENT_STATE, MAILGUN_SECRET, SCHEMES, mailgun_signature, refusal
from receiving.verification.support import NOW, compiled, found, request

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
MARK = b"\xef\xbb\xbf"  # of byte order


class Looked(msgspec.Struct):
    """What is looked for in these tests."""

    token: str | None = None
    inner: "Inner | None" = None


class Inner(msgspec.Struct):
    """The same, further in."""

    token: str | None = None


def members(text: bytes, content_type: str = "application/json") -> Looked:
    return unverified_body.members(request(text, {}), headers(content_type), Looked)


def headers(content_type: str, **more: str) -> RequestHeaders:
    return RequestHeaders(request(b"", {"content-type": content_type, **more}).headers)


# JSON


keys = st.sampled_from(['"token"', '"t\\u006fken"', '"inner"', '"x"', '"TOKEN"'])
scalars = st.sampled_from(
    ['"a"', '"b\\u00e5"', '"å"', "null", '""', "1", "1e400", "[]", "[[1]]", '{"token": "z"}', "tru", '"\\ud83d"']
)
objects = st.recursive(
    scalars,
    lambda inner: st.lists(st.tuples(keys, inner), max_size=5).map(
        lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
    ),
    max_leaves=8,
)


@given(objects, st.sampled_from([b"", MARK]))
def test_of_json_the_same_members_are_found_as_rules_find(text: str, mark: bytes) -> None:
    raw = mark + text.encode()
    try:
        looked = members(raw)
        whole = json_text.read(raw).value
    except (NotVerified, Unreadable):  # the latter only in what was passed over
        return
    assert looked.token == whole.get("token")
    inner = whole.get("inner")
    assert (looked.inner.token if looked.inner else None) == (inner.get("token") if inner else None)


@pytest.mark.parametrize(
    ("text", "content_type"),
    [
        (b"", "application/json"),
        (b"[]", "application/json"),
        (b'{"token": 5}', "application/json"),
        (b'{"token": "a"} x', "application/json"),
        (b'{"x": ' + b"[" * 100_000, "application/json"),
        (b'{"x": "\xa5\\", "token": "a"}', "application/json"),  # in Big5, the text would end before the token
        (b'{"x": "\xa5\\", "token": "a"}', "application/json; charset=big5"),
        ('{"token": "a"}'.encode("utf-16"), "application/json; charset=utf-16"),
        (b'{"token": "a"}', "application/json; charset=utf-16"),
        (b'{"token": "a"}', "application/json; charset=nonesuch"),
        (b'{"token": "a"}', "application/json; x=" + "y" * 600),
    ],
)
def test_what_rules_could_read_otherwise_is_not_proven(text: bytes, content_type: str) -> None:
    with pytest.raises(NotVerified, match="body_malformed"):
        members(text, content_type)


def test_a_body_that_is_compressed_is_not_proven() -> None:
    for encoding in ("gzip", "br", "x"):
        with pytest.raises(NotVerified, match="body_malformed"):
            unverified_body.members(request(b"{}", {}), headers("", **{"content-encoding": encoding}), Looked)
        with pytest.raises(NotVerified, match="body_malformed"):
            unverified_body.fields(request(b"a=1", {}), headers(FORM, **{"content-encoding": encoding}), ["a"])
    assert (
        unverified_body.members(request(b"{}", {}), headers("", **{"content-encoding": " Identity"}), Looked)
        == Looked()
    )


def test_half_a_pair_of_surrogates_beside_the_proof_is_no_fault_of_the_senders() -> None:
    body = json.dumps({"signature": mailgun_signature(NOW), "x": "see you \ud83d"}).encode()
    for raw in (body, MARK + body):
        asked = request(raw, {"content-type": "application/json"})
        assert refusal(SCHEMES["mailgun"].verifier(), asked) is None
    many = body.replace(b"see", b"\\n" * (unverified_body.MOST_ESCAPES + 1))
    assert refusal(SCHEMES["mailgun"].verifier(), request(many, {"content-type": "application/json"})) is not None


def test_however_much_json_there_is_beside_the_proof_it_is_passed_over() -> None:
    event = {"signature": mailgun_signature(NOW), "x": [[{}] * 1000] * 300}
    asked = request(json.dumps(event).encode(), {"content-type": "application/json"})
    assert refusal(SCHEMES["mailgun"].verifier(), asked) is None


def test_of_guesses_at_a_state_there_are_not_more_than_any_batch_has() -> None:
    few, many = ({"value": [{"clientState": CLIENT_STATE}] * count} for count in (1_000, 60_000))
    verifier = SCHEMES["microsoft-graph"].verifier()
    assert refusal(verifier, request(json.dumps(few).encode(), {})) is None
    assert refusal(verifier, request(json.dumps(many).encode(), {})) == "body_malformed"


# Forms


pieces = st.sampled_from(
    [
        *(
            "token=a",
            "t%6Fken=b",
            "t%6fken=%C3%A5",
            "token",
            "=a",
            "to+ken=c",
            "x=%",
            "%zz=1",
            "",
            "token=%ff",
            "x=%ff",
        ),
        *("TOKEN=a", "token%00=a", "token=a=b", "signature=s"),
    ]
)
parts = st.sampled_from(
    [
        'Content-Disposition: form-data; name="token"\r\n\r\na',
        "content-disposition:form-data;name=token\r\n\r\nb\r\n",
        'Content-Disposition: form-data; name="t\\oken"\r\n\r\nc',
        "Content-Disposition: form-data; name*=utf-8''t%6Fken\r\n\r\nd",
        'Content-Disposition: form-data; name="token"; filename="f"\r\n\r\nfile',
        'Content-Disposition: form-data; name="token"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\nee',
        'Content-Type: text/plain\r\nContent-Disposition: form-data; name="x"\r\n\r\n\xff',
        'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="token"\r\n\r\nf',
        "X: y\r\n\r\nno name",
        "no head",
    ]
)


def whole(raw: bytes, content_type: str) -> dict[str, Any] | None:
    try:
        fields = body._form(media_types.media_type(content_type), raw).value
    except Exception:
        return None
    return {name: value for name, value in fields.items() if name in ("token", "signature")}


@given(st.lists(pieces, max_size=5).map("&".join) | st.lists(parts, max_size=4), st.sampled_from([b"", MARK, MARK * 2]))
def test_of_a_form_the_same_fields_are_found_as_rules_find(written: str | list[str], mark: bytes) -> None:
    content_type = FORM if isinstance(written, str) else MULTIPART
    if isinstance(written, str):
        raw = mark + written.encode()
    else:
        raw = mark + "".join(f"--b\r\n{part}\r\n" for part in written).encode("latin-1") + b"--b--"
    try:
        looked = unverified_body.fields(request(raw, {}), headers(content_type), ["token", "signature"])
    except NotVerified:
        return
    found = whole(raw, content_type)
    # What was passed over may be unreadable, or in another charset, and then all of it; tokens are ASCII.
    assert found is None or found == looked or not str(looked).isascii()


def test_a_token_that_is_no_ascii_is_not_proven() -> None:
    signed = mailgun_signature(NOW, "å" * 50)
    asked = request(json.dumps({"signature": signed}).encode(), {"content-type": "application/json"})
    assert refusal(SCHEMES["mailgun"].verifier(), asked) == "body_malformed"


def test_a_form_that_rules_would_unpack_is_not_proven() -> None:
    """The name of a file stands in the head of gzip as it is: it could hold a proof that was captured."""
    signed = urlencode(mailgun_signature(NOW)).encode()
    packed = gzip.compress(b"token=forged")
    raw = packed[:3] + b"\x08" + packed[4:10] + b"&" + signed + b"&\0" + packed[10:]  # FNAME
    assert gzip.decompress(raw) == b"token=forged"
    asked = request(raw, {"content-type": FORM})
    assert unverified_body.fields(request(raw[1:], {}), headers(FORM), ["token"])["token"] == "t" * 50
    assert refusal(SCHEMES["mailgun"].verifier(), asked) == "body_malformed"


def url_encoded(count: int) -> bytes:
    return b"&".join(b"f%d=x" % number for number in range(count))


def multipart(count: int) -> bytes:
    """Parts, each of another type."""
    part = b"--b\r\nContent-Disposition: form-data; name=f%d\r\nContent-Type: text/x-%d; charset=x-%d\r\n\r\nx\r\n"
    return b"".join(part % (number, number, number) for number in range(count)) + b"--b--"


@pytest.mark.parametrize(
    ("make", "content_type", "most"),
    [(url_encoded, FORM, unverified_body.MOST_FIELDS), (multipart, MULTIPART, unverified_body.MOST_PARTS)],
)
def test_so_many_fields_are_looked_through_and_no_more_unless_the_source_says_so(
    make: Any, content_type: str, most: int
) -> None:
    asked = {"content-type": content_type}
    signed = "&".join(f"{name}={value}" for name, value in mailgun_signature(NOW).items()).encode()
    usual = compiled({"scheme": "mailgun", "secrets": [MAILGUN_SECRET]})
    larger = compiled({"scheme": "mailgun", "secrets": [MAILGUN_SECRET], "max_fields": most + 1})
    assert refusal(usual, request(make(most), asked)) == "signature_missing"
    assert refusal(usual, request(make(most + 1), asked)) == "too_many_fields"
    assert refusal(larger, request(make(most + 1), asked)) == "signature_missing"
    assert refusal(larger, request(make(most + 2), asked)) == "too_many_fields"
    if content_type == FORM:
        assert refusal(usual, request(make(most - 3) + b"&" + signed, asked)) is None
        assert refusal(usual, request(make(most - 2) + b"&" + signed, asked)) == "too_many_fields"


def test_twilio_signs_all_fields_so_all_are_read_and_as_many() -> None:
    asked = {"content-type": FORM, "x-twilio-signature": "x"}
    for settings, most in (({}, unverified_body.MOST_FIELDS), ({"max_fields": 5}, 5)):
        verifier = compiled({"scheme": "twilio", "secrets": ["12345"], **settings}, "https://hooks.example.com/x")
        assert refusal(verifier, request(url_encoded(most), asked)) == "signature_mismatch"
        assert refusal(verifier, request(url_encoded(most + 1), asked)) == "too_many_fields"


def test_no_type_of_a_part_is_read_before_its_form_is_proven() -> None:
    """Types were remembered: 1,950 of them, each another, took the event loop for a tenth of a second."""
    raw = multipart(unverified_body.MOST_PARTS)
    before = media_types._parsed.cache_info()
    with pytest.raises(NotVerified, match="signature_missing"):
        SCHEMES["mailgun"].verifier().verify(request(raw, {"content-type": MULTIPART}), NOW)
    after = media_types._parsed.cache_info()
    assert after.misses - before.misses <= 1  # the body's own


def test_more_fields_than_any_form_may_have_are_no_setting() -> None:
    for wrong in (0, forms.MAX_FIELDS + 1):
        assert "max_fields" in found({"scheme": "mailgun", "secrets": ["x" * 20], "max_fields": wrong})[0]
