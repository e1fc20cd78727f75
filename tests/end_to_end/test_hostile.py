"""Hostile input over real sockets to a real `bridge serve`: a clear refusal or a state, and the next webhook at once.

What needs limits that a test can reach is in tests/web/protocol/test_connections.py. Requests are bytes here, since
client libraries are too well-behaved.
"""

import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import HANG, Bridge, Stopwatch, Superoffice, by_github, eventually

MAX_BODY = 1024 * 1024
AT_ONCE = 2.0  # seconds
GROWTH = 50  # MiB
RULES = """
rules:
  - name: opened
    when: body.action == 'opened'
    event: {type: Run, attributes: {id: "{{ body.id }}", note: "{{ body.note | default('') }}"}}
"""
MANY = """
rules:
  - {name: one, event: {type: Run, attributes: {a: b}}}
  - name: many
    for_each: body.lines
    event: {type: FormSubmitted, attributes: {line: "{{ item }}", note: "{{ body.note }}"}}
"""
SCHEMES = {
    "github": '{scheme: github, secrets: ["${SECRET}"]}',
    "standard": "{scheme: standard-webhooks, secrets: [whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHM=]}",
    "stripe": '{scheme: stripe, secrets: ["${SECRET}"]}',
    "slack": '{scheme: slack, secrets: ["${SECRET}"]}',
    "shopify": '{scheme: shopify, secrets: ["${SECRET}"]}',
    "token": '{scheme: token, header: X-Token, secrets: ["${SECRET}"]}',
    "basic": '{scheme: basic, username: hook, secrets: ["${SECRET}"]}',
}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem that a refusal is."""
        assert self.headers["content-type"] == "application/problem+json"
        content: dict[str, Any] = json.loads(self.body)
        assert content["status"] == self.status
        return content


class Wire:
    """One connection, in bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HANG)
        self._read = b""

    def write(self, data: bytes) -> bool:
        """Send; whether the other side took it all."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            return False
        return True

    def answer(self) -> Answer:
        """The next answer."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        headers = {
            name.lower(): value for name, value in re.findall(r"^([\w-]+): (.*?)\r?$", head.decode(), re.MULTILINE)
        }
        length = int(headers.get("content-length", 0))
        while len(self._read) < length:
            self._more()
        body, self._read = self._read[:length], self._read[length:]
        return Answer(int(head.split(b" ", 2)[1]), headers, body)

    def closed(self) -> bool:
        """Whether the other side ends the connection without another word."""
        assert self._read == b""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"the connection ended after {self._read!r}"
        self._read += data


def rss(bridge: Bridge) -> float:
    """The memory of the bridge's process, in MiB."""
    assert bridge.process is not None
    status = Path(f"/proc/{bridge.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def head(length: int | None, *lines: str, path: str = "/webhooks/github", method: str = "POST") -> bytes:
    """The head of a request; `length` None sends no Content-Length."""
    length_line = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *length_line, *lines, "", ""]).encode("latin-1")


def signed(body: bytes) -> list[str]:
    """The lines that make a body genuine for the source `github`."""
    return [f"{name}: {value}" for name, value in by_github(body).items()]


def genuine(body: bytes = b"{}") -> bytes:
    """A whole, genuine request."""
    return head(len(body), *signed(body)) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory, sandbox: Superoffice) -> Iterator[Bridge]:
    target = sandbox.target("hostile", attributes_format="json")
    sources = {name: f"verify: {verify}{RULES}" for name, verify in SCHEMES.items()}
    sources["lists"] = f"verify: {SCHEMES['github']}{MANY}"
    bridge = Bridge(tmp_path_factory.mktemp("hostile"), {"crm": target}, sources, log={"level": "warning"})
    bridge.start()
    for _ in range(50):  # the memory of a process that has worked a little
        bridge.post("github", b"{}", by_github(b"{}"))
        bridge.post("github", b"{}")
    yield bridge
    bridge.close()


