"""Parses requests from the bytes of a connection, more strictly than uvicorn where RFC 9112 is."""

from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bridge.errors import Refused
from bridge.receiving.limits.request_limits import Limits
from bridge.web.protocol.framing import Chunked, FixedLength, is_chunked
from bridge.web.protocol.heads import VERSION_NOT_SUPPORTED, host_invalid, is_host, is_latest, request_line

FIELDS = "bridge.fields"  # of a scope: its headers by name, the last one where there are several
_HEAD_END = b"\r\n\r\n"
_HEAD, _BODY, _END = range(3)


class _Stop(Exception):
    """The parser must not read on."""


class RequestReader(HttpToolsProtocol):
    """Reads requests.

    The parser reads one request, and its body where that came along. Where it would read otherwise than we do, or go on
    to the next request, it is stopped, and a new one takes over; what comes later of a body, and chunks, are read by
    `framing`.
    """

    def __init__(self, limits: Limits, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self.limits = limits
        self.url = b""
        self.headers = []
        self.body: FixedLength | Chunked | None = None  # that is read by us
        self.discarding = False  # what comes now is thrown away
        self.head = 0  # bytes that came of one before `_data`
        self._line = b""  # of that head, as much of its first line as came
        self._end = b""  # of that head, the last bytes that came: its end may begin in them
        self._data = b""  # that the parser reads
        self._at = _HEAD  # what of a request it reads
        self._spent = False  # it has read otherwise than we do, and must not go on
        self._length = 0  # its Content-Length

    def data_received(self, data: bytes) -> None:
        if self.discarding:
            self.flow.pause_reading()
            self.flow.resume_reading()
            return
        try:
            while True:
                data = self._read(data) if self.body is None else self._read_body(self.body, data)
                if not data or self.discarding:
                    return
        except Refused as error:
            self.refuse(error)

    def read_on(self) -> bool:
        """Read what was left of a body that came; whether more should come."""
        if self.body is not None and self.body.left_unread and not self.discarding:
            self.data_received(b"")
        return self.body is None or not self.body.left_unread or self.discarding

    def refuse(self, error: Refused) -> None:
        """What came is no request, or breaks a limit."""
        raise NotImplementedError

    def head_begins(self) -> None:
        """A head has come, but not to its end."""
        raise NotImplementedError

    def head_ends(self) -> None:
        """It has come to its end."""
        raise NotImplementedError

    def request_ends(self) -> None:
        """The whole request has come."""
        raise NotImplementedError

    def _read(self, data: bytes) -> bytes:
        """Read what belongs to a request; what comes after that."""
        if self._spent:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does with the first one
            self._spent = False
        self._data = data
        self._at = _HEAD
        try:
            self.parser.feed_data(data)
            if self._at == _END and self.scope is self.cycle.scope:  # and no other request has begun
                return b""
            return self._go_on(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade()
            return data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if self._at == _HEAD:
                raise self._what_is_wrong(error) from None
            return self._rest()
        finally:
            self._data = b""
            if self.head and self._at != _HEAD:
                self.head, self._line, self._end = 0, b"", b""

    def _go_on(self, data: bytes) -> bytes:
        """Remember what was read of a request that is not complete; what belongs to another one."""
        if self._at == _END:
            return self._rest()
        if self._at == _BODY:
            self.body = FixedLength(self._length - len(self.cycle.body))
            self._spent = True
            self.flow.pause_reading()
            return b""
        self.head += len(data)
        self._line = request_line(self._line + data)
        self._end = (self._end + data)[1 - len(_HEAD_END) :]
        self._check_size(self.head)
        self.head_begins()
        return b""

    def _rest(self) -> bytes:
        """What came after the head, or after the body where the parser read that too; it cannot go on."""
        self._spent = True
        return self._data[self._end_of_head() + (self._length if self._at == _END else 0) :]

    def _end_of_head(self) -> int:
        """Where it is in the data."""
        head = self._end + self._data
        begins = 0 if self._line else len(head) - len(head.lstrip(b"\r\n"))
        return head.find(_HEAD_END, begins) + len(_HEAD_END) - len(self._end)

    def _ignore_upgrade(self) -> None:
        """Go on with HTTP/1.1, as a server may (RFC 9110, 7.8); Java's HttpClient asks for h2c in every request.

        The parser takes whatever follows such a head for the other protocol, the request's body too.
        """
        self._spent = True
        if self.scope["method"] == "CONNECT":  # what follows is no HTTP
            self.discarding = True
            self.cycle.keep_alive = False
        elif self._length:
            self.body = FixedLength(self._length)
            return
        self._complete()

    def _what_is_wrong(self, error: httptools.HttpParserError) -> Refused:
        if isinstance(error.__context__, Refused):  # a callback of ours says so
            return error.__context__
        try:
            is_latest(self._line + self._data)
        except Refused as version:
            if version.reason == VERSION_NOT_SUPPORTED:
                return version
        return Refused("bad_request", "this is no HTTP/1.1 request that could be read safely")

    def _check_size(self, head: int) -> None:
        if len(self.url) > self.limits.head:
            raise Refused("target_too_long", f"the request target is longer than {self.limits.head} bytes")
        if head > self.limits.head or len(self.headers) > self.limits.headers:
            raise Refused("headers_too_large", "the headers are too large")

    def on_url(self, url: bytes) -> None:
        if self._at == _END:  # it is that of another request
            raise _Stop
        self.url += url

    def on_headers_complete(self) -> None:
        if self.head + len(self._data) > self.limits.head or len(self.headers) > self.limits.headers:
            self._check_size(self.head + self._end_of_head())
        fields = dict(self.headers)
        host = fields.get(b"host")
        latest = is_latest(self._line + self._data)
        if not is_host(host) and (host is not None or latest):
            raise host_invalid()
        if len(fields) < len(self.headers) and sum(name == b"host" for name, _ in self.headers) > 1:
            raise host_invalid()
        chunked = b"transfer-encoding" in fields
        if chunked and not is_chunked(fields[b"transfer-encoding"]):
            raise Refused("bad_request", "the Transfer-Encoding is not chunked")
        if len(self.pipeline) >= self.limits.pipelined:
            raise Refused("bad_request", "too many requests were sent ahead")
        self.scope[FIELDS] = fields  # type: ignore[literal-required]
        super().on_headers_complete()
        self.head_ends()
        self._at = _BODY
        self._length = int(fields.get(b"content-length", 0))
        if chunked:
            self.body = Chunked(self.limits.head)
            raise _Stop

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self._at = _END
            self._complete()

    def _complete(self) -> None:
        self.request_ends()
        super().on_message_complete()

    def _read_body(self, body: FixedLength | Chunked, data: bytes) -> bytes:
        """Read what belongs to the body; what comes after it."""
        piece, rest = body.read(data)
        if piece:
            self.on_body(piece)
        if rest is None:
            if piece:
                self.flow.pause_reading()  # until whoever reads the body asks for more, and others had their turn
            return b""
        self.body = None
        self._complete()
        return rest
