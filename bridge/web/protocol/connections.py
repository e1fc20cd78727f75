"""HTTP/1.1 server connections: uvicorn's, with limits on heads, idle time and their number.

Until a request's headers are complete, no application hears of it: how many bytes, how much time and how many
connections that takes is bounded here. Bodies are bounded where they are read (`bodies`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bridge.errors import Refused
from bridge.receiving.limits.request_limits import Limits
from bridge.timeouts import TimeoutQueue
from bridge.web.problems import REFUSALS, problem
from bridge.web.protocol.flow_control import ConnectionFlow, ReadQueue
from bridge.web.protocol.request_reader import RequestReader

_MAPPED = "::ffff:"  # how a socket that takes both writes an address of IPv4 (RFC 4291, 2.5.5.2)

OnRefusal = Callable[[str, str], None]


class Connections:
    """Makes the connections of one port. `refused` hears why one was refused, and the client's address."""

    def __init__(self, limits: Limits, refused: OnRefusal) -> None:
        self.limits = limits
        self.refused = refused
        self.read_queue = ReadQueue()
        self.heads = TimeoutQueue(limits.head_within, ServerConnection.head_is_too_slow)
        self.idle = TimeoutQueue(limits.idle, ServerConnection.timeout_keep_alive_handler)
        # For their clients to send the rest of a request, by their addresses; an address' longest first.
        self.waiting: dict[str, dict[ServerConnection, None]] = {}
        self._count = 0

    def __call__(self, **of_uvicorn: Any) -> "ServerConnection":
        return ServerConnection(self, **of_uvicorn)

    def add_waiting(self, connection: "ServerConnection") -> None:
        """This connection waits for its client from now on.

        Where too many do, the address that has most of them gives way, by the one that has waited longest.
        """
        if self._count >= self.limits.connections:
            fullest = max(self.waiting.values(), key=len)
            longest = next(iter(fullest))
            self.remove_waiting(longest)
            self.refused("too_many_connections", longest.address)
            longest.transport.abort()
        of_address = self.waiting.setdefault(connection.address, {})
        self._count += connection not in of_address
        of_address[connection] = None

    def remove_waiting(self, connection: "ServerConnection") -> None:
        """This connection's request is complete, or it is closed."""
        of_address = self.waiting.get(connection.address, {})
        if connection in of_address:
            del of_address[connection]
            self._count -= 1
            if not of_address:
                del self.waiting[connection.address]


class ServerConnection(RequestReader):
    """One connection."""

    def __init__(self, connections: Connections, **of_uvicorn: Any) -> None:
        super().__init__(connections.limits, **of_uvicorn)
        self._connections = connections

    @property
    def address(self) -> str:
        """The client's address."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = ConnectionFlow(transport, self._connections.read_queue, self.read_on)
        if self.client and self.client[0].startswith(_MAPPED):
            self.client = (self.client[0].removeprefix(_MAPPED), self.client[1])
        self._connections.add_waiting(self)
        self._connections.heads.start(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.heads.stop(self)
        self._connections.idle.stop(self)
        self._connections.remove_waiting(self)
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what came whole before the client ended its side, then end; whether something is to be answered."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """End: answers are small, and who leaves 64 KiB of them unread reads none."""
        super().pause_writing()
        self.loop.call_soon(self.transport.abort)

    def head_begins(self) -> None:
        self._connections.idle.stop(self)
        self._connections.heads.start(self)

    def head_ends(self) -> None:
        self._connections.idle.stop(self)
        self._connections.heads.stop(self)

    def request_ends(self) -> None:
        self._connections.remove_waiting(self)

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.pipeline:
            super().on_response_complete()
        else:  # uvicorn would make a timer
            self.flow.resume_reading()
            self._connections.idle.start(self)
        answered = self.cycle.response_complete  # all of them: it is the last
        if answered and self.body is not None:
            self.transport.close()  # nobody would ever read the rest
        elif answered or self.body is not None:
            self._connections.add_waiting(self)

    def head_is_too_slow(self) -> None:
        """Its time is over."""
        if self.head:
            detail = f"the headers did not arrive within {self.limits.head_within:g} s"
            self.refuse(Refused("head_too_slow", detail))
        else:
            self.transport.close()

    def refuse(self, error: Refused) -> None:
        """Take no more of this connection; what came before is still answered."""
        self.discarding = True
        self.flow.resume_reading()
        self._connections.heads.stop(self)
        self._connections.refused(error.reason, self.address)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._last_words(error)
        elif not cycle.more_body:
            cycle.keep_alive = False
        elif self.pipeline or cycle.response_started:
            self.transport.close()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._last_words(error)

    def _last_words(self, error: Refused) -> None:
        status, headers, body = problem(REFUSALS[error.reason], error.detail, (b"connection", b"close"))
        lines = [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.write_eof()
        self.loop.call_later(self.limits.linger, self.transport.close)
