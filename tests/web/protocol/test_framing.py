"""Where bodies end, read by pieces of any size."""

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.web.protocol.framing import Chunked, FixedLength

AROUND = 100


def read(data: bytes, *, step: int = 1 << 20, of: Chunked | FixedLength | None = None) -> tuple[bytes, bytes] | None:
    """The body and what comes after it; None where its end is still to come."""
    body = of or Chunked(AROUND)
    read = b""
    for at in range(0, len(data), step):
        piece, rest = body.read(data[at : at + step])
        read += piece
        while body.left_unread:
            piece, rest = body.read(b"")
            read += piece
        if rest is not None:
            return read, rest + data[at + step :]
    return None


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "chunks",
    [
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"3 ; a = b\r\nabc\r\n2\t;c\r\nde\r\n0\r\n\r\n",
        b'3;a="x;y\\"";b=c ;d\r\nabc\r\n2\r\nde\r\n0\r\n\r\n',
        b"0003\r\nabc\r\n00000000000000002\r\nde\r\n000;last\r\n\r\n",
        b"1\r\na\r\n4\r\nbcde\r\n0\r\nX-After: 1\r\nEmpty:\r\n\r\n",
    ],
)
def test_chunks_are_put_together_and_what_stands_around_them_is_ignored(chunks: bytes, step: int) -> None:
    assert read(chunks, step=step) == (b"abcde", b"")
    assert read(chunks + b"GET / HTTP/1.1\r\n", step=step) == (b"abcde", b"GET / HTTP/1.1\r\n")
    assert read(chunks[:-1], step=step) is None


def test_chunks_may_hold_what_ends_them() -> None:
    assert read(b"A\r\n\r\n0\r\n\r\n\r\n\n\r\n0\r\n\r\n") == (b"\r\n0\r\n\r\n\r\n\n", b"")


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize(
    "chunks",
    [
        b"\r\n",
        b";a\r\nabc\r\n",
        b"g\r\n",
        b"0x3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"-3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"1_0\r\n",
        b"3\n\nabc\r\n",
        b"3\rabc\r\n",
        b"3;\r\nabc\r\n",
        b"3;a=\r\nabc\r\n",
        b"3;a b\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n',
        b"3;a\nb\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\rX",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nA: b\nC: d\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"80000001\r\n",
        b"FFFFFFFFFFFFFFFF\r\n",
        b"FFFFFFFFFFFFFFFFF\r\n",
        b"10000000000000000000000000000000\r\n",
    ],
)
def test_what_readers_could_take_for_different_chunks_is_refused_at_once(chunks: bytes, step: int) -> None:
    with pytest.raises(Refused) as told:
        read(chunks, step=step)
    assert told.value.reason == "bad_request"


@pytest.mark.parametrize(
    "chunks",
    [
        b"1;" + b"x" * AROUND,
        b"1;" + b"x" * AROUND + b"\r\n",
        b"1;xx\r\na\r\n" * 40,
        b"0\r\nX: " + b"y" * AROUND,
        b"0\r\n" + b"X: y\r\n" * 40,
        b"0" * AROUND + b"0",
    ],
)
def test_what_stands_around_chunks_is_bounded(chunks: bytes) -> None:
    with pytest.raises(Refused) as told:
        read(chunks)
    assert told.value.reason == "headers_too_large"


def test_crumbs_are_read_some_hundreds_at_a_time() -> None:
    body = Chunked(AROUND)
    read, rest = body.read(b"1\r\na\r\n" * 2500 + b"0\r\n\r\nGET")
    assert (len(read), rest, body.left_unread) == (250, None, True)
    for _ in range(9):
        read, rest = body.read(b"")
        assert (len(read), rest, body.left_unread) == (250, None, True)
    assert body.read(b"") == (b"", b"GET")
    assert not body.left_unread


def test_bare_sizes_are_not_counted_however_many_there_are() -> None:
    assert read(b"1\r\na\r\n" * 3000 + b"0\r\n\r\n") == (b"a" * 3000, b"")


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_a_length_is_counted(step: int) -> None:
    assert read(b"abcGET", of=FixedLength(3), step=step) == (b"abc", b"GET")
    assert read(b"abc", of=FixedLength(3), step=step) == (b"abc", b"")
    assert read(b"ab", of=FixedLength(3), step=step) is None


class _Parsed:
    """What the parser of httptools makes of the same chunks."""

    def __init__(self, chunks: bytes) -> None:
        self.body = b""
        self.whole = False
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        except httptools.HttpParserError:
            self.whole = False

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.whole = True


def by_h11(chunks: bytes) -> bytes | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    body = b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Data):
                body += event.data
    except h11.RemoteProtocolError:
        return None
    return body


PIECES = st.sampled_from(
    [b"0", b"1", b"3", b"a", b"\r\n", b"\r", b"\n", b";", b"=", b" ", b'"', b"X: y", b"abc", b"0\r\n\r\n"]
)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.integers(1, 5))
def test_nothing_is_read_that_two_other_readers_take_for_another_body(chunks: bytes, step: int) -> None:
    try:
        found = read(chunks, step=step)
    except Refused:
        return
    if found and not found[1]:
        parsed = _Parsed(chunks)
        assert by_h11(chunks) in (found[0], None)
        assert not parsed.whole or parsed.body == found[0]


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(1, 9))
def test_whatever_is_sent_in_chunks_is_read_as_it_was(pieces: list[bytes], step: int) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert read(chunks, step=step) == (b"".join(pieces), b"")
    assert _Parsed(chunks).body == by_h11(chunks) == b"".join(pieces)
