"""HTTP/1.1 connections of the public port: uvicorn's, with the bounds that uvicorn leaves to a proxy.

Until a request's headers are complete, no application hears of it: how many bytes, how much time and how many
connections that takes is bounded here. Bodies are bounded where they are read (`bodies`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bridge.deadlines import Deadlines
from bridge.receiving.limits import Limits
from bridge.web.problems import problem

Refused = Callable[[str, str], None]


class Connections:
    """Makes the connections of one port. `refused` hears why one was refused, and the client's address."""

    def __init__(self, limits: Limits, refused: Refused) -> None:
        self.limits = limits
        self.refused = refused
        self.heads = Deadlines(limits.head_within, Connection.head_is_too_slow)
        self.idle = Deadlines(limits.idle, Connection.timeout_keep_alive_handler)
        self._waiting: dict[Connection, None] = {}  # for their clients to send the rest of a request; longest first

    def __call__(self, **of_uvicorn: Any) -> "Connection":
        return Connection(self, **of_uvicorn)

    def waits(self, connection: "Connection") -> None:
        """This connection waits for its client from now on. Where too many do, the one that waited longest ends."""
        if len(self._waiting) >= self.limits.connections:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            self.refused("too_many_connections", longest.address)
            longest.transport.abort()
        self._waiting[connection] = None

    def works(self, connection: "Connection") -> None:
        """This connection's request is complete, or it is closed."""
        self._waiting.pop(connection, None)


class Connection(HttpToolsProtocol):
    """One connection. It relies on uvicorn's own attributes: tests/web/test_connections.py would tell of a change."""

    def __init__(self, connections: Connections, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._connections = connections
        self._limits = connections.limits
        self._fruitless = 0  # bytes that came since the last one that ended a head or belonged to a body
        self._in_body = False
        self._upgrading = False
        self._deaf = False  # what comes now is thrown away

    @property
    def address(self) -> str:
        """The client's address."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connections.waits(self)
        self._connections.heads.start(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.heads.stop(self)
        self._connections.idle.stop(self)
        self._connections.works(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """End: answers are small, and who leaves 64 KiB of them unread reads none."""
        super().pause_writing()
        self.loop.call_soon(self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._connections.idle.stop(self)
        self._fruitless += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._refuse(400, "bad_request", "this is no HTTP/1.1 request that could be read safely")
            return
        if self._fruitless:  # a head, or what may stand around the pieces of a body, is not complete yet
            if self._fruitless > self._limits.head or len(self.headers or ()) > self._limits.headers:
                self._refuse(431, "headers_too_large", "the headers are too large")
            elif not self._in_body:
                self._connections.heads.start(self)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._upgrading:  # CONNECT: what follows is no HTTP
                    self._deaf = True
                    self.cycle.keep_alive = False
                    return
                data = self._without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _without_upgrade(self) -> bytes:
        """The same head without the wish for another protocol, which a server may ignore (RFC 9110, 7.8).

        The parser takes whatever follows such a head for the other protocol, the request's body too. Java's HttpClient
        asks for h2c in every request.
        """
        self._upgrading = False
        line = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%s: %s\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        return b"".join([line, *headers, b"\r\n"])

    def on_headers_complete(self) -> None:
        self._fruitless = 0
        self._connections.heads.stop(self)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        if len(self.pipeline) >= self._limits.pipelined:
            raise httptools.HttpParserError
        self._in_body = True
        super().on_headers_complete()
        self.headers = []  # for what stands after a chunked body: uvicorn would add it to the request's headers

    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._fruitless = 0
        if self._upgrading:
            return
        self._in_body = False
        self._connections.works(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.pipeline:
            super().on_response_complete()
        else:  # uvicorn would make a timer
            self.flow.resume_reading()
            self._connections.idle.start(self)
        answered = self.cycle.response_complete  # all of them: it is the last
        if answered and self._in_body:
            self.transport.close()  # nobody would ever read the rest
        elif answered or self._in_body:
            self._connections.waits(self)

    def head_is_too_slow(self) -> None:
        """Its time is over."""
        if self._fruitless:
            self._refuse(408, "head_too_slow", f"the headers did not arrive within {self._limits.head_within:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, reason: str, detail: str) -> None:
        """Take no more of this connection; what came before is still answered."""
        self._deaf = True
        self._connections.heads.stop(self)
        self._connections.refused(reason, self.address)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._last_words(status, detail)
        elif not cycle.more_body:
            cycle.keep_alive = False
        elif self.pipeline or cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._last_words(status, detail)

    def _last_words(self, status: int, detail: str) -> None:
        _, headers, body = problem(status, detail, (b"connection", b"close"))
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.write_eof()
        self.loop.call_later(self._limits.linger, self.transport.close)