@pytest.fixture(autouse=True)
def unharmed(bridge: Bridge) -> Iterator[None]:
    """After each exchange, however it went, a good webhook is served at once, and the memory is what it was."""
    before = rss(bridge)
    yield
    assert is_served(bridge)
    assert rss(bridge) < before + GROWTH


def watching(bridge: Bridge) -> Stopwatch:
    assert bridge.process is not None
    return Stopwatch(bridge.process.pid)


def is_served(bridge: Bridge) -> bool:
    """Whether a good webhook on a new connection is accepted at once."""
    watch = watching(bridge)
    with wire(bridge) as connection:
        connection.write(genuine())
        assert connection.answer().status == 202
    took = watch.seconds()
    assert took < AT_ONCE, took
    return True


def is_cut_off(bridge: Bridge, connection: Wire, piece: bytes) -> bool:
    """Whether the other side soon ends a connection on which the same comes again and again."""
    watch = watching(bridge)
    while connection.write(piece):
        assert watch.seconds() < 10
    return True


def answered(connections: list[Wire], count: int) -> list[Wire]:
    """The connections that something has come on, once there are as many."""

    def found() -> list[Wire]:
        sockets = select.select([connection.socket for connection in connections], [], [], 0)[0]
        return [connection for connection in connections if connection.socket in sockets]

    eventually(lambda: len(found()) >= count)
    return found()


def are_gone(bridge: Bridge, count: int) -> bool:
    """Whether as many unfinished bodies are let go: refused, or their senders have left."""
    gone = {"too_many_bodies", "body_cut_off"}
    return eventually(lambda: sum(line.get("reason") in gone for line in bridge.lines()) == count)


@contextmanager
def wire(bridge: Bridge) -> Iterator[Wire]:
    connection = Wire(bridge.port)
    with connection.socket:
        yield connection


@pytest.fixture
def stored(bridge: Bridge) -> Callable[[], list[dict[str, Any]]]:
    """The webhooks that this test stored, newest first."""
    before = {webhook["id"] for webhook in bridge.webhooks()}
    return lambda: [webhook for webhook in bridge.webhooks() if webhook["id"] not in before]


Stored = Callable[[], list[dict[str, Any]]]


@pytest.mark.parametrize(
    "body",
    [
        *(b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 500_000),
        *(b'{"a": NaN}', b'{"a": 1e400}', b'{"a": -Infinity}', b"1" * 5000),
        *(b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b'{"a": "\\ud8"}', b"\xff\xfe{\x00}\x00"),
        *(b"", b" ", b"\x00", b"{", b"{} {}", b"action=opened"),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_genuine_body_that_cannot_be_read_is_stored_as_unreadable(
    bridge: Bridge, stored: Stored, body: bytes
) -> None:
    with wire(bridge) as connection:
        connection.write(genuine(body))
        assert connection.answer().status == 202
    (webhook,) = stored()
    assert (webhook["state"], webhook["size"]) == ("unreadable", len(body))


@pytest.mark.parametrize(
    ("body", "state"),
    [
        *((b"[]", "failed"), (b'"opened"', "failed"), (b"null", "failed"), (b"1", "failed"), (b"true", "failed")),
        *((b"{}", "failed"), (b'{"action": null}', "ignored"), (b'{"action": ["opened"]}', "ignored")),
        *((b'{"action": "opened"}', "failed"), (b'{"action": "opened", "action": "closed"}', "ignored")),
    ],
)
def test_json_of_an_unexpected_form_is_what_the_rules_make_of_it(
    bridge: Bridge, stored: Stored, body: bytes, state: str
) -> None:
    with wire(bridge) as connection:
        connection.write(genuine(body))
        assert connection.answer().status == 202
    assert [webhook["state"] for webhook in stored()] == [state]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("18446744073709551616", 2**64), ("-18446744073709551617", -(2**64) - 1), ("9007199254740993", 2**53 + 1)),
        *(("1" + "0" * 300, 10**300), ("1e308", 1e308), ("1e-400", 0.0), ("-0", 0)),
        *(('"\\u0000"', "\0"), ('"\\ud83d\\ude00"', "\U0001f600"), ('"<script>"', "<script>"), ('"a;b=c"', "a;b=c")),
    ],
)
def test_a_value_reaches_superoffice_exactly(bridge: Bridge, sandbox: Superoffice, written: str, value: Any) -> None:
    body = b'{"action": "opened", "id": %s}' % written.encode()
    with wire(bridge) as connection:
        connection.write(genuine(body))
        answer = connection.answer()
    assert answer.status == 202
    (event_id,) = json.loads(answer.body)["events"]
    eventually(lambda: bridge.event(event_id)["state"] == "delivered")
    attributes = bridge.event(event_id)["attributes"]
    assert attributes == {"id": value, "note": ""}
    assert type(attributes["id"]) is type(value)
    sent = json.loads(sandbox.events("hostile")[-1]["attributes"])
    assert (sent["id"], type(sent["id"])) == (value, type(value))


