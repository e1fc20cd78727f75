"""Answers as servers and proxies send them, and as nobody should: whole, by name, each to a method."""

import gzip
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

BODY = b'{"EventType":"SaleSold"}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"3\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (BODY[:3], len(BODY) - 3, BODY[3:])
PACKED = gzip.compress(BODY, mtime=0)
LARGE = bytes(range(256)) * 400


class OddAnswer(NamedTuple):
    """What comes over the connection until it is closed."""

    name: str
    data: bytes
    method: str = "GET"


def answer(head: bytes = LENGTH, body: bytes = BODY, line: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    """An answer by its lines, each with its end."""
    return line + head + b"\r\n" + body


def framings() -> Iterator[OddAnswer]:
    """Every way to say where a body ends, with every kind of status, to every kind of method."""
    ways = {
        "length": (LENGTH, BODY),
        "length of none": (b"Content-Length: 0\r\n", b""),
        "chunks": (CHUNKED, CHUNKS),
        "no chunk": (CHUNKED, b"0\r\n\r\n"),
        "end": (b"", BODY),
        "end of none": (b"", b""),
        "close": (b"Connection: close\r\n" + LENGTH, BODY),
        "kept": (b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n" + LENGTH, BODY),
        "gzip": (b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(PACKED), PACKED),
        "large": (b"Content-Length: %d\r\n" % len(LARGE), LARGE),
        "large chunk": (CHUNKED, b"%X\r\n%s\r\n0\r\n\r\n" % (len(LARGE), LARGE)),
        "large end": (b"", LARGE),
    }
    lines = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 201 Created\r\n", b"HTTP/1.1 404 Not Found\r\n"]
    lines += [b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 503 Busy\r\n"]
    for (name, (head, body)), line, method in product(ways.items(), lines, ("GET", "POST", "HEAD")):
        if method == "HEAD" or line.split()[1] in (b"204", b"304"):
            body = b""
        yield OddAnswer(f"{method} {line[5:-2].decode()}, {name}", answer(head, body, line), method)


def status_lines() -> Iterator[OddAnswer]:
    for line in (
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200  OK",
        b"HTTP/1.1 200 O\xc3\xa4 K\xff",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1",
        b"HTTP/1.1 099 Low",
        b"HTTP/1.1 600 High",
        b"HTTP/1.1 999 High",
        b"HTTP/1.1 299 Odd",
        b"HTTP/1.1 451 \t",
        b"HTTP/2 200 OK",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"HTTP/0.9 200 OK",
        b"HTTP/11 200 OK",
        b"HTTP/1. 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b"RTSP/1.0 200 OK",
        b"SSH-2.0-OpenSSH_9.2",
        b"220 smtp.example ready",
        b"200 OK",
        b"HTTP/1.1\t200\tOK",
        b" HTTP/1.1 200 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"\r\n\r\n\r\nHTTP/1.1 200 OK",
        b"\nHTTP/1.1 200 OK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\x01K",
        b"HTTP/1.1 200 O\rK",
        b"<html>",
        b"{}",
        b"\x16\x03\x01\x02",
        b"\0",
    ):
        yield OddAnswer(f"line {line!r}", answer(line=line + b"\r\n"))


def headers() -> Iterator[OddAnswer]:
    for head in (
        b"X-Folded: a\r\n b\r\n",
        b"X-Folded: a\r\n\tb\r\n",
        b"X-Folded: a\r\n \r\n",
        b"X-Folded:\r\n b\r\n",
        b" X-First: a\r\n",
        b"X-Odd: \xe4\r\n",
        b"X-Odd: \xc3\xa4\r\n",
        b"X-Odd: a\x01b\r\n",
        b"X-Odd: a\x7fb\r\n",
        b"X-Odd: a\0b\r\n",
        b"X-Odd: a\rb\r\n",
        b"X-Empty:\r\n",
        b"X-Empty: \t \r\n",
        b"X-Tight:a\r\n",
        b"X-Wide:  \t a \t \r\n",
        b"X-Colons: a:b:c\r\n",
        b":\r\n",
        b": a\r\n",
        b"X Space: a\r\n",
        b"X-Space : a\r\n",
        b"X-No-Colon\r\n",
        b"X-\xe4: a\r\n",
        b"X(: a\r\n",
        b'"X": a\r\n',
        b"!#$%&'*+.^_`|~: a\r\n",
        b"X-Twice: a\r\nX-Twice: b\r\n",
        b"x-twice: a\r\nX-TWICE: b\r\n",
        b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n",
        b"X: y\r\n" * 90,
        b"X-Long: " + b"y" * 20_000 + b"\r\n",
        b"X-" + b"y" * 5000 + b": a\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Upgrade: h2c\r\n",
        b"Trailer: X\r\n",
        b"Connection: nonsense\r\n",
    ):
        yield OddAnswer(f"header {head[:40]!r}", answer(head + LENGTH))


def lengths() -> Iterator[OddAnswer]:
    right = b"%d" % len(BODY)
    for value in (
        right,
        b"0" + right,
        b" \t%s\t " % right,
        b"+" + right,
        b"-" + right,
        b"0x18",
        b"24.0",
        b"2 4",
        b"24;",
        b"24a",
        b"",
        b" ",
        b"24, 24",
        b"24,24",
        b"24, 25",
        b"24,",
        b"9" * 20,
        b"18446744073709551640",
        b"1e1",
        b"\xb2",
        b"24\0",
        b"_24",
        b"2_4",
        b"23",
        b"10",
        b"0",
    ):
        yield OddAnswer(f"length {value!r}", answer(b"Content-Length: %s\r\n" % value))
    for twice in ((b"24", b"24"), (b"24", b"25"), (b"25", b"24"), (b"24", b""), (b"24", b"24, 24")):
        yield OddAnswer(f"lengths {twice}", answer(b"".join(b"Content-Length: %s\r\n" % value for value in twice)))
    for beside in (CHUNKED + LENGTH, LENGTH + CHUNKED, b"Content-Length: 3\r\n" + CHUNKED):
        yield OddAnswer(f"chunks beside {beside!r}", answer(beside, CHUNKS))


def codings() -> Iterator[OddAnswer]:
    for value in (
        b"chunked",
        b"Chunked",
        b" chunked\t",
        b"CHUNKED",
        b"chunked ",
        b"identity",
        b"gzip",
        b"",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunked;q=1",
        b"xchunked",
        b"chunked\0",
        b"chunke",
        b'"chunked"',
        b"identity, chunked",
        b", chunked",
    ):
        yield OddAnswer(f"coding {value!r}", answer(b"Transfer-Encoding: %s\r\n" % value, CHUNKS))
    yield OddAnswer("codings twice", answer(CHUNKED * 2, CHUNKS))
    yield OddAnswer("codings in two", answer(b"Transfer-Encoding: gzip\r\n" + CHUNKED, CHUNKS))
    yield OddAnswer("chunks of 1.0", answer(CHUNKED, CHUNKS, b"HTTP/1.0 200 OK\r\n"))


def chunks() -> Iterator[OddAnswer]:
    sizes = [
        b"3;a=b",
        b'3;a="b;c"',
        b"3 ; a = b",
        b"3;",
        b"3;;",
        b"3;a=\xe4",
        b"3;" + b"a" * 200,
        b"3 ",
        b"3\t",
        b" 3",
        b"0000000000000003",
        b"00000000000000000000003",
        b"0x3",
        b"+3",
        b"-3",
        b"g",
        b"",
        b"3_0",
        b"FFFFFFFFFFFFFFFF",
        b"10000000000000003",
        b"3 0",
        b"4",
    ]
    others = [
        b"3;a\r\nabc\r\n0;b\r\n\r\n",
        b"003\r\nabc\r\n000\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabcxx0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"3\nabc\n0\n\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc\r\n0\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
        b"3\rabc\r0\r\r",
        b"3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\r\n folded\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: \xe4\r\n\r\n",
        b"3\r\nabc\r\n0\r\n X: y\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX: y\r\n",
        b"1\r\nx\r\n" * 500 + b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"",
        b"\r\n",
        b"0\r\n\r\nmore",
        CHUNKS + answer(),
        CHUNKS + b"\r\n\r\n",
    ]
    for body in (*(size + b"\r\nabc\r\n0\r\n\r\n" for size in sizes), *others):
        yield OddAnswer(f"chunks {body[:50]!r}", answer(CHUNKED, body))


def interim() -> Iterator[OddAnswer]:
    for before in (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.0 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Twice: a\r\n\r\n",
        b"HTTP/1.1 104 New\r\n\r\n",
        b"HTTP/1.1 199 Old\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Odd\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 103 Odd\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Odd\r\n\r\n",
    ):
        yield OddAnswer(f"after {before[:60]!r}", before + answer())
        yield OddAnswer(f"HEAD after {before[:60]!r}", before + answer(body=b""), "HEAD")
    yield OddAnswer("only interim", b"HTTP/1.1 100 Continue\r\n\r\n")


def line_ends() -> Iterator[OddAnswer]:
    yield OddAnswer("LF everywhere", answer().replace(b"\r\n", b"\n"))
    yield OddAnswer("LF in chunks, too", answer(CHUNKED, CHUNKS).replace(b"\r\n", b"\n"))
    yield OddAnswer("LF after the status line", answer().replace(b"OK\r\n", b"OK\n"))
    yield OddAnswer("LF after a header", answer(b"X: y\n" + LENGTH))
    yield OddAnswer("LF after the head", answer().replace(b"\r\n\r\n", b"\r\n\n"))
    yield OddAnswer("CR everywhere", answer().replace(b"\r\n", b"\r"))
    yield OddAnswer("CR CR LF", answer().replace(b"\r\n", b"\r\r\n"))
    yield OddAnswer("LF CR", answer().replace(b"\r\n", b"\n\r"))


def endings() -> Iterator[OddAnswer]:
    """Answers that are cut off anywhere, and those with something behind."""
    wholes = {"length": answer(), "chunks": answer(CHUNKED, CHUNKS), "1.0": answer(line=b"HTTP/1.0 200 OK\r\n")}
    for name, whole in wholes.items():
        head = whole.index(b"\r\n\r\n")
        for at in (0, 1, 8, 9, 12, 15, 16, 17, 20, head + 2, head + 4, len(whole) - 5, len(whole) - 1):
            yield OddAnswer(f"{name} cut at {at}", whole[:at])
    for method in ("GET", "HEAD"):
        for more in (b"more", b"\r\n", answer(), b"\0"):
            yield OddAnswer(f"{method} and then {more[:10]!r}", answer() + more, method)
    yield OddAnswer("204 with a body", answer(line=b"HTTP/1.1 204 No Content\r\n"))
    yield OddAnswer("304 with a body", answer(line=b"HTTP/1.1 304 Not Modified\r\n"))


KINDS: tuple[Callable[[], Iterator[OddAnswer]], ...] = (
    framings,
    status_lines,
    headers,
    lengths,
    codings,
    chunks,
    interim,
    line_ends,
    endings,
)  # names are unique
