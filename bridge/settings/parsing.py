"""Validates a section of a file by a pydantic model: a value, or all problems with their places.

Models derive from `Strict` and take their values from what humans write, so all units are text: `Duration`, `Size`,
`Rate`. A model's own validator raises `wrong(message, hint)`; a message that starts with "must be" gets what was found
appended.
"""

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from bridge.errors import Problem
from bridge.settings.annotations import inside, parts, plain
from bridge.settings.document import Numeral, Section
from bridge.settings.error_messages import describe
from bridge.settings.keywords import NETWORK, PRINTABLE, JsonSchema
from bridge.settings.secrets import Expanded, Secret

M = TypeVar("M", bound=BaseModel)

MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,12})(|KiB|MiB|GiB)")
_RATE = re.compile(r"([0-9]{1,9})/(s|m|h)")
_LONGEST = 36_500 * MILLISECONDS["d"]  # a hundred years; times further away break calendars
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NAME_HINT = "use a-z, 0-9, - and _, with a letter or a digit first and at most 64 characters"
_BOOLS = {"true": True, "false": False}
_BOOL_HINTS = {
    **dict.fromkeys(_BOOLS, "write it without quotes"),
    **dict.fromkeys(("yes", "y", "on", "1"), "write true"),
    **dict.fromkeys(("no", "n", "off", "0"), "write false"),
}
_HEADER = re.compile(r"[\x20-\x7e]+")


def parse(section: Section, model: type[M]) -> tuple[M | None, list[Problem]]:
    """Read a section as `model` says: (the value, []) or (None, every problem of the section)."""
    if section.value is None:
        return None, [section.problem("is empty", "write its keys, or remove it")]
    try:
        return model.model_validate(section.value), []
    except ValidationError as error:
        return None, describe(section, model, error.errors(include_url=False))


def wrong(message: str, hint: str = "") -> PydanticCustomError:
    """What a validator raises: the problem's message and hint, which must not quote a value that may be a secret."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "hint": hint})


def secrets_in(section: Section, wanted: Any) -> Iterator[Section]:
    """The places of all secrets of a section that is written for a model, whatever else is right of it."""
    value = section.value
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from secrets_in(section[key], inside(wanted, key))
    elif value not in (None, "") and Secret in parts(wanted):
        yield section


class Strict(BaseModel):
    """The base of what humans write: unknown keys, empty keys and scalars of another type are problems."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _written(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None:
            required = cls.model_fields[info.field_name or ""].is_required()
            raise wrong("is empty", "give it a value" if required else "give it a value, or remove it")
        return as_written(value, set(plain(cls.model_fields[info.field_name or ""])))


def as_written(value: Any, wanted: set[Any]) -> Any:
    """A value for one of the types `wanted`, where it is of that type: pydantic would take 1 for true and "5" for 5.

    What comes from a variable is text in any case.

    Raises:
        PydanticCustomError: it is a scalar of another type.
    """
    if bool in wanted and not isinstance(value, bool):
        if isinstance(value, Expanded) and value in _BOOLS:
            return _BOOLS[value]
        if isinstance(value, str | int | float):
            raise wrong("must be true or false", _BOOL_HINTS.get(str(value).lower(), ""))
    elif wanted & {int, float}:
        if isinstance(value, bool):
            raise wrong("must be a number" if float in wanted else "must be a whole number")
        if isinstance(value, Numeral):
            return float(value)
        if isinstance(value, str) and not isinstance(value, Expanded):
            hint = "write it without quotes" if value.replace(".", "", 1).isdecimal() else ""
            raise wrong("must be a number" if float in wanted else "must be a whole number", hint)
    return value


def duration(text: Any) -> int:
    """`200ms`, `2s`, `15m`, `48h` or `90d` in milliseconds.

    Raises:
        PydanticCustomError: it is something else, or over a hundred years.
    """
    if not isinstance(text, str) or not (match := _DURATION.fullmatch(text)):
        raise wrong("must be a duration such as 200ms, 2s, 15m, 48h or 90d")
    if (milliseconds := int(match[1]) * MILLISECONDS[match[2]]) > _LONGEST:
        raise wrong("must be a duration of at most 36500d")
    return milliseconds


