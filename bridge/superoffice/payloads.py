"""JSON payloads of SendEvent: the request's wrapper, and how to tell a result from an error.

Names of an answer count in any case: SuperOffice's own serializer may be set to write `eventType`.
"""

from typing import Any

from bridge import jsontext
from bridge.printable import printable

_MESSAGE_LENGTH = 500


def wrapper(event_type: str, attributes: str) -> bytes:
    """The body of SendEvent. TableRight and FieldProperties are the server's to fill, so they are left out."""
    return jsontext.encode({"WorkflowEvent": {"EventType": event_type, "Attributes": attributes}})


def members(answer: Any) -> dict[str, Any]:
    """The members of an answer by their names in lower case; none where it is no object."""
    return {name.lower(): value for name, value in answer.items()} if isinstance(answer, dict) else {}


def is_result(answer: dict[str, Any]) -> bool:
    """Whether an answer's members are a WorkflowEventResult's; `$select` nulls the values that it leaves out."""
    return "eventtype" in answer and not is_error(answer)


def is_error(answer: dict[str, Any]) -> bool:
    """Whether an answer's members are those of an error object, of SuperOffice's services or the framework beneath."""
    return (
        is_service_error(answer)
        or answer.get("messagedetail") is not None
        or ("message" in answer and "eventtype" not in answer)
    )


def is_service_error(answer: dict[str, Any]) -> bool:
    """Whether SuperOffice's own services wrote it: the request reached an agent.

    The framework's `{"Message": "No HTTP resource was found ..."}` is not one: it means a wrong URL.
    """
    return answer.get("error") is True or answer.get("errortype") is not None or answer.get("errormessage") is not None


def error_message(answer: dict[str, Any]) -> str | None:
    """What an error object says, in the server's own words: it may quote what was sent."""
    message = answer.get("message") or answer.get("errormessage")
    return printable(message[:_MESSAGE_LENGTH]) if isinstance(message, str) and is_error(answer) else None


def error_type(answer: dict[str, Any]) -> str:
    """The kind of a service error, such as `ArgumentException`: a word, or nothing."""
    kind = answer.get("errortype")
    return kind[:100] if isinstance(kind, str) and kind.replace(".", "").isidentifier() else ""
