"""The schema of `sources/*.yaml`: every key with its description and default. Shape only."""

import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from bridge.model import Content, OnUnknown
from bridge.settings.headers import RuleHeaders
from bridge.settings.keywords import CALLED_URL, JsonSchema
from bridge.settings.parsing import (
    Duration,
    Expression,
    Network,
    Networks,
    Rate,
    Size,
    Strict,
    duration,
    rate,
    size,
    wrong,
)
from bridge.settings.schema import Text
from bridge.settings.target_schema import SchemeSettings


def _target_names(value: Any) -> Any:
    if not isinstance(value, str | list):
        raise wrong("must be the name of a target, or a list of names")
    if not value:
        raise wrong("is empty", "name a target, or remove it")
    for number, name in enumerate(value if isinstance(value, list) else []):
        if not isinstance(name, str) or not name:
            raise wrong(f"entry {number + 1} is no name of a target", "name each by text")
    return value


Targets = Annotated[
    Text | Annotated[tuple[Text, ...], JsonSchema(minItems=1)],
    BeforeValidator(_target_names),
]
Method = Literal["POST", "PUT", "PATCH", "GET", "DELETE"]


_RULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def _rule_name(name: str) -> str:
    if not _RULE_NAME.fullmatch(name):
        hint = "use letters, digits, _, . and -, with a letter or a digit first and at most 100 characters"
        raise wrong("is not a valid name of a rule", hint)
    return name


RuleName = Annotated[str, AfterValidator(_rule_name), JsonSchema(pattern=f"^{_RULE_NAME.pattern}$")]


def _names_or_text(value: Any) -> Any:
    if not isinstance(value, dict | str):
        raise wrong("must be names and values, or one text")
    return value


class EventSettings(Strict):
    """The WorkflowEvent that a rule makes."""

    type: Annotated[Text, JsonSchema(format="event-type")] = Field(description="the WorkflowEventType")
    attributes: dict[str, Any] | str = Field({}, description="names and values, or one text")

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_or_text(cls, value: Any) -> Any:
        return _names_or_text(value)


class RuleSettings(Strict):
    """A condition, and the event that it makes."""

    name: RuleName = Field(description="a name of its own, which events keep")
    when: Expression | None = Field(None, description="an expression: make an event only where it is true")
    for_each: Expression | None = Field(None, description="an expression for a list: make an event of every `item`")
    key: Expression | None = Field(None, description="an expression that names an item across changes of the rules")
    target: Targets | None = Field(
        None,
        description="a target's name, a list of names, or a template that gives either; default_target if left out",
    )
    event: EventSettings = Field(description="the event to make")
    headers: RuleHeaders = Field({}, description="further headers of the request that sends it, by name; templates")
    on_unknown: OnUnknown | None = Field(None, description="what to do where nobody knows whether it arrived")
    order_by: Expression | None = Field(
        None, description="an expression: events of one value are sent one after another"
    )
    max_age: Duration | None = Field(
        None, gt=0, description="how old the event may get, the target's retry.max_age if left out"
    )
    send: bool = Field(True, description="false for a shadow rule: its events are recorded and never sent")
    stop: bool = Field(False, description="whether no later rule is tried where this one matched")
    was: RuleName | None = Field(
        None, description="the rule's earlier name, so that its events stay the same when webhooks are mapped again"
    )

    @field_validator("key")
    @classmethod
    def _only_of_items(cls, key: str, info: ValidationInfo) -> str:
        if "for_each" in info.data and info.data["for_each"] is None:
            raise wrong("names an item, and there is none without for_each", "add for_each, or remove it")
        return key


class DefaultsSettings(Strict):
    """What a source's rules say where they say nothing else."""

    target: Targets | None = Field(None, description="as a rule's target")
    on_unknown: OnUnknown = Field(OnUnknown.RETRY, description="as a rule's on_unknown")
    max_age: Duration | None = Field(None, gt=0, description="as a rule's max_age")


class FailureSettings(Strict):
    """How many requests of one address may fail verification before its others are refused unseen."""

    at_once: int = Field(300, ge=1, le=1_000_000, description="how many after a rest")
    rate: Rate = Field(rate("10/s"), description="how many in a span of time from then on")


def _public_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # it is checked when it is read
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable():
        raise wrong("is not an http:// or https:// URL", "write it like https://hooks.example.com/webhooks/shop")
    if " " in url or "#" in url or parts.username is not None:
        raise wrong("is no URL that a sender could call", "write it as it is registered at the sender")
    return url