def test_the_last_of_two_equal_keys_counts(bridge: Bridge) -> None:
    body = b'{"id": 1, "action": "closed", "id": 18446744073709551616, "action": "opened"}'
    answer = bridge.post("github", body, by_github(body))
    (event_id,) = answer.json()["events"]
    assert bridge.event(event_id)["attributes"]["id"] == 2**64


def test_one_webhook_that_makes_too_much_sends_nothing_and_takes_no_more_room_than_its_body(
    bridge: Bridge, stored: Stored
) -> None:
    def size() -> int:
        return sum(path.stat().st_size for path in bridge.root.rglob("bridge.db*"))

    body = json.dumps({"lines": [f"{number:06}" for number in range(10_000)], "note": "x" * 6_000}).encode()
    before = size()
    first, again = (bridge.post("lists", body, by_github(body, "too-much")).json() for _ in range(2))
    assert (first["events"], first["duplicate"]) == ([], False)
    assert again == first | {"duplicate": True}
    (webhook,) = stored()
    assert (webhook["state"], webhook["events"]) == ("failed", [])
    assert webhook["error"].startswith("no event is made: many: the events take over 16,777,216 bytes of the store")
    assert size() < before + 2 * 1024 * 1024


def test_the_same_id_with_another_body_makes_nothing_and_is_told(bridge: Bridge, stored: Stored) -> None:
    first, second = (
        bridge.post("github", body, by_github(body, "the-same")).json()
        for body in (b'{"action": "opened", "id": 1}', b'{"action": "opened", "id": 2}')
    )
    assert second == first | {"duplicate": True}
    (line,) = bridge.told("webhook.accepted", webhook_id=first["id"])  # warnings alone are logged
    assert (line["level"], line["duplicate"], line["differs"]) == ("warning", True, True)
    shown = bridge.admin.get(f"/api/webhooks/{first['id']}").json()
    assert (shown["duplicates"]["count"], shown["duplicates"]["differing"]) == (1, 1)
    assert shown["duplicates"]["last_at"]
    assert len(stored()) == 1


@pytest.mark.parametrize("length", [MAX_BODY + 1, 10**12], ids=str)
def test_a_declared_length_over_the_limit_is_413_at_once(bridge: Bridge, stored: Stored, length: int) -> None:
    with wire(bridge) as connection:
        connection.write(head(length, *signed(b"")))
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert answer.problem["detail"]
    assert stored() == []


def test_a_chunked_body_that_never_ends_is_413_as_soon_as_it_is_too_large(bridge: Bridge, stored: Stored) -> None:
    with wire(bridge) as connection:
        connection.write(head(None, CHUNKED, *signed(b"")))
        assert is_cut_off(bridge, connection, chunk(b"x" * 65536))
    with wire(bridge) as connection:
        connection.write(head(None, CHUNKED, *signed(b"")) + chunk(b"x" * 65536) * 17)
        assert connection.answer().problem["status"] == 413
        assert connection.closed()
    assert stored() == []


def test_a_sender_gets_its_413_though_it_writes_all_before_it_reads(bridge: Bridge) -> None:
    body = b"x" * (5 * MAX_BODY)
    for request in (head(len(body)) + body, head(None, CHUNKED) + chunk(body) + b"0\r\n\r\n"):
        for _ in range(5):
            with wire(bridge) as connection:
                assert connection.write(request)
                assert connection.answer().status == 413
                assert connection.closed()


