"""The table of actions: each is found by its path, and nothing else is."""

import pytest

from bridge.operations.actions.requests import InvalidRequest
from bridge.operations.actions.table import ACTIONS, find


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.path)
def test_each_action_is_found_by_its_path_with_the_name_in_it(action: object) -> None:
    path = action.path  # type: ignore[attr-defined]
    found, name = find(path.replace("NAME", "crm"))
    assert found is action
    assert name == ("crm" if "NAME" in path else "")


@pytest.mark.parametrize("path", ["", "events", "events/remap", "targets/a/b", "targets/a/pause/x", "secrets"])
def test_no_other_path_is_an_action(path: str) -> None:
    with pytest.raises(InvalidRequest, match="there is nothing to do by the name of"):
        find(path)


def test_paths_are_unique() -> None:
    assert len({action.path for action in ACTIONS}) == len(ACTIONS)
