"""Where a change is carried out: here where no bridge runs, else by the bridge that does, or a clear line why not."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from running import answering
from store.support import one

from bridge.errors import BridgeError, ConfigError, Location, Problem, StoreError
from bridge.mapping.rules import Rules
from bridge.operations.actions import owner
from bridge.settings.configuration import Names
from bridge.settings.schema import AdminSettings
from bridge.settings.secrets import Secret
from bridge.store import reader
from bridge.store.store import Store, owned
from operations.support import Configuration

ALL = {"filter": {"source": "shop"}, "yes": True}
TARGETS = {"crm": "http://127.0.0.1:1/crm/api"}
NAMES = Names(source=frozenset({"shop"}), rule=frozenset(), target=frozenset(TARGETS))

Answers = Callable[[int, str], int]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'bridge.db'}"


@pytest.fixture
def asked() -> list[tuple[Any, ...]]:
    """What the running bridge heard: path, authorization, who asks, payload."""
    return []


@pytest.fixture
def answers(asked: list[tuple[Any, ...]]) -> Iterator[Answers]:
    """Starts what stands on the admin port and answers this; gives the port."""
    servers = ExitStack()

    def start(status: int, text: str) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers.get("content-length", 0)))
                name = self.headers.get("x-operator")
                asked.append((self.path, self.headers["authorization"], name, json.loads(payload or b"null")))
                self.send_response(status)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST  # noqa: N815 - its name is the library's

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name is the library's
                """Tests are quiet."""

        return servers.enter_context(answering(Handler))

    with servers:
        yield start


def nobody_asks() -> Any:
    raise AssertionError("nobody needs to know")


def ask(url: str, path: str, payload: dict[str, Any] | None = ALL, **parts: Any) -> Any:
    """As a command does."""
    usual: dict[str, Any] = {"admin": nobody_asks, "rules": nobody_asks, "names": NAMES, "targets": TARGETS}
    return owner.ask(path, payload, store_url=url, **usual | parts)


def admin(port: int, host: str = "127.0.0.1") -> Callable[[], AdminSettings]:
    return lambda: AdminSettings(host=host, port=port, token=Secret("the-token"))


def test_where_no_bridge_runs_it_is_done_here_and_needs_no_admin_token(url: str) -> None:
    with owned(url):
        pass  # there is a store
    assert ask(url, "events/replay")["count"] == 0
    assert ask(url, "targets/crm/pause", {})["state"] == "paused"
    assert ask(url, "targets", None)[0]["paused_at"] is not None
    with owned(url), reader.reading(url) as connection:  # nothing is held any more
        assert reader.list_events(connection, reader.Filter()) == []


def test_only_a_remap_needs_the_rules(url: str, tmp_path: Path) -> None:
    with owned(url):
        pass  # there is a store
    configuration = Configuration(tmp_path, shop="verify: {scheme: none}\nrules: []\n")
    read: list[str] = []

    def rules() -> dict[str, Rules]:
        read.append("rules")
        return {source.name: its for source, its in configuration.built()}

    for yes in (False, True):
        payload = ALL | {"yes": yes}
        assert ask(url, "webhooks/erase", payload)["count"] == 0
        assert ask(url, "webhooks/remap", payload, rules=rules)["count"] == 0
    assert read == ["rules", "rules"]


@pytest.mark.parametrize(
    ("path", "payload"),
    [("webhooks/erase", ALL), ("events/replay", ALL), ("targets/crm/pause", {}), ("secrets/shop", {})],
)
def test_no_store_is_made_by_who_wants_to_change_what_is_in_it(url: str, path: str, payload: dict[str, Any]) -> None:
    """An empty one would say that nothing is left to erase."""
    with pytest.raises(StoreError, match=r"there is no store at .*bridge\.db yet"):
        ask(url, path, payload)
    assert not Path(url.removeprefix("sqlite:///")).exists()


def test_what_is_refused_here_is_told(url: str) -> None:
    with owned(url):
        pass  # there is a store
    with pytest.raises(BridgeError, match="there is no event ev_gone,"):
        ask(url, "events/replay", {"ids": ["ev_gone"], "yes": True})
    with pytest.raises(BridgeError, match="name ids, or a filter"):
        ask(url, "events/replay", {"yes": True})


def test_beside_a_running_bridge_it_is_asked_for_with_the_token(
    url: str, answers: Answers, asked: list[tuple[Any, ...]]
) -> None:
    port = answers(200, '{"count": 7}')
    with owned(url):
        assert ask(url, "events/replay", admin=admin(port), name="Anna") == {"count": 7}
        assert ask(url, "targets/crm/pause", {}, admin=admin(port, "0.0.0.0")) == {"count": 7}
    assert asked == [
        ("/api/events/replay", "Bearer the-token", "Anna", ALL),
        ("/api/targets/crm/pause", "Bearer the-token", None, {}),
    ]


PREVIEW = {"filter": {"source": "shop"}}
BY_RULES = [("webhooks/remap", PREVIEW), ("explain/wh_1", None), ("webhooks/wh_1", None)]


@pytest.mark.parametrize(("path", "payload"), BY_RULES)
def test_what_the_rules_have_a_say_in_is_asked_of_a_running_bridge(
    path: str, payload: Any, url: str, answers: Answers, asked: list[tuple[Any, ...]]
) -> None:
    port = answers(200, '{"note": "the files differ"}')
    with owned(url):
        assert ask(url, path, payload, admin=admin(port)) == {"note": "the files differ"}
    assert asked == [(f"/api/{path}", "Bearer the-token", None, payload)]
    with pytest.raises(StoreError, match="there is no webhook wh_1,") if payload is None else nullcontext():
        assert ask(url, path, payload, rules=dict)["note"] is None  # nobody runs any more
    assert len(asked) == 1


def no_token() -> AdminSettings:
    raise ConfigError([Problem(Location("bridge.yaml", 1, 2), "admin.token", "`TOKEN` is not set")])


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "the running bridge does not answer at http://127.0.0.1:1/api/webhooks/remap (ConnectError)"),
        ("none", "the store belongs to a running bridge that has no admin port, add admin to bridge.yaml and "),
        ("token", "bridge.yaml:1:2: admin.token: `TOKEN` is not set"),
        (401, "the running bridge refuses the admin token, give this command the same one"),
        (500, "what answers at http://"),
    ],
)
def test_where_it_cannot_be_asked_the_files_are_used_and_the_answer_says_so(
    answer: Any, told: str, url: str, answers: Answers
) -> None:
    settings: Any = {None: admin(1), "none": lambda: None, "token": no_token}.get(answer)
    settings = settings or admin(answers(answer, "{}" if answer == 401 else "<html>"))
    with owned(url):
        note = ask(url, "webhooks/remap", PREVIEW, admin=settings, rules=dict)["note"]
    assert note.startswith(told)
    assert note.endswith("; so these are the rules of the files")


def test_what_a_running_bridge_refuses_is_refused(url: str, answers: Answers) -> None:
    with owned(url), pytest.raises(StoreError, match=r"^there is no webhook wh_1$"):
        ask(url, "webhooks/wh_1", None, admin=admin(answers(404, '{"detail": "there is no webhook wh_1"}')))


def test_files_that_are_wrong_keep_nobody_from_the_record(url: str) -> None:
    with owned(url):
        pass  # there is a store
    with pytest.raises(StoreError, match="there is no webhook wh_1,"):
        ask(url, "webhooks/wh_1", None, rules=no_token)
    with pytest.raises(ConfigError):
        ask(url, "webhooks/remap", PREVIEW, rules=no_token)


@pytest.mark.parametrize("path", ["events/replay", "events/discard", "events/release", "webhooks/erase"])
def test_a_preview_is_read_beside_a_running_bridge_that_nobody_asks(path: str, url: str) -> None:
    with owned(url):
        answer = ask(url, path, {"filter": {"source": "shop"}})
        assert (answer["count"], answer["done"]) == (0, 0)
        assert ask(url, "targets", None) == [ask(url, "targets/crm", None)]
        with pytest.raises(BridgeError, match="there is no target erp,"):
            ask(url, "targets/erp", None)


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, '{"detail": "x"}', "^the running bridge refuses the admin token, give this command the same one$"),
        (404, '{"detail": "there is no event ev_1"}', "^there is no event ev_1$"),
        (400, '{"detail": "yes: not so"}', "^yes: not so$"),
        (503, "{}", "^the running bridge answered 503$"),
        (500, "[1]", "^the running bridge answered 500$"),
        (
            404,
            "<html>",
            "^what answers at .*/api/events/replay is no bridge's admin port, correct admin",
        ),
        (200, "hello", "^what answers at .* is no bridge's admin port"),
        (502, "", "^what answers at .* is no bridge's admin port"),
    ],
)
def test_whatever_else_answers_is_told_in_a_line(status: int, text: str, told: str, url: str, answers: Answers) -> None:
    port = answers(status, text)
    with owned(url), pytest.raises(BridgeError, match=told) as refused:
        ask(url, "events/replay", admin=admin(port))
    assert "the-token" not in str(refused.value)


def test_nothing_is_erased_of_a_file_that_cannot_be_cleaned(url: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "bridge.db") as connection:  # as somebody else set it up
        connection.execute("PRAGMA auto_vacuum=FULL")
    connection.close()
    id_ = asyncio.run(stored(url))
    with pytest.raises(StoreError, match=r"^nothing is erased: free space of this file cannot be .* let SQLite VACUUM"):
        ask(url, "webhooks/erase", {"ids": [id_], "yes": True})
    with reader.reading(url) as read:
        assert [row["id"] for row in reader.list_webhooks(read, reader.Filter())] == [id_]


async def stored(url: str) -> str:
    webhook, mapping = one()
    with owned(url) as engine:
        store = Store(engine)
        await store.start()
        await store.accept(webhook, mapping, 0)
        store.close()
    return webhook.id


def test_a_change_that_was_asked_for_and_not_answered_may_be_done(url: str) -> None:
    class Silent(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))  # and the connection ends

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name is the library's
            """Tests are quiet."""

    with answering(Silent) as port, owned(url):
        with pytest.raises(
            BridgeError, match=r"^the running bridge took .*: it may be done all the same, operator\.ch"
        ):
            ask(url, "events/replay", admin=admin(port))
        with pytest.raises(BridgeError, match=r"it may be done all the same"):
            ask(url, "targets/crm/pause", {"note": None}, admin=admin(port))


def test_a_running_bridge_that_nobody_can_ask_is_told(url: str) -> None:
    with owned(url):
        with pytest.raises(BridgeError, match=r"^the store belongs to a running bridge that has no admin port, add"):
            ask(url, "events/replay", admin=lambda: None)
        with pytest.raises(BridgeError, match=r"^the running bridge does not answer at http://127.0.0.1:1/api/events/"):
            ask(url, "events/replay", admin=admin(1))
