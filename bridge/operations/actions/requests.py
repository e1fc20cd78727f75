"""An operator's requests as the admin API takes them and the commands send them: their arguments, and what is read."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bridge.errors import BridgeError, StoreError
from bridge.operations.queries import Queries
from bridge.store.actions import Selection
from bridge.store.reader import Filter

NAME_LENGTH = 64  # of whoever asks for a change
NOTE_LENGTH = 200  # of their reason

A = TypeVar("A", bound="Arguments")


class InvalidRequest(BridgeError):
    """The request is not one that can be performed; says what is wrong with it."""


class Arguments(BaseModel):
    """What every change takes: why it is asked for."""

    note: str | None = Field(None, max_length=NOTE_LENGTH)

    @field_validator("note")
    @classmethod
    def _is_printable(cls, note: str | None) -> str | None:
        if note is not None and not note.isprintable():
            raise ValueError("must be printable characters only")
        return note or None

    @property
    def previewed(self) -> bool:
        """Whether it is only asked what would be done."""
        return False


class Selecting(Arguments):
    """What a change of events or webhooks takes: which ones, and whether to do it or only to show it."""

    model_config = ConfigDict(extra="forbid")

    ids: tuple[str, ...] | None = Field(None, max_length=10_000)
    filter: Filter = Filter()
    yes: bool = False
    again: bool = False

    @property
    def previewed(self) -> bool:
        return not self.yes

    @property
    def selection(self) -> Selection:
        """The events or webhooks that are meant."""
        return Selection(ids=self.ids, filter=self.filter)


def asker_name(name: str) -> str | None:
    """The name that somebody gives who asks for a change; None where it is empty.

    Raises:
        InvalidRequest: it is none that a line of the log can hold.
    """
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"a name has at most {NAME_LENGTH} printable characters")
    return name.strip() or None


def read(queries: Queries, path: str) -> Any:
    """`targets[/NAME]`, `events/ID`, `webhooks/ID` or `explain/ID`.

    Raises:
        StoreError: there is no such thing.
    """
    match path.split("/"):
        case ["targets"]:
            return queries.targets()
        case ["targets", name]:
            return queries.target(name)
        case ["events", id_]:
            return queries.event(id_)
        case ["webhooks", id_]:
            return queries.webhook(id_)
        case ["explain", id_]:
            return queries.explain(id_)
    raise StoreError(f"there is no {path[:100]}, only events, webhooks, targets and explain")


def parse(arguments: type[A], payload: Any) -> A:
    """The arguments of a change, from its JSON.

    Raises:
        InvalidRequest: they are wrong, and how.
    """
    try:
        parsed = arguments.model_validate(payload)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False))
        raise InvalidRequest(told) from None
    if isinstance(parsed, Selecting) and parsed.ids is None and parsed.filter == Filter():
        raise InvalidRequest("name ids, or a filter such as state or source, to say which ones")
    return parsed
