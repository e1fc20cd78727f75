"""What one source's rules or anybody's forged bodies take, another source does not feel."""

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from receiving.verification.genuine import mailgun_signature
from running import Bridge, by_github, eventually

from .neighbours import SOURCE, Neighbour, post_to

NOWHERE = {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}
SLOW = """
verify: {scheme: github, secrets: ["${SECRET}"]}
rules:
  - name: slow
    for_each: body.items
    when: "item.sku in (body.note | lower)"
    event: {type: FormSubmitted, attributes: {sku: "{{ item.sku }}"}}
"""
XML = """
verify: {scheme: github, secrets: ["${SECRET}"]}
content: xml
rules: []
"""
MAIL_SECRET = "case-secret-0123456789abcdef"
MAIL = f"verify: {{scheme: mailgun, secrets: [{MAIL_SECRET}]}}\nrules: []\n"
SECONDS = 8.0
CONNECTIONS = 2


def slow(note: int = 900_000) -> bytes:
    """9,000 items and a note that is looked through for each."""
    items = [{"sku": f"z{number}"} for number in range(9_000)]
    return json.dumps({"items": items, "note": "N " * (note // 2)}, separators=(",", ":")).encode()


def elements(count: int) -> bytes:
    return b"<r>" + b"<a/>" * count + b"</r>"


def typed_parts() -> bytes:
    """1 MiB of multipart, 1,950 parts each with another type, as nobody sends it."""
    part = b"--b\r\nContent-Disposition: form-data; name=x%d\r\nContent-Type: text/x-%d; charset=%s\r\n\r\n\r\n"
    return b"".join(part % (number, number, b"y" * 440) for number in range(1950)) + b"--b--"


def dear_parts() -> bytes:
    """120 parts with heads of 8 KiB, all escapes: nothing takes longer to look through."""
    part = b'--b\r\nContent-Disposition: form-data; name="' + b"\\\\" * 3_900 + b'"\r\n\r\n\r\n'
    return part * 120 + b"--b--"


@contextmanager
def flood(bridge: Bridge, source: str, body: bytes, content_type: str) -> Iterator[Counter[int]]:
    """Send a body again and again over some connections; gives how often which status came."""
    statuses: Counter[int] = Counter()
    over = threading.Event()
    address = urlsplit(bridge.url)
    head = (
        f"POST /webhooks/{source} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()

    def send() -> None:
        while not over.is_set():
            try:
                with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as connection:
                    connection.sendall(head + body)
                    statuses[int(connection.recv(4096).split()[1])] += 1
            except (OSError, IndexError):  # it is refused before all of it is sent
                statuses[0] += 1

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.faults
def test_rules_that_are_slow(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge({"crm": NOWHERE}, {"slow": SLOW, "neighbour": SOURCE}).start()
    neighbour = Neighbour(bridge)
    neighbour.recover()
    body = slow()
    with neighbour.beside():
        headers = by_github(body, "one")
        for number in range(4):
            started = time.monotonic()
            answer = bridge.post("slow", body, headers)
            print(f"slow rules, try {number}: {time.monotonic() - started:.2f} s, {answer.text}")  # noqa: T201
            assert (answer.status_code, answer.json()["events"]) == (202, [])
            assert answer.json()["duplicate"] is (number > 0)
        with post_to(bridge, "slow") as post:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                assert post(body) == 202
    assert {(webhook["state"], len(webhook["events"])) for webhook in bridge.webhooks(source="slow")} == {("failed", 0)}
    assert sum(webhook["dedupe_key"] == "one" for webhook in bridge.webhooks(source="slow")) == 1
    print(f"slow rules: {neighbour.told()}")  # noqa: T201 - for whoever runs it with -s
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
def test_rules_that_are_slow_for_many_at_once_and_a_remap(make_bridge: Callable[..., Bridge]) -> None:
    """None of these breaks a bound: each takes some tenths of a second."""
    bridge = make_bridge({"crm": NOWHERE}, {"slow": SLOW, "other": SLOW, "neighbour": SOURCE}).start()
    neighbour = Neighbour(bridge)
    neighbour.recover()
    body = slow(40_000)
    with neighbour.beside():
        with post_to(bridge, "slow") as post, post_to(bridge, "other") as also:
            for _ in range(5):
                assert (post(body), also(body)) == (202, 202)
        path = "/api/webhooks/remap"
        for source in ("slow", "other"):
            answer = bridge.admin.post(path, json={"filter": {"source": source}, "yes": True}, timeout=120)
            assert (answer.status_code, answer.json()["done"]) == (200, 5), answer.text
    assert {webhook["state"] for webhook in bridge.webhooks(source="slow")} == {"ignored"}
    print(f"slow rules of two sources, and a remap: {neighbour.told()}")  # noqa: T201
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
def test_xml_that_is_long(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge({"crm": NOWHERE}, {"xml": XML, "neighbour": SOURCE}).start()
    neighbour = Neighbour(bridge)
    neighbour.recover()
    body = elements(260_000)
    count = 0
    with neighbour.beside(), post_to(bridge, "xml") as post:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            assert post(body) == 202
            count += 1
    print(f"{count} times {len(body) / 1000:.0f} kB of XML: {neighbour.told()}")  # noqa: T201
    assert neighbour.is_answered_as_always()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "body", "content_type"),
    [
        ("1,950 parts of other types", typed_parts(), "multipart/form-data; boundary=b"),
        ("parts with heads of escapes", dear_parts(), "multipart/form-data; boundary=b"),
        ("2,000 fields of escapes", b"&".join([b"%41" * 170 + b"=x"] * 2_000), "application/x-www-form-urlencoded"),
        ("a million objects", b'{"x": [' + b"{}," * 340_000 + b"{}]}", "application/json"),
    ],
    ids=["types", "escapes", "fields", "objects"],
)
def test_bodies_that_carry_their_own_proof(
    make_bridge: Callable[..., Bridge], name: str, body: bytes, content_type: str
) -> None:
    bridge = make_bridge({"crm": NOWHERE}, {"mail": MAIL, "neighbour": SOURCE}).start()

    def genuine(number: int, size: int = 100) -> int:
        """The status of a genuine event, sent from the forgers' own address."""
        signature = mailgun_signature(round(time.time() * 1000), f"{number:050}", MAIL_SECRET)
        sent = json.dumps({"signature": signature, "x": "y" * size}).encode()
        return bridge.client.post(
            "/webhooks/mail", content=sent, headers={"Content-Type": "application/json"}
        ).status_code

    assert genuine(0) == 200
    neighbour = Neighbour(bridge)
    neighbour.recover()
    answers: Counter[int] = Counter()
    with neighbour.beside(), flood(bridge, "mail", body, content_type) as statuses:
        until, number = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            number += 1
            answers[genuine(number)] += 1
            time.sleep(0.1)
    eventually(lambda: genuine(number + 1, 200_000) == 200)
    told = f"{name}: {sum(statuses.values())} times {len(body) / 1000:.0f} kB from {CONNECTIONS} connections"
    print(f"{told}, {dict(statuses)}; genuine beside {dict(answers)}; {neighbour.told()}")  # noqa: T201
    assert neighbour.is_answered_as_always()
    assert set(answers) == {200}
    assert statuses[401] > 0