def test_a_length_shorter_than_the_body_is_no_way_to_a_second_request(bridge: Bridge, stored: Stored) -> None:
    hidden = genuine(b'{"hidden": 1}')
    body = b"{}" + hidden
    with wire(bridge) as connection:  # signed as a whole, cut short: not genuine; what is left is a request of its own
        connection.write(head(2, *signed(body)) + body)
        assert connection.answer().status == 401
        assert connection.answer().status == 202
    with wire(bridge) as connection:
        connection.write(head(4, *signed(b'{"a": 1}')) + b'{"a": 1}')
        assert connection.answer().status == 401
        assert connection.closed()
    assert [webhook["size"] for webhook in stored()] == [13]


def test_a_length_longer_than_the_body_takes_what_follows_for_the_body(bridge: Bridge, stored: Stored) -> None:
    with wire(bridge) as connection:
        connection.write(head(2 + len(genuine()), *signed(b"{}")) + b"{}" + genuine())
        assert connection.answer().status == 401
        connection.write(genuine(b"[1]"))
        assert connection.answer().status == 202
    assert [webhook["size"] for webhook in stored()] == [3]


SMUGGLING = {
    "length and chunked": head(2, CHUNKED, *signed(b"{}")) + chunk(b"{}") + b"0\r\n\r\n",
    "chunked and length": head(None, CHUNKED, "Content-Length: 2", *signed(b"{}")) + chunk(b"{}") + b"0\r\n\r\n",
    "two lengths": head(2, "Content-Length: 3", *signed(b"{}")) + b"{} ",
    "two equal lengths": head(2, "Content-Length: 2", *signed(b"{}")) + b"{}",
    "a list of lengths": head(None, "Content-Length: 2, 2", *signed(b"{}")) + b"{}",
    "a signed length": head(None, "Content-Length: +2", *signed(b"{}")) + b"{}",
    "a negative length": head(-2, *signed(b"{}")) + b"{}",
    "a huge length": head(2**64 + 2, *signed(b"{}")) + b"{}",
    "a folded line": head(2, "X-A: b\r\n c", *signed(b"{}")) + b"{}",
    "a folded length": head(None, "Content-Length:\r\n 2", *signed(b"{}")) + b"{}",
    "blank before the colon": head(None, "Content-Length : 2", *signed(b"{}")) + b"{}",
    "blank before chunked's colon": head(None, "Transfer-Encoding : chunked", *signed(b"{}")) + chunk(b"{}"),
    "an unknown encoding": head(None, "Transfer-Encoding: xchunked", *signed(b"{}")) + chunk(b"{}") + b"0\r\n\r\n",
    "chunked, but not last": head(None, "Transfer-Encoding: chunked, identity", *signed(b"{}")) + chunk(b"{}"),
    "chunked twice": head(None, CHUNKED, CHUNKED, *signed(b"{}")) + chunk(b"{}") + b"0\r\n\r\n",
    "identity": head(None, "Transfer-Encoding: identity", *signed(b"{}")) + b"{}",
    "bare line feeds": genuine().replace(b"\r\n", b"\n"),
    "a bare return": head(2, "X-A: b\rX-B: c", *signed(b"{}")) + b"{}",
    "a zero byte": head(2, "X-A: b\0c", *signed(b"{}")) + b"{}",
    "no such chunk": head(None, CHUNKED, *signed(b"{}")) + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk": head(None, CHUNKED, *signed(b"{}")) + b"-2\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": head(None, CHUNKED, *signed(b"{}")) + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunks with bare line feeds": head(None, CHUNKED, *signed(b"{}")) + b"2\n{}\n0\n\n",
    "a chunk longer than it says": head(None, CHUNKED, *signed(b"{}")) + b"1\r\n{}\r\n0\r\n\r\n",
    "a name with a blank": head(2, "X A: b", *signed(b"{}")) + b"{}",
    "a line without a name": head(2, ": b", *signed(b"{}")) + b"{}",
    "a line without a colon": head(2, "X-A", *signed(b"{}")) + b"{}",
}
NOISE = {
    "a TLS hello": bytes.fromhex("16030102000100 01fc0303".replace(" ", "")) + bytes(range(256)),
    "zero bytes": b"\0" * 100,
    "high bytes": b"\xff" * 100,
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an unknown method": genuine().replace(b"POST", b"P\xd6ST"),
    "a path with high bytes": head(0, path="/webhooks/gith\xfcb"),
    "a path with a blank": head(0, path="/webhooks/git hub"),
    "a path with a zero byte": head(0, path="/webhooks/github\0"),
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
}


