"""The pages keep their word: every key is documented, every example loads, the README's path works as it stands."""

import base64
import hmac
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from authorities import rsa_key
from msgspec.structs import replace
from pydantic import BaseModel
from running import HANG, eventually, free_port

from bridge.errors import NotVerified, Severity
from bridge.model import Request
from bridge.operations import sender_docs
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.verification import credential_filter
from bridge.receiving.verification.special import SPECIAL
from bridge.receiving.verification.verify_settings import HmacSettings
from bridge.sandbox.logins import pem
from bridge.service import composition
from bridge.settings import schema, source_schema, target_schema
from bridge.settings.document import Section
from bridge.settings.loading import load
from bridge.settings.tls_and_proxy import ProxySettings, TlsSettings
from bridge.settings.yaml_reader import read_yaml
from bridge.superoffice.login.authorization import SCHEMES, compile_authorization

ROOT = Path(__file__).parent.parent
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
SENDERS_PAGE = (ROOT / "docs" / "senders.md").read_text()
README = (ROOT / "README.md").read_text()

_NAMES = """
BRIDGE_ADMIN_TOKEN GITHUB_SECRET SHOP_SECRET STRIPE_SECRET SLACK_SIGNING_SECRET CRM_PASSWORD SUPPORT_TICKET
SUPPORT_APP_TOKEN SO_USER SO_PASSWORD SO_TICKET SO_APP_TOKEN SO_TOKEN SO_COOKIE SO_XSRF SECRET
"""
ENVIRONMENT = dict.fromkeys(_NAMES.split(), "dGVzdC1zZWNyZXQtb2YtdGhlLWRvY3M=")


def blocks(text: str, kind: str) -> list[tuple[str, str]]:
    """The fenced blocks of a page whose info string starts with `kind`: the rest of it, and the content."""
    return [(info.strip(), content) for info, content in re.findall(rf"```{kind}([^\n]*)\n(.*?)```", text, re.DOTALL)]


def documented(page: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (schema.BridgeSettings, ""),
        (schema.ListenSettings, "listen."),
        (schema.AdminSettings, "admin."),
        (schema.StoreSettings, "store."),
        (schema.LogSettings, "log."),
        (schema.DrainSettings, "drain."),
        (target_schema.TargetSettings, ""),
        (target_schema.RetrySettings, "retry."),
        (target_schema.OnlineSettings, "online."),
        (target_schema.BreakerSettings, "breaker."),
        (TlsSettings, "tls."),
        (ProxySettings, "proxy."),
        *((model, "authorization.") for model in SCHEMES.values()),
        (source_schema.SourceSettings, ""),
        (source_schema.RuleSettings, ""),
        (source_schema.EventSettings, "event."),
        (source_schema.RespondSettings, "respond."),
        (source_schema.FailureSettings, "failures."),
        (source_schema.TestSettings, "tests."),
        (HmacSettings, ""),
        *((special.model, "") for special in SPECIAL.values()),
    ],
)
def test_every_key_has_a_row_in_the_configuration_page(model: type[BaseModel], prefix: str) -> None:
    rows = documented(CONFIGURATION)
    nested = {"event"}  # described by its own keys
    wanted = {prefix + name for name in model.model_fields if name not in nested | {"scheme", "secrets"}}
    assert wanted <= rows | {"verify", "targets", "rules"}, sorted(wanted - rows)


def test_the_page_about_senders_is_what_the_table_in_the_code_says() -> None:
    before, _, rest = SENDERS_PAGE.partition("a test compares. -->\n\n")
    written, _, after = rest.partition("\n<!-- until here -->")
    assert before
    assert after
    assert written == sender_docs.markdown(), "run: bridge schemes --markdown"
    rows = re.findall(r"^\| `([a-z-]+)` \|", written, re.MULTILINE)
    assert rows == list(SENDERS)


def test_every_authorization_scheme_is_shown_and_compiles() -> None:
    (example,) = [content for info, content in blocks(CONFIGURATION, "yaml") if info == "file=authorization.yaml"]
    key = pem(rsa_key())
    document, problems = read_yaml(
        example, "docs", lambda text: (key if "key.pem" in text else re.sub(r"\$\{\w+\}", "value", text), [])
    )
    assert document is not None
    assert problems == []
    sections = [Section(document, (number,)) for number in range(len(document.data))]
    assert {section.value["scheme"] for section in sections} == set(SCHEMES)
    for section in sections:
        authorization, problems = compile_authorization(section)
        assert problems == []
        assert authorization is not None


def test_the_pages_example_files_are_a_configuration_without_a_problem(tmp_path: Path) -> None:
    for info, content in blocks(CONFIGURATION, "yaml"):
        if info.startswith("file=") and info != "file=authorization.yaml":
            path = tmp_path / "config" / info.removeprefix("file=")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    (tmp_path / "config" / "payloads").mkdir()
    (tmp_path / "config" / "payloads" / "form.json").write_text("{}")
    settings, problems = load(tmp_path / "config", ENVIRONMENT)
    assert [problem.path for problem in problems if "verify" not in problem.path] == []
    assert list(settings.sources) == ["billing", "forms", "shop"]


AT = 1_795_500_000_000  # 2026-11-24T06:00:00Z
BODY = b'{"id": "d-1"}'


def _hmac(content: bytes, algorithm: str = "sha256", key: bytes = ENVIRONMENT["SECRET"].encode()) -> bytes:
    return hmac.digest(key, content, algorithm)