_Status = Annotated[int, Field(ge=200, le=299)]


class RespondSettings(Strict):
    """The statuses that the sender is answered with; all say that the webhook is stored."""

    accepted: _Status = Field(202, description="an event was made")
    ignored: _Status | None = Field(None, description="no rule matched; as accepted if left out")
    failed: _Status | None = Field(None, description="a rule broke; as accepted if left out")
    unreadable: _Status | None = Field(
        None, description="the body is not what the source declares; as accepted if left out"
    )
    duplicate: _Status | None = Field(
        None, description="it repeats an earlier one; as that one was answered if left out"
    )


class ExpectedEvent(Strict):
    """One event that a test expects; only what is named is compared."""

    rule: Text = Field(description="the rule that makes it")
    type: Text | None = Field(None, description="its WorkflowEventType")
    target: Text | None = Field(None, description="its target")
    attributes: dict[str, Any] | str | None = Field(None, description="attributes by name, or the whole text")

    @field_validator("attributes", mode="before")
    @classmethod
    def _names_or_text(cls, value: Any) -> Any:
        return _names_or_text(value)


class TestSettings(Strict):
    """A test of a source's rules: a payload, and exactly the events that it must make."""

    __test__: ClassVar[bool] = False  # for pytest, which would take it for one of its own

    name: Text = Field(description="what it shows")
    payload: Text = Field(description="the file of the body, relative to this one")
    headers: dict[Text, str] = Field({}, description="the request's headers")
    query: dict[Text, str] = Field({}, description="the request's query")
    method: Method = Field("POST", description="the request's method")
    expect: tuple[ExpectedEvent, ...] = Field(description="the events, in order; [] for none")


class SourceSettings(Strict):
    """`sources/NAME.yaml`."""

    verify: SchemeSettings = Field(description="how a webhook is proven genuine: a scheme and what it needs")
    content: Content | None = Field(None, description="what its bodies are: json, form, xml, text or any")
    public_url: Annotated[Text, AfterValidator(_public_url), JsonSchema(pattern=CALLED_URL)] | None = Field(
        None, description="the URL that the sender calls, for those that sign it"
    )
    max_body: Size | None = Field(
        None, gt=0, description="the largest body, also after decompression; listen.max_body if left out"
    )
    max_unverified_body: Size | None = Field(
        None,
        gt=0,
        description="how much is read of a body that its own proof stands in; the sender's own limit if left out",
    )
    max_headers: Size | None = Field(
        None, gt=0, description="the most that its request line and headers may take, of the 64 KiB that all may"
    )
    max_events_size: Size = Field(
        size("16MiB"),
        gt=0,
        le=size("32MiB"),
        description="the most that the events of one webhook may take in the store: 1 KiB each, attributes and headers",
    )
    max_depth: int = Field(100, ge=1, le=100, description="how deep its bodies may be nested")
    rate: Rate | None = Field(None, description="how many verified webhooks are accepted in a span of time")
    failures: FailureSettings = Field(
        FailureSettings(), description="how many requests of one address may fail verification"
    )
    addresses: Networks | None = Field(None, description="the networks that the sender calls from; any if left out")
    trusted_proxies: tuple[Network, ...] | None = Field(
        None, description="the networks of proxies whose word on the client's address is believed"
    )
    keep_headers: tuple[Text, ...] = Field(
        (), description="headers that are stored and seen by rules though their names look like secrets'"
    )
    keep_query: tuple[Text, ...] = Field(
        (), description="query parameters that are stored and seen by rules though their names look like secrets'"
    )
    dedupe: Expression | None = Field(None, description="an expression for the id that duplicates share")
    dedupe_window: Duration = Field(duration("14d"), gt=0, description="how long duplicates are recognised")
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = Field(
        ("POST",), description="the methods that the sender calls with"
    )
    respond: RespondSettings = Field(RespondSettings(), description="the statuses that the sender is answered with")
    registering: bool = Field(
        False, description="true while the sender hands over its secret, which `bridge secrets` then shows"
    )
    enabled: bool = Field(True, description="false to refuse its webhooks as if there were no such source")
    defaults: DefaultsSettings = Field(DefaultsSettings(), description="what its rules say where they say nothing else")
    rules: tuple[RuleSettings, ...] = Field(description="what becomes of a webhook; [] only records it")
    tests: tuple[TestSettings, ...] = Field((), description="what the rules must make of payloads: `bridge test`")