OTHER_VERSIONS = {
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": genuine().replace(b"HTTP/1.1", b"HTTP/9.9"),
}
REFUSED = [(request, 400) for request in (*SMUGGLING.values(), *NOISE.values())]
REFUSED += [(request, 505) for request in OTHER_VERSIONS.values()]


@pytest.mark.parametrize(("request_", "status"), REFUSED, ids=[*SMUGGLING, *NOISE, *OTHER_VERSIONS])
def test_what_two_readers_could_read_differently_is_refused_and_ends_the_connection(
    bridge: Bridge, stored: Stored, request_: bytes, status: int
) -> None:
    with wire(bridge) as connection:
        connection.write(request_ + genuine())
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert answer.problem["detail"]
        assert connection.closed()
    assert stored() == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/webhooks/../webhooks/github",
            "/webhooks/%2e%2e/webhooks/github",
            "/webhooks/./github",
            "//webhooks/github",
        ),
        *("/webhooks//github", "/webhooks/github/", "/webhooks/github%00", "/webhooks/%00", "/webhooks/github%2f", "*"),
        *("/webhooks/github%0d%0aX-A:%20b", "/webhooks/%ff%fe", "/webhooks/github;a", "/WEBHOOKS/github", "/%"),
        *("/webhooks/%67ithub%20", "/webhooks/..%2f..%2fetc%2fpasswd", "/webhooks", "/webhooks/", "/metrics", "/api/x"),
    ],
)
def test_a_path_that_is_none_of_ours_is_404(bridge: Bridge, stored: Stored, path: str) -> None:
    with wire(bridge) as connection:
        connection.write(head(2, *signed(b"{}"), path=path) + b"{}")
        answer = connection.answer()
        assert answer.status == 404
        assert "location" not in answer.headers
        assert answer.problem
    assert stored() == []


@pytest.mark.parametrize("part", ["/webhooks/{}", "/webhooks/github?{}", "/{}", "/webhooks/github#{}"])
@pytest.mark.parametrize("length", [66_000, 100_000, 1_000_000])
def test_a_long_path_or_query_is_refused(bridge: Bridge, stored: Stored, part: str, length: int) -> None:
    with wire(bridge) as connection:
        connection.write(head(2, *signed(b"{}"), path=part.format("a" * length)) + b"{}")
        answer = connection.answer()
        assert answer.status == 414
        assert answer.headers["connection"] == "close"
        assert answer.problem
    assert stored() == []


def test_path_query_and_headers_count_together(bridge: Bridge, stored: Stored) -> None:
    for length, status in ((65_000, 202), (65_500, 431)):
        with wire(bridge) as connection:
            connection.write(head(2, *signed(b"{}"), path="/webhooks/github?" + "a" * length) + b"{}")
            assert connection.answer().status == status
    assert len(stored()) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{number}: y" for number in range(10_000)],
        [f"X-{number}: y" for number in range(200)],
        ["X: " + "y" * 1_000_000],
        ["X: " + "y" * 66_000],
        ["y" * 66_000 + ": y"],
        ["Cookie: " + "y" * 8000] * 10,
    ],
    ids=["10,000", "201", "1 MB", "66 KB", "a long name", "ten of 8 KB"],
)
def test_many_or_long_headers_are_431(bridge: Bridge, stored: Stored, lines: list[str]) -> None:
    with wire(bridge) as connection:
        connection.write(head(2, *lines, *signed(b"{}")) + b"{}")
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (431, "close")
        assert answer.problem["detail"]
        assert connection.closed()
    assert stored() == []


