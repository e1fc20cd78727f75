from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Location, Severity
from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.signature_spec import faults
from bridge.settings.secrets import Expanded

from .support import BASIC, GITHUB, PROVING, SLACK, STANDARD, STRIPE, TOKEN, found, tried

HMAC = {"scheme": "hmac", "header": "X-Signature", "secrets": ["s"]}
START = "sources/x.yaml: verify"


@pytest.mark.parametrize("settings", PROVING.values(), ids=PROVING)
def test_what_is_right_has_no_problems(settings: dict[str, Any]) -> None:
    verifier, problems = tried(settings)
    assert verifier.scheme == settings["scheme"]
    assert problems == []


@pytest.mark.parametrize("name", SENDERS)
def test_every_recipe_of_the_table_is_sound(name: str) -> None:
    assert [fault for recipe in SENDERS[name].recipes for fault in faults(recipe)] == []


def test_a_problem_says_where_it_is() -> None:
    places = {("verify",): (2, 9), ("verify", "secrets"): (3, 12), ("verify", "secrets", 2): (5, 7)}
    verifier, problems = tried({**STANDARD, "secrets": ["whsec_AQI=", "", "hush!"]}, places)
    assert verifier is None
    assert [(problem.location, problem.path) for problem in problems] == [
        (Location("sources/x.yaml", 5, 7), "verify.secrets[2]")
    ]
    assert "hush" not in str(problems[0])


def test_no_proof_at_all_is_a_warning() -> None:
    verifier, problems = tried({"scheme": "none"})
    assert verifier.scheme == "none"
    assert [problem.severity for problem in problems] == [Severity.WARNING]
    assert "anyone who knows the URL can send" in str(problems[0])


@pytest.mark.parametrize("settings", ["github", ["github"], 5, None])
def test_verify_must_be_a_mapping(settings: object) -> None:
    assert found(settings) == [f"{START}: must be a mapping, such as {{scheme: github, secrets: [...]}}"]


@pytest.mark.parametrize("settings", [{}, {"secrets": ["s"]}, {"scheme": 5}, {"scheme": None}])
def test_a_scheme_is_needed_and_the_known_ones_are_listed(settings: object) -> None:
    (problem,) = found(settings)
    assert problem.endswith("must be the name of a scheme, `bridge schemes` lists them")