OWN = {  # what the page says that each sender signs, written apart from what verifies it
    "helpdesk": {
        "X-Zendesk-Webhook-Signature": base64.b64encode(_hmac(b"2026-11-24T06:00:00Z" + BODY)).decode(),
        "X-Zendesk-Webhook-Signature-Timestamp": "2026-11-24T06:00:00Z",
    },
    "parcels": {"X-Parcel-Signature": f"t=1795500000,v1={_hmac(b'1795500000.' + BODY).hex()}"},
    "bookings": {
        "X-Booking-Delivery": "d-1",
        "X-Booking-Hmac": base64.b64encode(
            _hmac(
                b"POSThttps://hooks.example.com/webhooks/bookings" + BODY,
                "sha512",
                base64.b64decode(ENVIRONMENT["SECRET"]),
            )
        ).decode(),
    },
    "clock": {
        "X-Clock-Time": "2026-11-24T06:00:00Z",
        "X-Clock-Id": "d-1",
        "X-Clock-Signature": "sha256=" + _hmac(b"2026-11-24T06:00:00Z:d-1:" + BODY).hex(),
    },
}


def test_the_examples_of_the_page_about_senders_verify_what_their_senders_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "bridge.yaml").write_text(
        "targets:\n"
        "  crm: {url: http://127.0.0.1/api, attributes_escape: percent, authorization: {scheme: bearer, token: t}}\n"
    )
    for info, content in blocks(SENDERS_PAGE, "yaml"):
        (tmp_path / info.removeprefix("file=")).write_text(content)
        for variable in re.findall(r"\$\{(\w+)\}", content):
            monkeypatch.setenv(variable, ENVIRONMENT["SECRET"])
    built = composition.build(tmp_path)
    assert {problem.path for problem in built.problems} == {"verify.secrets[0]"}, "they share the test's secret"
    assert set(built.sources) == set(OWN)
    for name, given in OWN.items():
        asked = Request(
            source=name,
            method="POST",
            path=f"/webhooks/{name}",
            query=b"",
            headers=tuple((key.lower().encode(), value.encode()) for key, value in given.items()),
            body=BODY,
            received_at=AT,
            client="",
        )
        webhook = built.sources[name].verifier.verify(asked, AT)
        assert webhook.delivery_id == (None if name in ("helpdesk", "parcels") else "d-1")
        with pytest.raises(NotVerified):
            built.sources[name].verifier.verify(replace(asked, body=BODY + b" "), AT)


def test_the_example_configuration_has_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, f"{value}{name}")
    built = composition.build(ROOT / "config")
    (explained,) = built.problems
    assert explained.severity is Severity.WARNING
    assert explained.path == "rules[0].when"
    assert "x-shopify-topic" in explained.message
    enabled = {name for name, source in built.sources.items() if source.settings.enabled}
    assert enabled == {"chat", "github", "payments", "shop"}
    assert set(built.sources) >= enabled | {"builds", "helpdesk", "leads", "mail", "newsletter", "sms"}


def test_every_page_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page}: {link}"


def test_the_readme_names_only_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"[`\n]make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.timing
def test_the_readmes_five_minutes_work_as_they_stand(tmp_path: Path) -> None:
    ports = {"8080": free_port(), "8090": free_port()}
    text = README
    for documented_port, port in ports.items():
        text = text.replace(documented_port, str(port))
    path = text[text.index("## Five minutes") : text.index("## Where to read on")]
    export, sandbox, configuration, webhook, tests = [content for _, content in blocks(path, "sh")]
    assert sandbox.strip() == "bridge sandbox"
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    check, serve = configuration.strip().rsplit("\n", 1)
    assert serve == "bridge --config mine serve"

    assert run(tmp_path, export + check).startswith("ok: 1 sources, 1 rules, 1 targets")
    with (
        terminal(tmp_path, export + f"exec bridge sandbox --port {ports['8090']}"),
        terminal(tmp_path, export + "exec " + serve),
    ):
        for port in ports.values():
            wait_for(port)
        first, second, *rest = run(tmp_path, export + webhook.replace("\ncurl", "\necho; curl")).strip().splitlines()
        listed = "\n".join(rest)
        why = run(tmp_path, export + tests)
    assert '"duplicate":false' in first
    assert '"status":401' in second
    assert "mapped" in listed
    assert "delivered" in listed or "sending" in listed or "pending" in listed
    assert "FormSubmitted" in listed
    assert "1 passed, 0 failed" in why
    assert "did not match, false was body.form == 'contact'" in why
    assert 'body.form: "newsletter"' in why
    assert '202 {"id":"wh_' in why
    assert "ignored" in why


def wait_for(port: int) -> None:
    def listens() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    eventually(listens)


def run(directory: Path, script: str) -> str:
    done = subprocess.run(
        ["bash", "-euc", script], cwd=directory, capture_output=True, text=True, timeout=HANG, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def terminal(directory: Path, script: str) -> Iterator[None]:
    """A second terminal, in which a command runs until the block ends."""
    command = ["bash", "-euc", script]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
            process.send_signal(signal.SIGINT)
            assert process.wait(HANG) in (0, 130, -2)
        finally:
            process.kill()


def test_the_words_of_names_that_are_dropped_are_listed() -> None:
    table = CONFIGURATION.partition("| names | words |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`([a-z]+)`", line.split("|")[2]) for line in table.splitlines()[2:]]
    assert rows == [
        sorted(words) for words in (credential_filter.WORDS, credential_filter.ALONE, credential_filter.KEYS)
    ]
