"""Listening sockets, and a uvicorn server that serves an application on one."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from bridge.errors import BridgeError
from bridge.web.protocol.connections import Connections

_BACKLOG = 2048
_LAST_READ = 0.1  # seconds
_FIRST_PASSED = 3  # the first descriptor that a service manager passes: sd_listen_fds(3)


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen; connections queue until `Serving.start`.

    Raises:
        BridgeError: the address cannot be had, and why.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        every = family == socket.AF_INET6 and not host.strip(":0")  # address, those of IPv4 too
        return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=every)
    except OSError as error:
        raise BridgeError(
            f"cannot listen on {host}:{port}: {error.strerror}, free the port or choose another"
        ) from error


def inherited_listener() -> socket.socket | None:
    """The listening socket that a service manager bound and passed to this process; None where it passed none.

    It stays open there: connections queue while no bridge runs.

    Raises:
        BridgeError: it is not one listening TCP socket.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    hint = "let the .socket unit have one ListenStream=, a TCP port"
    if (count := os.environ.get("LISTEN_FDS")) != "1":
        raise BridgeError(f"LISTEN_FDS says {count}, and the bridge takes one socket, {hint}")
    try:
        os.set_inheritable(_FIRST_PASSED, False)
        listener = socket.socket(fileno=_FIRST_PASSED)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        raise BridgeError(f"what LISTEN_FDS passes is no socket, {hint}") from None
    if not listening or listener.family not in (socket.AF_INET, socket.AF_INET6):
        listener.close()
        raise BridgeError(f"what LISTEN_FDS passes is no listening TCP socket, {hint}")
    return listener


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the service decides what they mean."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting a moment before idle connections are closed: one just accepted may hold a request unread."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_READ)
        await super().shutdown(sockets)


class Serving:
    """One application on one listening socket; `connections` bound what strangers do there."""

    def __init__(self, app: ASGIApp, listener: socket.socket, connections: Connections) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", connections),
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                ws="none",
                timeout_keep_alive=75,
                timeout_graceful_shutdown=5,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Host and port, as bound."""
        host, port = self._listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def stop(self) -> None:
        """Answer what has begun, then close."""
        self._server.should_exit = True
        if self._task:
            await self._task
        self._listener.close()
