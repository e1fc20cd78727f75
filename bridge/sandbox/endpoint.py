"""A sandbox endpoint: answers as SuperOffice does, or with the next scripted fault."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from bridge.sandbox.answers import HttpAnswer
from bridge.sandbox.faults import Fault
from bridge.sandbox.state import Sandbox

MAX_BODY = 4 * 1024 * 1024  # bytes of a SendEvent


class FaultyEndpoint:
    """An endpoint that shows faults, bare ASGI since load tests measure against it.

    `usual` answers (tenant, scope, body). One that is `called` something, which may hold `{tenant}`, is not SendEvent:
    its requests are counted under that name, and only faults for that name are for it.
    """

    def __init__(self, sandbox: Sandbox, usual: Callable[[str, Scope, bytes], HttpAnswer], called: str = "") -> None:
        self._sandbox = sandbox
        self._usual = usual
        self._called = called

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tenant = scope["path_params"].get("tenant") or "default"
        name = self._called.format(tenant=tenant) if self._called else tenant
        body = await _body(receive)
        if body is None:
            return
        fault = self._sandbox.script.take(name, by_name=bool(self._called))
        if fault is None:
            answer = self._usual(tenant, scope, body)
            self._sandbox.count(name, str(answer.status))
            await _respond(send, answer)
            return
        self._sandbox.count(name, fault.fault)
        if (instead := fault.answer()) is not None:
            await _respond(send, instead)
            return
        if (guise := fault.guise) is not None:
            await _respond(send, guise(self._usual(tenant, scope, body)))
            return
        transport: asyncio.Transport = scope["state"]["transport"]
        left = asyncio.ensure_future(_disconnect(receive))
        if not await self._misbehave(fault, lambda: self._usual(tenant, scope, body), left, transport, send):
            transport.abort()
        if transport.is_closing():
            await left  # uvicorn takes an application that ends before for a broken one, and logs it
        left.cancel()

    async def _misbehave(
        self,
        fault: Fault,
        usual: Callable[[], HttpAnswer],
        left: asyncio.Future[None],
        transport: asyncio.Transport,
        send: Send,
    ) -> bool:
        """Carry out a fault that lies in the manner of answering. False: the connection is to be cut."""
        match fault.fault:
            case "slow":
                answer = usual()
                if not await self._sandbox.pause(left, fault.seconds):
                    return False
                await _respond(send, answer)
            case "hang":
                if not await self._sandbox.pause(left, None):
                    return False
                await _respond(send, usual())
            case "cut-middle":
                answer = usual()
                await _respond(send, answer, len(answer.body) // 2)
                transport.close()  # sends what is written before it closes, which an abort need not
            case "cut-after":
                usual()
                return False
            case "cut-before":
                return False
        return True


async def _body(receive: Receive) -> bytes | None:
    """The body of a request, None where the client left. What exceeds the limit is read, but only its start is kept."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _respond(send: Send, answer: HttpAnswer, only: int | None = None) -> None:
    """Send an answer, or its head and the first `only` bytes of its body."""
    headers = [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body)), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body[:only], "more_body": only is not None})
