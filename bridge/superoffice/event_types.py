"""Which WorkflowEventType names a server knows, by its version. A server of another version may know others."""

_CURRENT = frozenset(
    {
        "None",
        "Run",
        "PersonCreated",
        "PersonUpdated",
        "AddedToProject",
        "CreatedRequest",
        "LinkClicked",
        "AddedToSelection",
        "FormSubmitted",
        "AddedMessage",
        "StartedChat",
        "OrderPlaced",
        "SaleCreated",
        "SaleSold",
        "SaleLost",
    }
)
_EARLY = frozenset({"None", "Run", "Click"})

# From the enum WorkflowEventType of SuperOffice's own client library (@superoffice/webapi), by its version.
EVENT_TYPES: dict[str, frozenset[str]] = {
    "latest": _CURRENT,
    "12.4": _CURRENT,
    "10.2.9": _CURRENT,
    "10.2.8": _EARLY,
    "10.2.7": _EARLY,
}
