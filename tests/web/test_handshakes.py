"""Handshakes as their senders perform them, on a real socket; none of them leaves a webhook or an event behind."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from authorities import Answer, Elsewhere, Published, authority, publishing, rsa_key
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from forwarding.support import Log, logged
from running import HANG, NO_TLS

from bridge.observing import logs
from bridge.observing.metrics import Metrics
from bridge.receiving.intake import Intake
from bridge.receiving.intake_reporter import IntakeReporter
from bridge.receiving.verification.remote_keys import download
from bridge.service import composition
from bridge.store import reader
from bridge.store.registered_secrets import MOST
from bridge.store.store import Store, owned
from bridge.web import public
from bridge.web.serving import Serving, listen

pytestmark = pytest.mark.anyio

DISCORD = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SECRETS = 'secrets: ["another one", hush]'
VERIFY = {
    "asana": f"{{scheme: asana, {SECRETS}}}",
    "cloudevents": f"{{scheme: cloudevents, {SECRETS}}}",
    "cloudevents-rated": f"{{scheme: cloudevents, {SECRETS}}}\nrate: 5/s",
    "discord": f"{{scheme: discord, secrets: [{DISCORD.public_key().public_bytes_raw().hex()}]}}",
    "dropbox": f"{{scheme: dropbox, {SECRETS}}}",
    "eventgrid": f"{{scheme: azure-event-grid, {SECRETS}}}",
    "github": f"{{scheme: github, {SECRETS}}}",
    "graph": f"{{scheme: microsoft-graph, {SECRETS}}}",
    "intercom": f"{{scheme: intercom, {SECRETS}}}",
    "meta": f"{{scheme: meta, {SECRETS}, verify_token: letmein}}",
    "meta-guessed": f"{{scheme: meta, {SECRETS}, verify_token: letmein}}\nfailures: {{at_once: 3, rate: 1/h}}",
    "meta-without": f"{{scheme: meta, {SECRETS}}}",
    "notion": f"{{scheme: notion, {SECRETS}}}",
    "okta": f"{{scheme: okta, {SECRETS}}}",
    "slack": f"{{scheme: slack, {SECRETS}}}",
    "sns": "{scheme: aws-sns, topic_arns: ['arn:aws:sns:eu-west-1:123456789012:orders']}",
    "trello": f"{{scheme: trello, {SECRETS}}}\npublic_url: https://hooks.example.com/webhooks/trello",
    "x": "{scheme: x, secrets: [hush]}",
    "xero": f"{{scheme: xero, {SECRETS}}}",
    "zoom": f"{{scheme: zoom, {SECRETS}}}",
    "new-asana": '{scheme: asana, secrets: [""]}\nregistering: true',
    "new-notion": "{scheme: notion, secrets: []}\nregistering: true",
}
RULES = "rules: [{name: every, event: {type: Run}}]\n"
BRIDGE = {"targets": {"crm": {"url": "http://127.0.0.1:1/api", "authorization": {"scheme": "bearer", "token": "t"}}}}
AUTHORITY = authority()
SNS = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = "/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
CONFIRM = "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:orders&Token="
AMAZON = {
    CERTIFICATE: Answer(AUTHORITY.issue("sns.amazonaws.com", key=rsa_key(0)).pem),
    CONFIRM + "2336412f37": Answer(b"<ConfirmSubscriptionResponse/>", headers={"content-type": "text/xml"}),
    CONFIRM + "late": Answer(status=403),
    CONFIRM + "busy": Answer(status=503),
    CONFIRM + "moved": Answer(status=302, headers={"location": SNS + CONFIRM + "2336412f37"}),
    CONFIRM + "huge": Answer(endless=True),
}
ECHOED = {"content-type": "text/plain", "x-content-type-options": "nosniff"}


@dataclass(frozen=True)
class Bridge:
    """A bridge as one test sees it."""

    client: httpx.AsyncClient
    store: Store
    url: str
    log: Log
    amazon: Published
    before: int  # webhooks that other tests left behind

    async def ask(
        self, method: str, source: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """A request, whose answer sets no cookie, whatever it is."""
        answer = await self.client.request(method, f"/webhooks/{source}", content=body, headers=headers or {})
        assert "set-cookie" not in answer.headers
        return answer

    def stored(self) -> list[str]:
        """The sources of the stored webhooks."""
        with reader.reading(self.url) as connection:
            found = reader.list_webhooks(connection, reader.Filter())
            made = {event["webhook_id"] for event in reader.list_events(connection, reader.Filter())}
        assert made <= {webhook["id"] for webhook in found}
        return [webhook["source"] for webhook in found[: len(found) - self.before]]

    def told(self) -> list[tuple[str, str | None]]:
        """Each line of the log about a handshake or a refusal: its name, and why not."""
        names = (logs.HANDSHAKE_ANSWERED, logs.HANDSHAKE_REFUSED, logs.WEBHOOK_REFUSED, logs.WEBHOOK_ACCEPTED)
        return [(line["event"], line.get("reason")) for name in names for line in self.log.named(name)]


ANSWERED = [(logs.HANDSHAKE_ANSWERED, None)]


def refused(reason: str) -> list[tuple[str, str | None]]:
    return [(logs.HANDSHAKE_REFUSED, reason)]


def forged(reason: str) -> list[tuple[str, str | None]]:
    return [(logs.WEBHOOK_REFUSED, reason)]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop for all tests here, since one bridge serves them."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridge]:
    tmp_path = tmp_path_factory.mktemp("handshakes")
    (tmp_path / "config" / "sources").mkdir(parents=True)
    (tmp_path / "config" / "bridge.yaml").write_text(json.dumps(BRIDGE | {"listen": {"max_body": 100_000}}))
    for name, verify in VERIFY.items():
        (tmp_path / "config" / "sources" / f"{name}.yaml").write_text(f"verify: {verify}\n{RULES}")
    sources = composition.build(tmp_path / "config").sources

    async def ready() -> bool:
        return True

    amazon = AUTHORITY.issue("sns.eu-west-1.amazonaws.com")
    with owned(f"sqlite:///{tmp_path}/bridge.db") as engine:
        store = Store(engine)
        exit_stack = AsyncExitStack()
        published = await exit_stack.enter_async_context(publishing(amazon, AMAZON))

        async def from_amazon(url: str) -> bytes:
            return await download(url, Elsewhere(published.port, AUTHORITY))

        reporter = IntakeReporter(Metrics())
        intake = Intake(store, reporter, lambda _: None, from_amazon)
        webhooks = public.Webhooks(intake, reporter, lambda: sources)
        listener = listen("127.0.0.1", 0)
        serving = Serving(public.application(webhooks, ready), listener, webhooks.connections)
        serving.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, verify=NO_TLS, timeout=HANG) as client:
            yield Bridge(client, store, f"sqlite:///{tmp_path}/bridge.db", Log([], asyncio.Event()), published, 0)
        await serving.stop()
        await exit_stack.aclose()
        store.close()


@pytest.fixture
async def bridge(running: Bridge) -> AsyncIterator[Bridge]:
    with logged() as log:
        running.amazon.asked.clear()
        yield replace(running, log=log, before=len(running.stored()))
    for source in VERIFY:
        await running.store.take_secrets(source)


def digest(content: bytes, secret: str = "hush", algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), content, algorithm).digest()


def by_slack(body: bytes, secret: str = "hush") -> dict[str, str]:
    now = str(int(time.time()))
    signature = digest(f"v0:{now}:".encode() + body, secret).hex()
    return {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signature}"}


def by_zoom(body: bytes, secret: str = "hush") -> dict[str, str]:
    now = str(int(time.time()))
    signature = digest(f"v0:{now}:".encode() + body, secret).hex()
    return {"x-zm-request-timestamp": now, "x-zm-signature": f"v0={signature}"}


def by_discord(body: bytes) -> dict[str, str]:
    now = str(int(time.time()))
    return {"X-Signature-Timestamp": now, "X-Signature-Ed25519": DISCORD.sign(now.encode() + body).hex()}


def by_xero(body: bytes, secret: str = "hush") -> dict[str, str]:
    return {"x-xero-signature": base64.b64encode(digest(body, secret)).decode()}


def by_intercom(body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature": "sha1=" + digest(body, algorithm="sha1").hex()}


def by_notion(body: bytes) -> dict[str, str]:
    return {"X-Notion-Signature": "sha256=" + digest(body).hex()}


def by_sns(key: int = 0, **fields: str) -> bytes:
    """A message as SNS sends it: its fields signed, in a body of text."""
    message = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders",
        "Message": "You have chosen to subscribe to the topic.\nTo confirm, visit the SubscribeURL.",
        "SubscribeURL": SNS + CONFIRM + "2336412f37",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    } | fields
    content = "".join(f"{name}\n{message[name]}\n" for name in sorted(message)).encode()
    signature = base64.b64encode(rsa_key(key).sign(content, padding.PKCS1v15(), hashes.SHA256())).decode()
    signed = {"SignatureVersion": "2", "Signature": signature, "SigningCertURL": SNS + CERTIFICATE}
    return json.dumps(message | signed).encode()


SLACK = b'{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd","type":"url_verification"}'
ZOOM = b'{"event":"endpoint.url_validation","event_ts":1654503849680,"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}'
XERO = b'{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3r4Nd0mt3xt"}'
NOTION = b'{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}'
ASANA = {"X-Hook-Secret": "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"}
EVENT_GRID = json.dumps(
    [
        {
            "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
            "topic": "/subscriptions/x",
            "subject": "",
            "data": {
                "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6",
                "validationUrl": "https://rp-eastus2.eventgrid.azure.net:553/validate?id=512d38b6",
            },
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "eventTime": "2018-01-25T22:12:19.4556811Z",
            "metadataVersion": "1",
            "dataVersion": "1",
        }
    ]
).encode()
VALIDATION = {"aeg-event-type": "SubscriptionValidation", "Content-Type": "application/json"}


async def test_slack_gets_its_challenge(bridge: Bridge) -> None:
    answer = await bridge.ask("POST", "slack", SLACK, by_slack(SLACK))
    assert (answer.status_code, answer.text) == (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd")
    assert ECHOED.items() <= dict(answer.headers).items()
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


async def test_zoom_gets_its_token_encrypted_by_the_secret_that_it_signed_with(bridge: Bridge) -> None:
    for secret in ("hush", "another one"):
        answer = await bridge.ask("POST", "zoom", ZOOM, by_zoom(ZOOM, secret))
        assert answer.status_code == 200
        assert answer.json() == {
            "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
            "encryptedToken": digest(b"qgg8vlvZRS6UYooatFL8Aw", secret).hex(),
        }
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED * 2)


async def test_meta_gets_its_challenge_for_the_right_verify_token(bridge: Bridge) -> None:
    ask = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    answer = await bridge.ask("GET", f"meta{ask}letmein")
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert ECHOED.items() <= dict(answer.headers).items()
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


@pytest.mark.parametrize(
    ("source", "query", "status", "reason"),
    [
        ("meta", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess", 403, "verify_token_mismatch"),
        ("meta", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=%C3%A4", 403, "verify_token_mismatch"),
        ("meta", "hub.mode=subscribe&hub.challenge=1", 403, "verify_token_mismatch"),
        ("meta", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=letmein&hub.verify_token=x", 403, None),
        ("meta", "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=letmein", 400, "malformed"),
        ("meta", "hub.mode=subscribe&hub.verify_token=letmein", 400, "malformed"),
        ("meta-without", "hub.mode=subscribe&hub.challenge=1&hub.verify_token=", 403, "verify_token_unset"),
    ],
)
async def test_meta_gets_nothing_for_anything_else(
    bridge: Bridge, source: str, query: str, status: int, reason: str | None
) -> None:
    answer = await bridge.ask("GET", f"{source}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert bridge.told() == refused(reason or "verify_token_mismatch")
    assert "letmein" not in repr(bridge.log.lines)


async def test_x_gets_its_token_signed(bridge: Bridge) -> None:
    answer = await bridge.ask("GET", "x?crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553&nonce=ABC")
    signature = base64.b64encode(digest(b"9b4507b3-9040-4669-9ca3-6b94edb50553")).decode()
    assert (answer.status_code, answer.json()) == (200, {"response_token": f"sha256={signature}"})
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


@pytest.mark.parametrize("token", ["{}", '{"tweet_create_events":[]}', "[1]", '"x"', "a b", "", "x" * 256])
async def test_x_signs_nothing_that_could_be_a_webhook(bridge: Bridge, token: str) -> None:
    answer = await bridge.client.get("/webhooks/x", params={"crc_token": token})
    assert answer.status_code == 400
    assert "response_token" not in answer.text
    assert bridge.told() == refused("malformed")


async def test_what_x_was_answered_is_no_signature_of_a_webhook(bridge: Bridge) -> None:
    for body in (b"12345", b"null", b"abc"):
        signature = (await bridge.ask("GET", f"x?crc_token={body.decode()}")).json()["response_token"]
        answer = await bridge.ask("POST", "x", body, {"x-twitter-webhooks-signature": signature})
        assert answer.status_code == 403
    assert bridge.stored() == []
    assert bridge.told() == ANSWERED * 3 + refused("challenge_as_body") * 3


async def test_microsoft_graph_gets_its_token_decoded(bridge: Bridge) -> None:
    token = "Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3a+39bb%2d1"
    answer = await bridge.ask("POST", f"graph?validationToken={token}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 200
    assert answer.text == "Validation: Testing client application reachability for subscription Request-Id: 39bb-1"
    assert ECHOED.items() <= dict(answer.headers).items()
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


async def test_dropbox_gets_its_challenge(bridge: Bridge) -> None:
    answer = await bridge.ask("GET", "dropbox?challenge=oGYcRMfrBcCtwlCPDjEpfQ")
    assert (answer.status_code, answer.text) == (200, "oGYcRMfrBcCtwlCPDjEpfQ")
    assert ECHOED.items() <= dict(answer.headers).items()
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


@pytest.mark.parametrize("path", ["dropbox?challenge=", "graph?validationToken="])
@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a\r\nSet-Cookie: a=b", "\x00", "ä", "\xff", "x" * 1001, ""]
)
async def test_nothing_is_echoed_that_could_do_harm(bridge: Bridge, path: str, text: str) -> None:
    source, _, name = path.partition("?")
    answer = await bridge.client.request(
        "GET" if source == "dropbox" else "POST", f"/webhooks/{source}", params={name.rstrip("="): text}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "set-cookie" not in answer.headers
    assert not text or text not in answer.text
    assert bridge.told() == refused("malformed")


async def test_okta_gets_its_challenge(bridge: Bridge) -> None:
    answer = await bridge.ask("GET", "okta", headers={"X-Okta-Verification-Challenge": "mZs1ZSFXAOcKmMxTMkpc0A"})
    assert (answer.status_code, answer.json()) == (200, {"verification": "mZs1ZSFXAOcKmMxTMkpc0A"})
    assert answer.headers["content-type"] == "application/json"
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


async def test_event_grids_events_are_no_handshake(bridge: Bridge) -> None:
    events = b'[{"id":"1","eventType":"Microsoft.Storage.BlobCreated","data":{"validationCode":"x"}}]'
    answer = await bridge.ask("POST", "eventgrid?code=hush", events, {"aeg-event-type": "Notification"})
    assert answer.status_code == 200
    assert bridge.stored() == ["eventgrid"]


async def test_event_grid_gets_its_code(bridge: Bridge) -> None:
    answer = await bridge.ask("POST", "eventgrid?code=hush", EVENT_GRID, VALIDATION)
    assert answer.status_code == 200
    assert answer.json() == {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"}
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


@pytest.mark.parametrize(
    ("source", "rate"), [("cloudevents", "*"), ("cloudevents-rated", "300"), ("eventgrid?code=hush", "*")]
)
async def test_cloudevents_gets_consent_and_no_call_back(bridge: Bridge, source: str, rate: str) -> None:
    headers = {
        "WebHook-Request-Origin": "eventgrid.azure.net",
        "WebHook-Request-Callback": "http://127.0.0.1:1/confirm?id=1",
        "WebHook-Request-Rate": "120",
    }
    answer = await bridge.ask("OPTIONS", source, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == rate
    assert answer.headers["allow"] == "POST"
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


@pytest.mark.parametrize("origin", ["", "a b", "https://example.com", "example.com, evil.example", "x" * 254])
async def test_cloudevents_gets_no_consent_for_an_origin_that_is_none(bridge: Bridge, origin: str) -> None:
    answer = await bridge.ask("OPTIONS", "cloudevents", headers={"WebHook-Request-Origin": origin})
    assert answer.status_code == 400
    assert "webhook-allowed-origin" not in answer.headers
    assert bridge.told() == refused("malformed")


async def test_trello_and_intercom_ask_by_head(bridge: Bridge) -> None:
    for source in ("trello", "intercom"):
        answer = await bridge.ask("HEAD", source)
        assert (answer.status_code, answer.content) == (200, b"")
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED * 2)


async def test_intercom_pings(bridge: Bridge) -> None:
    ping = b'{"type":"notification_event","topic":"ping","data":{"item":{"type":"ping"}}}'
    assert (await bridge.ask("POST", "intercom", ping, by_intercom(ping))).status_code == 200
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)


async def test_discord_pings(bridge: Bridge) -> None:
    ping = b'{"version":1,"application_id":"1234560123453231555","type":0}'
    answer = await bridge.ask("POST", "discord", ping, by_discord(ping))
    assert (answer.status_code, answer.content) == (204, b"")
    ping = b'{"application_id":"1234560123453231555","entitlements":[],"id":"1","type":1,"user":{"id":"2"},"version":1}'
    answer = await bridge.ask("POST", "discord", ping, by_discord(ping))
    assert (answer.status_code, answer.json()) == (200, {"type": 1})
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED * 2)


async def test_xero_gets_200_for_right_and_401_for_wrong_signatures_and_never_a_body(bridge: Bridge) -> None:
    for secret, status in (("hush", 200), ("wrong", 401), ("another one", 200), ("", 401)):
        answer = await bridge.ask("POST", "xero", XERO, by_xero(XERO, secret))
        assert (answer.status_code, answer.content) == (status, b"")
        assert "content-type" not in answer.headers
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED * 2 + forged("signature_mismatch") * 2)
    webhook = b'{"events":[{"resourceId":"1"}],"entropy":"x"}'
    answer = await bridge.ask("POST", "xero", webhook, by_xero(webhook, "wrong"))
    assert (answer.status_code, answer.content) == (401, b"")
    answer = await bridge.ask("POST", "xero", webhook, by_xero(webhook))
    assert (answer.status_code, answer.content) == (200, b"")
    assert bridge.stored() == ["xero"]


BY_SNS = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": "SubscriptionConfirmation"}


async def test_sns_is_confirmed_by_a_call_of_its_url(bridge: Bridge) -> None:
    assert (await bridge.ask("POST", "sns", by_sns(), BY_SNS)).status_code == 200
    assert bridge.amazon.asked[CONFIRM + "2336412f37"] == 1
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)
    assert "2336412f37" not in repr(bridge.log.lines)


@pytest.mark.parametrize("token", ["late", "busy", "moved", "huge", "unknown"])
async def test_sns_asks_again_where_its_url_is_not_answered(bridge: Bridge, token: str) -> None:
    answer = await bridge.ask("POST", "sns", by_sns(Token=token, SubscribeURL=SNS + CONFIRM + token), BY_SNS)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (bridge.stored(), bridge.told()) == ([], refused("confirmation_failed"))
    assert [path for path in bridge.amazon.asked if path != CERTIFICATE] == [CONFIRM + token]


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com.evil.example/?Action=ConfirmSubscription",
        "https://127.0.0.1:1/",
    ],
)
async def test_sns_leads_nowhere_else(bridge: Bridge, url: str) -> None:
    assert (await bridge.ask("POST", "sns", by_sns(SubscribeURL=url), BY_SNS)).status_code == 403
    assert (bridge.stored(), bridge.told()) == ([], refused("url_not_allowed"))
    assert {*bridge.amazon.asked} <= {CERTIFICATE}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (by_sns(TopicArn="arn:aws:sns:eu-west-1:210987654321:orders"), "topic_refused"),
        (by_sns(key=1), "signature_mismatch"),
        (by_sns().replace(b"2336412f37", b"2336412f38"), "signature_mismatch"),
    ],
    ids=["topic", "key", "altered"],
)
async def test_sns_of_another_topic_or_without_its_signature_is_not_confirmed(
    bridge: Bridge, body: bytes, reason: str
) -> None:
    assert (await bridge.ask("POST", "sns", body, BY_SNS)).status_code == 401
    assert (bridge.stored(), bridge.told()) == ([], forged(reason))
    assert {*bridge.amazon.asked} <= {CERTIFICATE}


async def test_asanas_secret_is_kept_while_registering_and_read_once(bridge: Bridge) -> None:
    answer = await bridge.ask("POST", "new-asana", b"{}", ASANA)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["x-hook-secret"] == ASANA["X-Hook-Secret"]
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)
    assert ASANA["X-Hook-Secret"] not in repr(bridge.log.lines)
    (kept,) = await bridge.store.take_secrets("new-asana")
    assert (kept.secret, kept.client) == (ASANA["X-Hook-Secret"], "127.0.0.1")
    assert await bridge.store.take_secrets("new-asana") == ()


async def test_notions_token_is_kept_while_registering_and_read_once(bridge: Bridge) -> None:
    answer = await bridge.ask("POST", "new-notion", NOTION, {"Content-Type": "application/json"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert (bridge.stored(), bridge.told()) == ([], ANSWERED)
    (kept,) = await bridge.store.take_secrets("new-notion")
    assert kept.secret == json.loads(NOTION)["verification_token"]
    assert kept.secret not in repr(bridge.log.lines)


async def test_nobody_hands_over_a_secret_where_none_is_expected(bridge: Bridge) -> None:
    for source, body, headers in (("asana", b"{}", ASANA), ("notion", NOTION, {})):
        answer = await bridge.ask("POST", source, body, headers)
        assert answer.status_code == 403
        assert "x-hook-secret" not in answer.headers
        assert await bridge.store.take_secrets(source) == ()
    assert (bridge.stored(), bridge.told()) == ([], refused("not_registering") * 2)


async def test_what_was_handed_over_verifies_nothing_by_itself(bridge: Bridge) -> None:
    await bridge.ask("POST", "new-asana", b"{}", {"X-Hook-Secret": "mine"})
    body = b'{"events":[]}'
    signed = {"X-Hook-Signature": digest(body, "mine").hex()}
    assert (await bridge.ask("POST", "new-asana", body, signed)).status_code == 401
    assert (
        await bridge.ask("POST", "new-asana", body, {"X-Hook-Signature": digest(body, "").hex()})
    ).status_code == 401
    assert bridge.stored() == []
    assert bridge.told() == ANSWERED + forged("secret_unusable") * 2


async def test_a_source_that_registers_takes_webhooks_by_the_secrets_it_has(bridge: Bridge) -> None:
    body = b'{"type":"page.created","note":"\\"verification_token\\""}'
    assert (await bridge.ask("POST", "notion", body, by_notion(body))).status_code == 200
    assert bridge.stored() == ["notion"]


@pytest.mark.parametrize("secret", ["", " ", "a b", "a, b", "x" * 256, "\x7f"])
async def test_a_secret_that_is_none_is_not_kept(bridge: Bridge, secret: str) -> None:
    for source, body, headers in (
        ("new-asana", b"{}", {"X-Hook-Secret": secret.strip().replace("\x7f", "ä")}),
        ("new-notion", json.dumps({"verification_token": secret}).encode(), {}),
    ):
        answer = await bridge.client.post(
            f"/webhooks/{source}",
            content=body,
            headers={name.encode(): text.encode() for name, text in headers.items()},
        )
        assert answer.status_code == 400
        assert await bridge.store.take_secrets(source) == ()
    assert bridge.told() == refused("malformed") * 2


async def test_only_so_many_secrets_wait_to_be_read(bridge: Bridge) -> None:
    for number in range(MOST):
        assert (await bridge.ask("POST", "new-asana", headers={"X-Hook-Secret": f"s{number}"})).status_code == 200
    answer = await bridge.ask("POST", "new-asana", headers={"X-Hook-Secret": "one more"})
    assert answer.status_code == 400
    answer = await bridge.ask("POST", "new-asana", headers={"X-Hook-Secret": "one-more"})
    assert answer.status_code == 403
    assert len(await bridge.store.take_secrets("new-asana")) == MOST


@pytest.mark.parametrize(
    ("source", "body", "headers", "reason"),
    [
        ("slack", SLACK, {}, "signature_missing"),
        ("slack", SLACK, by_slack(SLACK, "wrong"), "signature_mismatch"),
        ("zoom", ZOOM, {}, "signature_missing"),
        ("zoom", ZOOM, by_zoom(ZOOM, "wrong"), "signature_mismatch"),
        ("discord", b'{"type":0}', {}, "signature_missing"),
        ("discord", b'{"type":1}', by_discord(b'{"type":0}'), "signature_mismatch"),
        ("intercom", b'{"topic":"ping"}', {}, "signature_missing"),
        ("xero", XERO, {}, "signature_missing"),
        ("eventgrid", EVENT_GRID, VALIDATION, "credential_missing"),
        ("eventgrid?code=guess", EVENT_GRID, VALIDATION, "credential_mismatch"),
    ],
)
async def test_a_handshake_that_is_signed_is_verified_first(
    bridge: Bridge, source: str, body: bytes, headers: dict[str, str], reason: str
) -> None:
    answer = await bridge.ask("POST", source, body, headers)
    assert answer.status_code == 401
    assert b"challenge" not in answer.content
    assert b"Token" not in answer.content
    assert (bridge.stored(), bridge.told()) == ([], forged(reason))


@pytest.mark.parametrize(
    ("source", "body", "sign"),
    [
        ("slack", b'{"type":"event_callback","event":{"text":"\\"url_verification\\""}}', by_slack),
        ("slack", b'["url_verification"]', by_slack),
        ("slack", b'"url_verification', by_slack),
        (
            "zoom",
            b'{"event":"chat","payload":{"text":"\\"endpoint.url_validation\\" "}, "x":"endpoint.url_validation"}',
            by_zoom,
        ),
        ("discord", b'{"version":1,"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}', by_discord),
        ("discord", b'{"type":2,"data":{"name":"x"}}', by_discord),
        ("discord", b'{"type":false}', by_discord),
        ("intercom", b'{"topic":"conversation.user.created","x":"ping"}', by_intercom),
        ("xero", b'{"events":[{"resourceId":"2"}],"x":{"events": []}}', by_xero),
    ],
)
async def test_a_webhook_that_only_looks_like_a_handshake_is_a_webhook(
    bridge: Bridge, source: str, body: bytes, sign: Any
) -> None:
    assert (await bridge.ask("POST", source, body, sign(body))).status_code in (200, 202, 204)
    assert bridge.stored() == [source]
    assert [name for name, _ in bridge.told()] == [logs.WEBHOOK_ACCEPTED]


@pytest.mark.parametrize(
    ("method", "source"),
    [
        ("GET", "dropbox"),
        ("GET", "meta"),
        ("GET", "x?token=1"),
        ("GET", "okta"),
        ("OPTIONS", "cloudevents"),
        ("HEAD", "dropbox"),
        ("GET", "slack?challenge=1"),
        ("GET", "github?challenge=1"),
        ("HEAD", "github"),
        ("OPTIONS", "github"),
        ("PUT", "dropbox?challenge=1"),
    ],
)
async def test_a_method_without_its_question_is_405(bridge: Bridge, method: str, source: str) -> None:
    answer = await bridge.ask(method, source)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (bridge.stored(), bridge.told()) == ([], forged("method"))


async def test_another_senders_question_is_no_question(bridge: Bridge) -> None:
    answer = await bridge.ask("POST", "github?validationToken=x", b"{}", ASANA | VALIDATION)
    assert answer.status_code == 401
    assert bridge.told() == forged("signature_missing")


async def test_who_asks_wrongly_too_often_waits(bridge: Bridge) -> None:
    guess = "meta-guessed?hub.mode=subscribe&hub.challenge=1&hub.verify_token="
    answers = [(await bridge.ask("GET", f"{guess}{number}")).status_code for number in range(4)]
    assert answers == [403, 403, 403, 429]
    assert (await bridge.ask("GET", f"{guess}letmein")).status_code == 429
    assert (
        await bridge.ask("GET", "meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=letmein")
    ).status_code == 200


async def test_a_question_with_a_body_over_the_limit_is_refused(bridge: Bridge) -> None:
    answer = await bridge.ask("GET", "dropbox?challenge=1", b"x" * 100_001)
    assert answer.status_code == 413


async def test_a_question_with_many_parameters_is_not_read(bridge: Bridge) -> None:
    answer = await bridge.ask("GET", "dropbox?" + "a=b&" * 1000 + "challenge=1")
    assert answer.status_code == 400
    assert bridge.told() == refused("malformed")
