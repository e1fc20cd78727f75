"""SuperOffice's JSON: the wrapper around a WorkflowEvent, and what its answers are."""

from typing import Any

from bridge import jsontext


def wrapper(event_type: str, attributes: str) -> bytes:
    """The body of SendEvent. TableRight and FieldProperties are the server's to fill, so they are left out."""
    return jsontext.encode({"WorkflowEvent": {"EventType": event_type, "Attributes": attributes}})


def is_result(answer: Any) -> bool:
    """Whether an answer is a WorkflowEventResult. Values may be null (`$select` nulls what it leaves out)."""
    return isinstance(answer, dict) and "EventType" in answer and not is_error(answer)


def is_error(answer: Any) -> bool:
    """Whether an answer is an error object of SuperOffice's services, or of the framework beneath them."""
    return is_service_error(answer) or (
        isinstance(answer, dict)
        and (answer.get("MessageDetail") is not None or ("Message" in answer and "EventType" not in answer))
    )


def is_service_error(answer: Any) -> bool:
    """Whether SuperOffice's own services wrote it: the request reached an agent.

    The framework's `{"Message": "No HTTP resource was found ..."}` is not one: it means a wrong URL.
    """
    return isinstance(answer, dict) and (
        answer.get("Error") is True or answer.get("ErrorType") is not None or answer.get("ErrorMessage") is not None
    )


def error_type(answer: Any) -> str:
    """The kind of a service error, such as `ArgumentException`: a word, or nothing."""
    kind = answer.get("ErrorType") if isinstance(answer, dict) else None
    return kind[:100] if isinstance(kind, str) and kind.replace(".", "").isidentifier() else ""
