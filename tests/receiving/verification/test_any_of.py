import pytest

from bridge.errors import NotVerified
from bridge.model import Request
from bridge.receiving.verification import Reason
from bridge.receiving.verification.any_of import AnyOf
from bridge.receiving.verification.request_headers import RequestHeaders
from bridge.receiving.verification.verifier import Proven
from receiving.verification.support import NOW, request


class Way:
    """Proves what its header says, or complains in its own words."""

    tolerance = None

    def __init__(self, header: str, word: bytes, reason: Reason, delivery_id: bytes | None = None) -> None:
        self.redacted_headers = frozenset([header.encode()])
        self.delivery_id = delivery_id
        self._header, self._word, self._reason = header.encode(), word, reason

    def prove(self, _request: Request, headers: RequestHeaders, _now: int) -> Proven:
        if headers.get(self._header) == self._word:
            return Proven(len(self._word))
        raise NotVerified(self._reason)

    def sign(self, _request: Request, _delivery_id: str) -> dict[bytes, bytes]:
        return {self._header: self._word}


STRONG = Way("x-strong", b"s", Reason.SIGNATURE_MISMATCH)
OTHER = Way("x-strong", b"st", Reason.TIMESTAMP_STALE, b"x-id")
WEAK = Way("x-weak", b"wea", Reason.CREDENTIAL_MISMATCH)
REST = Way("x-rest", b"rest", Reason.CREDENTIAL_MISSING)
BOTH = AnyOf([(b"x-strong", STRONG), (b"x-strong", OTHER), (b"x-weak", WEAK)])
WITH_REST = AnyOf([(b"x-weak", WEAK), (b"", REST)])


def proven(proof: AnyOf, headers: dict[str, str]) -> int | str | None:
    asked = request(b"", headers)
    try:
        return proof.prove(asked, RequestHeaders(asked.headers), NOW).secret
    except NotVerified as error:
        return error.reason


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-strong": "s"}, 1),
        ({"x-strong": "st"}, 2),
        ({"x-weak": "wea"}, 3),
        ({"x-strong": "s", "x-weak": "no"}, 1),
        ({"x-strong": "no", "x-weak": "wea"}, "timestamp_stale"),
        ({"x-strong": "", "x-weak": "wea"}, 3),
        ({}, "timestamp_stale"),
    ],
)
def test_the_first_header_that_is_there_decides(headers: dict[str, str], expected: int | str) -> None:
    assert proven(BOTH, headers) == expected


def test_what_needs_no_header_is_left_where_none_is_there() -> None:
    assert proven(WITH_REST, {"x-rest": "rest"}) == 4
    assert proven(WITH_REST, {}) == "credential_missing"
    assert proven(WITH_REST, {"x-weak": "no", "x-rest": "rest"}) == "credential_mismatch"


def test_what_any_of_them_reads_is_not_stored_and_the_first_one_signs() -> None:
    assert BOTH.redacted_headers == {b"x-strong", b"x-weak"}
    assert BOTH.delivery_id == b"x-id"
    assert BOTH.sign(request(b"", {}), "d-1") == {b"x-strong": b"s"}
