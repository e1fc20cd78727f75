"""The bound: the least that any application on this server does with a webhook. It reads the body and answers 202."""

import asyncio
import sys

import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send


async def application(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read a request's body, answer 202."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"3")]})
    await send({"type": "http.response.body", "body": b"ok\n"})


if __name__ == "__main__":
    config = uvicorn.Config(
        application,
        port=int(sys.argv[1]),
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        ws="none",
        server_header=False,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve())
