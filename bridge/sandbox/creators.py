"""SuperOffice's CreateDefault endpoints for workflow objects. They store nothing, and send nothing.

The names, members and defaults are those of SuperOffice's reference pages "POST Agents/Workflow/CreateDefault..." and
of its guide to flows (12.4). A step or an option has the members that all types share, without those of its own.
"""

from typing import Any

import orjson

from bridge.sandbox.answers import HttpAnswer, argument, members

_BLANK: dict[str, Any] = {"TableRight": None, "FieldProperties": {}}
_WORKFLOW_EVENT: dict[str, Any] = {"EventType": "None", "Attributes": ""} | _BLANK
_FILTER: dict[str, Any] = {"RestrictionGroups": []} | _BLANK
_NEVER = "0001-01-01T00:00:00Z"
_MIDNIGHT, _NO_DAY = "[DT:01/01/1970 00:00:00.0000000]", "[DT:01/01/0001 00:00:00.0000000]"

CARRIERS: dict[str, dict[str, Any]] = {
    "CreateDefaultWorkflowEvent": _WORKFLOW_EVENT,
    "CreateDefaultWorkflowEventResult": _WORKFLOW_EVENT,
    "CreateDefaultWorkflowFilter": _FILTER,
    "CreateDefaultWorkflowGoal": {"WorkflowGoalId": 0, "WorkflowId": 0, "GoalType": "None"} | _FILTER,
    "CreateDefaultWorkflowTrigger": {"WorkflowTriggerId": 0, "WorkflowId": 0, "TriggerType": "None"} | _FILTER,
    "CreateDefaultWorkflowWaitForAction": {
        "WorkflowWaitForActionId": 0,
        "WorkflowStepId": 0,
        "WorkflowId": 0,
        "Rank": 0,
        "ActionType": "None",
    }
    | _FILTER,
    "CreateDefaultEmailFlow": {
        "EmailFlowId": 0,
        "Name": "",
        "Description": "",
        "Status": "Stopped",
        "JumpToFinish": False,
        "StartOnlyOnce": True,
        "OverrideConsentSubscription": False,
        "FromType": "FromOnlySpecified",
        "FromName": "",
        "FromAddr": "",
        "ReplyToType": "ReplyToOnlySpecified",
        "ReplyToAddr": "",
        "ReplyToName": "",
        "SmsSender": "",
        "UseGoogleAnalytics": False,
        "GaSource": "",
        "GaCampaign": "",
        "UseTimeframe": False,
        "SelectedDays": "Unknown",
        "TimeframeStart": _MIDNIGHT,
        "TimeframeEnd": _MIDNIGHT,
        "UseWorkflowStart": False,
        "WorkflowStart": _NO_DAY,
        "UseEnrollmentEnd": False,
        "EnrollmentEnd": _NO_DAY,
        "RemoveFromFlows": [],
        "TzLocation": None,
        "Folder": None,
        "Associate": None,
        "ShipmentType": None,
        "Steps": [],
        "Triggers": [],
        "Goals": [],
        "Filter": _FILTER,
        "BlockLists": [],
        "ContentInfo": [],
        "ExitFlowId": 0,
        "ExitSuccessFlowId": 0,
        "CreatedBy": None,
        "UpdatedBy": None,
        "CreatedDate": _NEVER,
        "UpdatedDate": _NEVER,
        "VisibleFor": [],
    }
    | _BLANK,
}
"""What each creator that needs no more than its name gives."""

TYPED: dict[str, tuple[str, frozenset[str], dict[str, Any]]] = {
    "CreateDefaultWorkflowStepFromType": (
        "StepType",
        frozenset({
            "None", "SendEmail", "SendSMS", "WaitForTime", "WaitForAction", "Split", "UpdateParticipant", "AddToList",
            "RemoveFromList", "CreateRequest", "CreateFollowUp", "CreateSale", "NotifyByEmail", "NotifyBySMS",
            "RunScript", "DistributeToOwner",
        }),
        {"WorkflowStepId": 0, "WorkflowId": 0, "Rank": 0},
    ),
    "CreateDefaultWorkflowStepOptionFromType": (
        "OptionType",
        frozenset({
            "None", "PersonData", "FormSubmission", "LinkClicked", "ProjectMembership", "SelectionMembership",
            "FormData",
        }),
        {"WorkflowStepOptionId": 0, "WorkflowStepId": 0, "WorkflowId": 0, "Name": "", "Rank": 0, "Steps": []},
    ),
}  # fmt: skip
"""What each creator that is told a type gives: the member that names it, the types, and the others' defaults."""

CREATORS = (*CARRIERS, *TYPED)


def create(creator: str, body: bytes) -> HttpAnswer:
    """What one of the `CREATORS` answers.

    Raises:
        Refusal: 400, it needs a type and was told none that there is.
    """
    if creator in CARRIERS:
        return HttpAnswer(200, orjson.dumps(CARRIERS[creator]))
    name, types, defaults = TYPED[creator]
    told = members(body).get(name.lower())
    if not isinstance(told, str) or told not in types:
        raise argument(f"{name} is missing or not the name of a type.")
    return HttpAnswer(200, orjson.dumps({name: told} | defaults))
