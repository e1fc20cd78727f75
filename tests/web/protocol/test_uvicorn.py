"""What `web/protocol` uses of uvicorn and httptools beyond their documentation is there: a test for each attribute.

A failure names what an update has dropped or changed; the other tests of this folder say what it was needed for.
"""

import ast
import asyncio
import inspect
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httptools
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from bridge.web import protocol

from .test_fast_path import Transport, post

pytestmark = pytest.mark.anyio

# Attributes of a connection while a request's body is still to come, and what they are.
OF_CONNECTION: dict[str, type] = {
    "client": tuple,
    "cycle": RequestResponseCycle,
    "flow": FlowControl,
    "headers": list,
    "loop": asyncio.AbstractEventLoop,
    "parser": httptools.HttpRequestParser,
    "pipeline": deque,
    "scope": dict,
    "transport": asyncio.Transport,
    "url": bytes,
}
OF_CYCLE: dict[str, type] = {
    "body": bytearray,
    "default_headers": list,
    "disconnected": bool,
    "keep_alive": bool,
    "message_event": asyncio.Event,
    "more_body": bool,
    "response_complete": bool,
    "response_started": bool,
    "scope": dict,
    "transport": asyncio.Transport,
    "waiting_for_100_continue": bool,
}
OF_FLOW: dict[str, type] = {"_transport": asyncio.Transport, "read_paused": bool}

# Methods that are replaced or called, by the names of what they take.
METHODS: dict[tuple[type, str], tuple[str, ...]] = {
    (HttpToolsProtocol, "connection_lost"): ("exc",),
    (HttpToolsProtocol, "connection_made"): ("transport",),
    (HttpToolsProtocol, "data_received"): ("data",),
    (HttpToolsProtocol, "eof_received"): (),
    (HttpToolsProtocol, "on_body"): ("body",),
    (HttpToolsProtocol, "on_headers_complete"): (),
    (HttpToolsProtocol, "on_message_complete"): (),
    (HttpToolsProtocol, "on_response_complete"): (),
    (HttpToolsProtocol, "on_url"): ("url",),
    (HttpToolsProtocol, "pause_writing"): (),
    (HttpToolsProtocol, "timeout_keep_alive_handler"): (),
    (FlowControl, "pause_reading"): (),
    (FlowControl, "resume_reading"): (),
    (HttpToolsProtocol, "on_message_begin"): (),  # this and the next are for the sandbox, which cuts connections
    (HttpToolsProtocol, "shutdown"): (),
    (uvicorn.Server, "capture_signals"): (),  # these are for where the server is started
    (uvicorn.Server, "shutdown"): ("sockets",),
}


async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.fixture
async def connection() -> Any:
    """A connection of uvicorn's own, with a request of which a byte is missing."""
    config = uvicorn.Config(waiting, lifespan="off", log_config=None, ws="none")
    config.load()
    connection = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    connection.connection_made(Transport())
    connection.data_received(post() + b"{")
    yield connection
    connection.connection_lost(None)
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", OF_CONNECTION)
async def test_a_connection_has(name: str, connection: HttpToolsProtocol) -> None:
    assert isinstance(getattr(connection, name), OF_CONNECTION[name])


@pytest.mark.parametrize("name", OF_CYCLE)
async def test_a_request_has(name: str, connection: HttpToolsProtocol) -> None:
    assert isinstance(getattr(connection.cycle, name), OF_CYCLE[name])


@pytest.mark.parametrize("name", OF_FLOW)
async def test_a_flow_control_has(name: str, connection: HttpToolsProtocol) -> None:
    assert isinstance(getattr(connection.flow, name), OF_FLOW[name])


@pytest.mark.parametrize(("of", "name"), METHODS, ids=[f"{of.__name__}.{name}" for of, name in METHODS])
def test_a_method_takes(of: type, name: str) -> None:
    assert tuple(inspect.signature(getattr(of, name)).parameters) == ("self", *METHODS[of, name])


@pytest.mark.parametrize("name", ["config", "server_state", "app_state"])
def test_a_connection_is_made_of(name: str) -> None:
    assert name in inspect.signature(HttpToolsProtocol).parameters


async def test_a_request_calls_on_response_once_it_is_answered(connection: HttpToolsProtocol) -> None:
    assert connection.cycle.on_response == connection.on_response_complete


async def test_what_an_application_receives_by_belongs_to_the_request(connection: HttpToolsProtocol) -> None:
    assert connection.cycle.receive.__self__ is connection.cycle  # type: ignore[attr-defined]


async def test_the_latest_request_sent_ahead_is_leftmost_in_the_pipeline(connection: HttpToolsProtocol) -> None:
    connection.data_received(b"}" + post() + b"{}" + post() + b"{}")
    assert [cycle is connection.cycle for cycle, _ in connection.pipeline] == [True, False]


def test_status_line_has_every_status() -> None:
    assert httptools_impl.STATUS_LINE[202] == b"HTTP/1.1 202 Accepted\r\n"
    assert httptools_impl.STATUS_LINE[599] == b"HTTP/1.1 599 \r\n"


def test_header_value_re_finds_the_ends_of_lines() -> None:
    assert all(httptools_impl.HEADER_VALUE_RE.search(value) for value in (b"a\rb", b"a\nb", b"a\0b"))
    assert not httptools_impl.HEADER_VALUE_RE.search(b"a\tb \xff")


@pytest.mark.parametrize("name", ["feed_data", "set_dangerous_leniencies", "should_upgrade"])
def test_a_parser_has(name: str) -> None:
    assert callable(getattr(httptools.HttpRequestParser, name))


def test_a_parser_takes_data_after_close() -> None:
    httptools.HttpRequestParser(object()).set_dangerous_leniencies(lenient_data_after_close=True)


def test_http_parser_upgrade_says_where_the_other_protocol_begins() -> None:
    data = post(b"Connection: Upgrade", b"Upgrade: h2c", length=0)
    with pytest.raises(httptools.HttpParserUpgrade) as told:
        httptools.HttpRequestParser(object()).feed_data(data + b"more")
    assert told.value.args[0] == len(data)


def test_http_parser_error_has_the_callbacks_own_error_as_its_context() -> None:
    class Refusing:
        def on_url(self, url: bytes) -> None:
            raise KeyError(url)

    with pytest.raises(httptools.HttpParserError) as told:
        httptools.HttpRequestParser(Refusing()).feed_data(post())
    assert isinstance(told.value.__context__, KeyError)


def used() -> Iterator[str]:
    """Every attribute that a module of the package looks at, of whatever."""
    for path in Path(protocol.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(attr=name) | ast.FunctionDef(name=name):
                    yield name
                case ast.ImportFrom(module=str(module)) if module.startswith("uvicorn"):
                    yield from (alias.name for alias in node.names)


async def test_these_are_all_that_is_used(connection: HttpToolsProtocol) -> None:
    tested = {*OF_CONNECTION, *OF_CYCLE, *OF_FLOW, *(name for _, name in METHODS), "on_response"}
    tested |= {"STATUS_LINE", "HEADER_VALUE_RE", "HttpToolsProtocol", "RequestResponseCycle", "FlowControl"}
    theirs = {name for one in (connection, connection.cycle, connection.flow) for name in dir(one)} - {*dir(object)}
    theirs |= vars(httptools_impl).keys() | vars(flow_control).keys()
    assert set(used()) & theirs - tested == {"connections"}  # which is a limit of ours, too
