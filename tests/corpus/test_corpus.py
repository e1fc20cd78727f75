"""Every real GitHub payload of a published collection goes through a running bridge and ends as its rules say.

What the rules say is written here a second time, in plain Python.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from running import Bridge, Superoffice, by_github

_HERE = Path(__file__).parent
_EXAMPLES = _HERE / "node_modules" / "@octokit" / "webhooks-examples" / "api.github.com" / "index.json"

BROKEN = "broken"


class Wanted(NamedTuple):
    rule: str
    target: str
    type: str
    attributes: Any  # an object to be written in the target's format, or a text; `ID` stands for the event's id


ID = "<id>"


def payloads() -> list[tuple[str, dict[str, Any]]]:
    assert _EXAMPLES.exists(), "`make test` fetches the examples"
    examples = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    return [(event["name"], payload) for event in examples for payload in event["examples"]]


def expected(name: str, p: dict[str, Any]) -> Iterator[Wanted | str]:
    """The events that a payload must make, in order; BROKEN for each rule or item that must break."""
    if name == "push":
        if p["ref"].startswith("refs/heads/") and not p["deleted"]:
            attributes = {
                "repository": p["repository"]["full_name"],
                "id": p["repository"]["id"],
                "forced": p["forced"],
                "commits": len(p["commits"]),
                "files": p["head_commit"]["added"],
            }
            yield Wanted("branch-pushed", "support", "AddedMessage", attributes)
        for commit in p["commits"]:
            if commit["distinct"]:
                sha = commit["id"]
                by = {"sha": sha, "by": commit["author"]["username"].lower(), "note": f"{sha} of {p['pusher']['name']}"}
                yield Wanted("commit", "crm", "Run", by)
    if name == "issues" and p["action"] == "opened":
        issue = p["issue"]
        milestone = {"title": (issue["milestone"] or {}).get("title", "none"), "labels": issue["labels"]}
        attributes = {"number": issue["number"], "title": issue["title"].strip(), "milestone": milestone}
        yield Wanted("issue-opened", "support", "CreatedRequest", attributes)
    if name == "pull_request" and p["action"] == "closed":
        request = p["pull_request"]
        large = request["additions"] + request["deletions"] > 1
        on_default = request["base"]["ref"] == p["repository"]["default_branch"]
        if request["merged"] or (large and on_default and not request["draft"]):
            yield Wanted("merged", "crm", "SaleSold", {"number": p["number"], "merged": request["merged"]})
    if name == "release" and p["action"] == "published" and not p["release"]["prerelease"]:
        release = p["release"]
        text = f"{p['repository']['name']} {release['tag_name']} is out ({release['name'] or 'unnamed'}), "
        yield Wanted("released", "notes", "AddedMessage", f"{text}see {release['html_url']} / {ID}")
    if name == "star":
        stars = {
            "stars": p["repository"]["stargazers_count"],
            "at": p["starred_at"],
            "private": p["repository"]["private"],
        }
        yield Wanted("starred", "crm", "LinkClicked", stars)
    if name == "status":
        for branch in p["branches"]:
            attributes = {"branch": branch["name"], "protected": branch["protected"]}
            yield Wanted("status-branch", "crm", "Run", attributes)
    if name == "security_advisory":
        for vulnerability in p["security_advisory"]["vulnerabilities"]:
            cvss = (p["security_advisory"].get("cvss") or {}).get("score")
            attributes = {"range": vulnerability["vulnerable_version_range"], "cvss": cvss}
            yield Wanted("vulnerable", "support", "Run", attributes)
    if name in ("watch", "fork"):
        who = {"by": p["sender"]["login"], "picture": p["sender"]["avatar_url"]}
        unfit = ";" in who["picture"] or "=" in who["picture"]
        yield BROKEN if unfit else Wanted("watched", "crm", "LinkClicked", who)
    if name == "membership" and p["action"] == "removed":
        missing = "slug" not in p["team"]
        yield BROKEN if missing else Wanted("left-team", "crm", "Run", {"team": p["team"]["slug"]})


def written(wanted: Wanted, id_: str) -> str:
    """The Attributes string, in the format of the target."""
    if isinstance(wanted.attributes, str):
        return wanted.attributes.replace(ID, id_)
    values = wanted.attributes | {"bridge_id": id_}
    if wanted.target == "support":
        return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return ";".join(f"{name}={pair(value)}" for name, value in values.items())


def pair(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


async def send_all(url: str, sent: list[tuple[str, bytes]]) -> list[httpx.Response]:
    limit = asyncio.Semaphore(16)

    async def send(client: httpx.AsyncClient, number: int, name: str, body: bytes) -> httpx.Response:
        async with limit:
            headers = by_github(body, f"delivery-{number}", name)
            return await client.post("/webhooks/github", content=body, headers=headers)

    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        return await asyncio.gather(*(send(client, number, *one) for number, one in enumerate(sent)))


@pytest.fixture
def bridge(make_bridge: Callable[..., Bridge], sandbox: Superoffice) -> Bridge:
    formats = {"crm": "pairs", "support": "json", "notes": "text"}
    targets = {name: sandbox.target(f"corpus-{name}", attributes_format=of) for name, of in formats.items()}
    source = (_HERE / "github.yaml").read_text(encoding="utf-8")
    return make_bridge(targets, {"github": source}, default_target="crm").start()


def test_every_payload_ends_as_its_rules_say(bridge: Bridge, sandbox: Superoffice) -> None:
    corpus = payloads()
    assert len(corpus) >= 300
    sent = [(name, json.dumps(p, separators=(",", ":"), ensure_ascii=False).encode()) for name, p in corpus]

    answers = asyncio.run(send_all(bridge.url, sent))

    assert Counter(answer.status_code for answer in answers) == {202: len(corpus)}
    stored = {webhook["id"]: webhook for webhook in bridge.webhooks()}
    events = {event["id"]: event for event in bridge.settled()}
    assert len(stored) == len(corpus)
    recorded: Counter[tuple[str, str, str]] = Counter()
    states: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    for (name, payload), answer in zip(corpus, answers, strict=True):
        receipt = answer.json()
        wanted = [one for one in expected(name, payload) if isinstance(one, Wanted)]
        broken = sum(one == BROKEN for one in expected(name, payload))
        state = "failed" if broken else "mapped" if wanted else "ignored"
        webhook = stored[receipt["id"]]
        assert webhook["state"] == state, (name, payload.get("action"), webhook)
        assert webhook["events"] == receipt["events"]
        assert not receipt["duplicate"]
        made = [events.pop(id_) for id_ in receipt["events"]]
        texts = [(one, written(one, event["id"])) for one, event in zip(wanted, made, strict=True)]
        assert [(event["rule"], event["target"], event["type"], event["state"]) for event in made] == [
            (one.rule, one.target, one.type, "delivered") for one in wanted
        ]
        recorded.update((one.target, one.type, text) for one, text in texts)
        states[state] += 1
        rules.update([one.rule for one in wanted] + [BROKEN] * broken)
    assert not events, "events that nobody expected"
    got = Counter(
        (target, event["event_type"], event["attributes"])
        for target in ("crm", "support", "notes")
        for event in sandbox.events(f"corpus-{target}")
    )
    assert got == recorded
    assert max(got.values()) == 1
    assert set(rules) == {
        *("branch-pushed", "commit", "issue-opened", "merged", "released", "starred", "status-branch", "vulnerable"),
        *("left-team", BROKEN),
    }, "a rule that never fires on this corpus proves nothing"
    assert min(states[state] for state in ("mapped", "ignored", "failed")) >= 5
    assert bridge.stop() == 0
    assert [line for line in bridge.lines() if line["level"] == "error"] == []


def test_the_lock_pins_the_examples_by_hash_and_names_no_registry() -> None:
    lock = json.loads((_HERE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages["node_modules/@octokit/webhooks-examples"]["version"] == "7.6.1"
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