def test_headers_that_never_end_are_cut_off_without_a_trace_in_memory(bridge: Bridge) -> None:
    for piece in (b"X: y\r\n" * 10_000, b"y" * 65536):
        with wire(bridge) as connection:
            connection.write(head(None)[:-2])
            assert is_cut_off(bridge, connection, piece)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"])
def test_other_methods_are_405_and_echo_nothing(bridge: Bridge, stored: Stored, method: str) -> None:
    with wire(bridge) as connection:
        connection.write(head(None if method == "HEAD" else 0, "X-Secret: confidential", *signed(b""), method=method))
        if method == "HEAD":
            assert connection.socket.recv(1000).startswith(b"HTTP/1.1 405 ")
        else:
            answer = connection.answer()
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
            assert b"confidential" not in answer.body
    assert stored() == []


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
def test_an_upgrade_is_ignored(bridge: Bridge, stored: Stored, protocol: str) -> None:
    lines = ["Connection: Upgrade", f"Upgrade: {protocol}", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    with wire(bridge) as connection:
        connection.write(head(None, *lines, "Sec-WebSocket-Version: 13", method="GET"))
        assert connection.answer().status == 405
    with wire(bridge) as connection:
        connection.write(head(2, *lines, *signed(b"{}")) + b"{}")
        assert connection.answer().status == 202
    assert len(stored()) == 1


@pytest.mark.parametrize("host", [["Host: localhost"], []], ids=["host", "no host"])
def test_http_1_0_is_answered_and_closed(bridge: Bridge, stored: Stored, host: list[str]) -> None:
    lines = ["POST /webhooks/github HTTP/1.0", *host, "Content-Length: 2", *signed(b"{}"), "", ""]
    with wire(bridge) as connection:
        connection.write("\r\n".join(lines).encode() + b"{}")
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (202, "close")
        assert connection.closed()
    assert len(stored()) == 1


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_ends_its_side_after_its_request_is_answered(
    bridge: Bridge, stored: Stored, version: str
) -> None:
    with wire(bridge) as connection:
        connection.write(genuine().replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1))
        connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.answer()
        assert answer.status == 202
        assert answer.headers.get("connection", "close") == "close"  # it may be written before the end is seen
        assert connection.closed()
    assert [webhook["id"] for webhook in stored()] == [json.loads(answer.body)["id"]]


def test_requests_sent_ahead_are_answered_in_order_and_all_stored(bridge: Bridge, stored: Stored) -> None:
    bodies = [b'{"number": %d}' % number for number in range(30)]
    requests = [genuine(body) if number % 3 else head(len(body)) + body for number, body in enumerate(bodies)]
    with wire(bridge) as connection:
        connection.write(b"".join(requests))
        answers = [connection.answer() for _ in requests]
    assert [answer.status for answer in answers] == [202 if number % 3 else 401 for number in range(30)]
    ids = [json.loads(answer.body)["id"] for answer in answers if answer.status == 202]
    assert {webhook["id"] for webhook in stored()} == set(ids)
    assert len(set(ids)) == 20


def test_a_thousand_silent_connections_keep_nobody_out(bridge: Bridge) -> None:
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(wire(bridge))
        assert is_served(bridge)


def test_a_thousand_slow_heads_and_bodies_keep_nobody_out(bridge: Bridge) -> None:
    with ExitStack() as stack:
        for number in range(1000):
            connection = stack.enter_context(wire(bridge))
            connection.write(head(None)[:-2] if number % 2 else head(1000) + b"{")
        assert is_served(bridge)


