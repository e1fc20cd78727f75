"""Sending as the sender would: what goes out, where to, and who answers."""

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from running import answering

from bridge.errors import BridgeError, CannotSign
from bridge.operations.rules.send import reachable, send
from bridge.receiving.sources import CompiledSource
from bridge.service import composition
from bridge.settings.schema import ListenSettings
from operations.support import Configuration

BODY = b'{"a":  1}\n'
GITHUB = 'verify: {scheme: github, secrets: ["first", "second"]}\nrules: []\n'


@dataclass
class Heard:
    """Stands where the bridge would, and notes what comes."""

    port: int = 0
    method: str = ""
    path: str = ""
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            heard.method, heard.path = self.command, self.path
            heard.headers = {name.lower(): value.encode("latin-1") for name, value in self.headers.items()}
            heard.body = self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(202)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_PUT = answer  # noqa: N815 - their names are the library's

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Tests are quiet."""

    with answering(Handler) as heard.port:
        yield heard


def compiled(path: Path, text: str = GITHUB) -> CompiledSource:
    return composition.build(Configuration(path, shop=text).directory).sources["shop"]


def test_the_payload_goes_out_byte_by_byte_signed_with_the_first_secret(heard: Heard, tmp_path: Path) -> None:
    listen = ListenSettings(host="0.0.0.0", port=heard.port)
    assert send(compiled(tmp_path), listen, BODY, {"X-GitHub-Event": "push"}) == (202, "ok")
    assert (heard.method, heard.path, heard.body) == ("POST", "/webhooks/shop", BODY)
    signature = hmac.new(b"first", BODY, hashlib.sha256).hexdigest()
    assert heard.headers["x-hub-signature-256"] == b"sha256=" + signature.encode()
    assert heard.headers["x-github-event"] == b"push"
    assert heard.headers["content-type"] == b"application/json"


def test_each_one_sent_is_a_new_delivery_unless_a_header_says_which(heard: Heard, tmp_path: Path) -> None:
    source, listen = compiled(tmp_path), ListenSettings(host="127.0.0.1", port=heard.port)
    ids = set()
    for _ in range(2):
        send(source, listen, BODY, {})
        ids.add(heard.headers["x-github-delivery"])
    assert len(ids) == 2
    send(source, listen, BODY, {"X-GitHub-Delivery": "mine"})
    assert heard.headers["x-github-delivery"] == b"mine"


def test_headers_are_the_callers_but_never_the_signature(heard: Heard, tmp_path: Path) -> None:
    headers = {"Content-Type": "text/plain", "X-Hub-Signature-256": "sha256=0", "X-Name": "Jürgen"}
    send(compiled(tmp_path), ListenSettings(), BODY, headers, f"http://127.0.0.1:{heard.port}/")
    assert heard.path == "/webhooks/shop"
    assert heard.headers["content-type"] == b"text/plain"
    assert heard.headers["x-name"] == "Jürgen".encode()
    assert heard.headers["x-hub-signature-256"] != b"sha256=0"


def test_the_method_is_the_first_that_the_source_takes(heard: Heard, tmp_path: Path) -> None:
    source = compiled(tmp_path, GITHUB + "methods: [PUT, POST]\n")
    send(source, ListenSettings(host="127.0.0.1", port=heard.port), BODY, {})
    assert heard.method == "PUT"


def test_where_nobody_answers_it_says_what_to_do(tmp_path: Path) -> None:
    told = r"^no bridge answers at http://127\.0\.0\.1:1 \(ConnectError\), start it or give --url$"
    with pytest.raises(BridgeError, match=told):
        send(compiled(tmp_path), ListenSettings(), BODY, {}, "http://127.0.0.1:1")


@pytest.mark.parametrize("url", ["hooks.example.com", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:port"])
def test_a_wrong_url_is_told_apart_from_nobody_answering(url: str, tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match=r"^this cannot be sent, correct the headers or --url: "):
        send(compiled(tmp_path), ListenSettings(), BODY, {}, url)


@pytest.mark.parametrize("headers", [{"X Name": "a"}, {"X-Name": "a\nb"}, {"": "a"}, {"X-Name\r\nX": "a"}])
def test_a_wrong_header_is_told_apart_from_nobody_answering(
    headers: dict[str, str], heard: Heard, tmp_path: Path
) -> None:
    with pytest.raises(BridgeError, match=r"^this cannot be sent, correct the headers or --url: "):
        send(compiled(tmp_path), ListenSettings(), BODY, headers, f"http://127.0.0.1:{heard.port}")


def test_the_length_is_the_payloads_whatever_a_header_says(heard: Heard, tmp_path: Path) -> None:
    send(compiled(tmp_path), ListenSettings(), BODY, {"Content-Length": "3"}, f"http://127.0.0.1:{heard.port}")
    assert heard.body == BODY


def test_a_bridge_that_listens_everywhere_is_reached_on_this_machine() -> None:
    assert reachable("0.0.0.0") == "127.0.0.1"
    assert reachable("::") == "[::1]"
    assert reachable("::1") == "[::1]"
    assert reachable("10.0.0.7") == "10.0.0.7"
    assert reachable("bridge.internal") == "bridge.internal"
    assert socket.gethostbyname(reachable("0.0.0.0")) == "127.0.0.1"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("json", b"application/json"),
        ("form", b"application/x-www-form-urlencoded"),
        ("xml", b"application/xml"),
        ("text", b"text/plain; charset=utf-8"),
        ("any", b"application/octet-stream"),
    ],
)
def test_the_content_type_is_that_of_the_sources_content_unless_a_header_says_otherwise(
    heard: Heard, tmp_path: Path, content: str, expected: bytes
) -> None:
    listen = ListenSettings(host="127.0.0.1", port=heard.port)
    source = compiled(tmp_path, f"{GITHUB}content: {content}\n")
    send(source, listen, BODY, {})
    assert heard.headers["content-type"] == expected
    send(source, listen, BODY, {"Content-Type": "text/x-own"})
    assert heard.headers["content-type"] == b"text/x-own"


def test_what_is_signed_of_a_form_is_what_goes_out(heard: Heard, tmp_path: Path) -> None:
    url = "https://hooks.example.com/webhooks/shop"
    source = compiled(tmp_path, f"verify: {{scheme: twilio, secrets: [first]}}\npublic_url: {url}\nrules: []\n")
    send(source, ListenSettings(host="127.0.0.1", port=heard.port), b"b=2&a=1", {})
    assert heard.headers["content-type"] == b"application/x-www-form-urlencoded"
    genuine = base64.b64encode(hmac.digest(b"first", f"{url}a1b2".encode(), "sha1"))
    assert heard.headers["x-twilio-signature"] == genuine


def test_what_only_the_sender_can_sign_is_not_sent_and_it_is_said_why(heard: Heard, tmp_path: Path) -> None:
    source = compiled(tmp_path, f"verify: {{scheme: discord, secrets: ['{'01' * 32}']}}\nrules: []\n")
    with pytest.raises(CannotSign, match="only the sender has the private key"):
        send(source, ListenSettings(host="127.0.0.1", port=heard.port), BODY, {})
    assert not heard.method