def size(text: Any) -> int:
    """`65536`, `64KiB`, `1MiB` or `1GiB` in bytes.

    Raises:
        PydanticCustomError: it is something else.
    """
    plain = isinstance(text, int | str) and not isinstance(text, bool)
    if not plain or not (match := _SIZE.fullmatch(str(text))):
        raise wrong("must be a size such as 65536, 64KiB or 1MiB")
    return int(match[1]) * BYTES[match[2]]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in every `per` milliseconds; written as `50/s`, `100/m` or `10/h`."""

    count: int
    per: int

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(rate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?=0*[1-9]){_RATE.pattern}$"}


def rate(text: Any) -> Rate:
    """`50/s`, `100/m` or `10/h` as a Rate.

    Raises:
        PydanticCustomError: it is something else, or nothing at all may pass.
    """
    if not isinstance(text, str) or not (match := _RATE.fullmatch(text)) or not int(match[1]):
        raise wrong("must be a rate such as 50/s, 100/m or 10/h")
    return Rate(int(match[1]), MILLISECONDS[match[2]])


def network(text: Any) -> Any:
    """`203.0.113.0/24`, `2001:db8::/32` or one address as a network.

    Raises:
        PydanticCustomError: it is something else, or an address within a network rather than the network.
    """
    if not isinstance(text, str):
        raise wrong("must be a network such as 203.0.113.0/24, or an address")
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise wrong("must be a network such as 203.0.113.0/24 or 2001:db8::/32, or an address") from None
    raise wrong("names an address within a network", f"write {meant} for the whole network, or the address without /")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, which nobody on the way can listen to."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_name(text: str) -> bool:
    """Whether a source or a target may be called so; `NAME_HINT` says how to call it."""
    return _NAME.fullmatch(text) is not None


def _name(text: str) -> str:
    if not is_name(text):
        raise wrong("is not a valid name", NAME_HINT)
    return text


def _header_text(text: str) -> str:
    if not _HEADER.fullmatch(text) or text != text.strip():
        raise wrong("cannot be the value of a header", "use plain ASCII text without control characters")
    return text


def _header_secret(secret: Secret) -> Secret:
    _header_text(secret.reveal())
    return secret


def _expression(value: Any) -> Any:
    if value == "":
        raise wrong("is empty", "write an expression, or remove it")
    return json.dumps(value) if isinstance(value, bool) else value


def _maybe_empty(value: Any) -> Secret:
    return Secret("") if value is None else Secret.from_settings(value)


def _filled(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(secret for secret in secrets if secret.expected)


def _some_networks(networks: tuple[Any, ...]) -> tuple[Any, ...]:
    if not networks:
        raise wrong("is empty", "give at least one, or remove it")
    return networks


def _some(secrets: tuple[Secret, ...]) -> tuple[Secret, ...]:
    if not any(secrets):
        raise wrong("holds no secret", "give at least one that is not empty")
    return _filled(secrets)


Duration = Annotated[
    int, BeforeValidator(duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
"""Milliseconds, written as `200ms`, `2s`, `15m`, `48h` or `90d`."""

Size = Annotated[
    int, BeforeValidator(size), WithJsonSchema({"type": ["string", "integer"], "pattern": f"^{_SIZE.pattern}$"})
]
"""Bytes, written as `64KiB`, `1MiB` or a plain number."""

Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(network),
    WithJsonSchema({"type": "string", "pattern": NETWORK}),
]
"""A network, written as `203.0.113.0/24`, `2001:db8::/32`, or as one address."""

Networks = Annotated[tuple[Network, ...], AfterValidator(_some_networks), JsonSchema(minItems=1)]
"""One network or more."""

Name = Annotated[str, AfterValidator(_name), JsonSchema(pattern=f"^{_NAME.pattern}$")]
"""The name of a source or a target."""

HeaderText = Annotated[str, AfterValidator(_header_text), JsonSchema(pattern=PRINTABLE)]
"""Text that an HTTP header can carry: printable ASCII, no blanks around it."""

HeaderSecret = Annotated[Secret, AfterValidator(_header_secret), JsonSchema(pattern=PRINTABLE)]
"""A secret that an HTTP header can carry."""

Expression = Annotated[
    str,
    BeforeValidator(_expression),
    WithJsonSchema({"type": ["string", "boolean"], "minLength": 1, "format": "expression"}),
]
"""An expression as text; YAML's true and false are expressions too."""

_Secrets = tuple[
    Annotated[Secret, PlainValidator(_maybe_empty), WithJsonSchema({"type": "string", "format": "password"})], ...
]

Secrets = Annotated[_Secrets, AfterValidator(_some), JsonSchema(minItems=1)]
"""One secret or more; empty entries are dropped, so that `${OLD_SECRET:-}` may be unset, but not files yet to fill."""

SecretsToCome = Annotated[_Secrets, AfterValidator(_filled)]
"""Secrets, of which there may be none yet."""