def test_the_memory_of_unfinished_bodies_is_bounded(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> None:
    source = f"verify: {SCHEMES['github']}\nrules: []\n"
    bridge = make_bridge({"crm": sandbox.target("bodies")}, {"github": source}).start()
    before = rss(bridge)
    for round_ in (1, 2):
        with ExitStack() as stack:
            connections = [stack.enter_context(wire(bridge)) for _ in range(150)]
            for connection in connections:
                connection.write(head(MAX_BODY) + b"x" * (MAX_BODY - 1))
            refused = answered(connections, 150 - 64)
            assert len(refused) < 150 - 32
            for connection in refused:
                answer = connection.answer()
                assert (answer.status, answer.headers["retry-after"]) == (503, "5")
                assert answer.problem["detail"]
            assert rss(bridge) < before + 64 + GROWTH
            assert is_served(bridge)
        assert are_gone(bridge, 150 * round_)
    assert [webhook["size"] for webhook in bridge.webhooks()] == [2, 2]


def test_large_bodies_that_are_whole_are_all_taken(bridge: Bridge) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(wire(bridge)) for _ in range(40)]
        for connection in connections:
            connection.write(head(MAX_BODY) + b"x" * MAX_BODY)
        assert {connection.answer().status for connection in connections} == {401}


# Any bytes, any headers, any method and path: no 5xx, no hang, nothing stored.

_SIGNING = """
x-hub-signature-256 x-hub-signature x-github-delivery webhook-id webhook-timestamp webhook-signature stripe-signature
x-slack-signature x-slack-request-timestamp x-shopify-hmac-sha256 x-token authorization cookie content-type
content-encoding expect connection upgrade transfer-encoding content-length host te trailer
"""
_FORMS = """
sha256= sha256=00 v1, v1,AAAA t=1,v1=00 t=,v1= v0= v0=00 AAAA Basic Basic_YTpi Basic_!! Bearer_ chunked gzip close
keep-alive upgrade h2c websocket 100-continue 0 1 -1 1e9 99999999999999999999 1700000000 \xb2 , ; =
"""
_LATIN = st.characters(codec="latin-1")
_NAMES = st.sampled_from(_SIGNING.split()) | st.text(_LATIN, min_size=1, max_size=20)
_VALUES = st.one_of(
    st.sampled_from(_FORMS.replace("_", " ").split("\n")[1:]) | st.sampled_from(_FORMS.split()),
    st.integers(-(10**25), 10**25).map(str),
    st.text(_LATIN, max_size=40),
    st.builds("t={},v1={}".format, st.just(int(time.time())), st.text("0123456789abcdef", max_size=64)),
)
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=8)
_METHODS = st.just("POST") | st.sampled_from(["GET", "HEAD", "PUT", "TRACE", "CONNECT", "post", ""])
_PATHS = st.sampled_from([f"/webhooks/{name}" for name in SCHEMES]) | st.builds(
    "/webhooks/{}{}".format,
    st.sampled_from([*SCHEMES, "", "..", "%2e%2e", "nobody"]),
    st.text(st.characters(codec="latin-1"), max_size=20),
)


def _request(method: str, path: str, headers: list[tuple[str, str]], body: bytes, length: bool) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


_BODIES = st.binary(max_size=100) | st.just(b'{"action": "opened", "id": 1}')
_REQUESTS = st.builds(_request, _METHODS, _PATHS, _HEADERS, _BODIES, st.booleans())


@given(st.lists(_REQUESTS | st.binary(max_size=200), min_size=1, max_size=3))
@settings(max_examples=400)
def test_no_bytes_give_a_5xx_hang_or_are_stored(bridge: Bridge, stored: Stored, requests: list[bytes]) -> None:
    answered = b""
    with wire(bridge) as connection, suppress(ConnectionError):  # a reset may take an answer along
        connection.socket.sendall(b"".join(requests))
        connection.socket.settimeout(0.02)  # for the answers, before the end of what is sent ends all
        with suppress(TimeoutError):
            while data := connection.socket.recv(65536):
                answered += data
        connection.socket.settimeout(HANG)
        connection.socket.shutdown(socket.SHUT_WR)
        while data := connection.socket.recv(65536):
            answered += data
    statuses = [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", answered, re.MULTILINE)]
    assert [status for status in statuses if status >= 500 or 200 <= status < 300] == []
    assert stored() == []