@pytest.mark.parametrize(
    ("scheme", "problem"),
    [
        ("githib", "unknown scheme 'githib', did you mean github? `bridge schemes` lists them"),
        ("Strype", "unknown scheme 'Strype', did you mean stripe? `bridge schemes` lists them"),
        ("qqq", "unknown scheme 'qqq', `bridge schemes` lists them"),
        (Expanded("qqq"), "unknown scheme, `bridge schemes` lists them"),
    ],
)
def test_an_unknown_scheme_is_told_what_to_do(scheme: str, problem: str) -> None:
    (text,) = found({"scheme": scheme, "secrets": ["s"]})
    assert text.startswith(f"{START}.scheme: {problem}")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({**HMAC, "tolerance": "5m"}, "tolerance: needs a timestamp to check"),
        ({**HMAC, "header": "X Signature"}, "header: is no name of a header"),
        ({**HMAC, "header": ""}, "header: is no name of a header"),
        ({**HMAC, "separator": ",", "prefix": "v1=", "item": "v1"}, "prefix: stands beside item"),
        ({**HMAC, "item": "v1"}, "item: needs a separator"),
        ({**HMAC, "item": "v=1", "separator": ","}, "item: is no key of an item"),
        ({**HMAC, "separator": "a"}, "separator: could be part of a signature"),
        ({**HMAC, "separator": ",", "prefix": "v1,"}, "separator: is part of what a signature begins with"),
        ({**HMAC, "signed": []}, "signed: leaves out the body"),
        ({**HMAC, "signed": ["header:X-Id"]}, "signed: leaves out the body"),
        (
            {**HMAC, "signed": ["body", "bodi"]},
            "signed[1]: is no part of a request, use body, method, url, header:NAME",
        ),
        ({**HMAC, "signed": ["body", "body:x"]}, "signed[1]: is no part of a request"),
        ({**HMAC, "signed": ["body", "header:"]}, "signed[1]: is no part of a request"),
        ({**HMAC, "signed": ["body", "lit:"]}, "signed[1]: is no part of a request"),
        ({**HMAC, "signed": ["url", "body"]}, "scheme: signs the URL that the sender calls"),
        ({**HMAC, "also": ["X-Signature-2", "X Signature"]}, "also[1]: is no name of a header"),
        ({**HMAC, "signed": ["item:t", "body"]}, "separator: is needed to find the items of the header"),
        ({**HMAC, "timestamp": "header:X-Time"}, "timestamp: is not signed, so it proves nothing"),
        ({**HMAC, "timestamp": "body"}, "timestamp: cannot be read from there, use header:NAME, item:KEY or body:KEY"),
        ({**HMAC, "timestamp": "X-Time"}, "timestamp: cannot be read from there"),
        ({**HMAC, "delivery_id": "body:id"}, "delivery_id: cannot be read from there, use header:NAME"),
        ({**HMAC, "delivery_id": "X-Id"}, "delivery_id: cannot be read from there, use header:NAME"),
        ({**STRIPE, "delivery_id": "item:t"}, "delivery_id: cannot be read from there"),
        ({**HMAC, "key": "hex", "secrets": ["0x00"]}, "secrets[0]: is not hexadecimal"),
        ({**HMAC, "key": "base64"}, "secrets[0]: is not base64"),
        ({**STANDARD, "secrets": ["whsec_"]}, "secrets[0]: is neither whsec_ nor whpk_ and base64"),
        ({**TOKEN, "header": "X-Token:"}, "header: is no name of a header"),
        (
            {**TOKEN, "secrets": ["token\n"]},
            "secrets[0]: is nothing that a header can hold, so no request could ever show it, and holds",
        ),
        ({**TOKEN, "secrets": ["", " token"]}, "secrets[1]: is nothing that a header can hold"),
        ({**BASIC, "username": "a:b"}, "username: holds a colon"),
        ({**BASIC, "username": ""}, "username: is empty"),
        ({**BASIC, "secrets": ["\udc80"]}, "secrets[0]: is not text that UTF-8 can write"),
    ],
)
def test_what_cannot_work_is_a_problem_at_its_place(settings: dict[str, Any], problem: str) -> None:
    assert tried(settings)[0] is None
    texts = found(settings)
    assert [text for text in texts if text.startswith(f"{START}.{problem}")], texts
    assert not [text for text in texts if "0x00" in text or "token\n" in text]


@pytest.mark.parametrize("settings", [GITHUB, STANDARD, HMAC, TOKEN, BASIC], ids=lambda settings: settings["scheme"])
def test_secrets_are_needed_and_unknown_keys_refused(settings: dict[str, Any]) -> None:
    mistakes: list[dict[str, Any]] = [{"secrets": []}, {"secrets": ["", ""]}, {"secrets": "text"}, {"colour": "blue"}]
    for wrong in mistakes:
        assert tried({**settings, **wrong})[0] is None
        assert found({**settings, **wrong})
    assert tried({key: value for key, value in settings.items() if key != "secrets"})[0] is None


def test_all_problems_are_found_at_once() -> None:
    wrong: dict[str, Any] = {
        **HMAC,
        "header": "",
        "signed": ["bodi"],
        "timestamp": "x",
        "key": "hex",
        "secrets": ["x", "y"],
    }
    assert len(found(wrong)) == 5


def test_a_tolerance_is_allowed_on_each_scheme_with_a_warning_where_no_timestamp_is_signed() -> None:
    for settings in (STANDARD, STRIPE, SLACK):
        assert tried({**settings, "tolerance": "10m"})[1] == []
    verifier, problems = tried({**GITHUB, "tolerance": "5m"})
    assert verifier is not None
    assert [problem.severity for problem in problems] == [Severity.WARNING]
    assert "tolerance: github signs no timestamp, so there is nothing to tolerate" in str(problems[0])


words = st.sampled_from(
    ["", "X-A", "v1", ",", " ", "body", "header:x-a", "item:t", "lit:.", "url", "body:t", "hex", "ms", "5m", "é"]
)


@given(
    st.fixed_dictionaries(
        {"scheme": st.just("hmac"), "secrets": st.lists(words), "header": words},
        optional={
            **dict.fromkeys(["separator", "prefix", "item", "timestamp", "timestamp_unit", "tolerance"], words),
            **dict.fromkeys(["encoding", "algorithm", "key", "delivery_id"], words),
            "signed": st.lists(words),
        },
    )
)
def test_whatever_is_written_compiles_or_has_problems(settings: dict[str, Any]) -> None:
    verifier, problems = tried(settings)
    assert (verifier is None) == bool(problems)
