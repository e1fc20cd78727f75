"""Reports unknown keys with the nearest known key, or the section where the key belongs."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from bridge.errors import Problem
from bridge.settings.annotations import inner_models, models, names
from bridge.settings.document import Section

LATER = frozenset(
    {
        *("alarms", "backlog", "console", "expect_every", "form_keys", "let", "listen_url", "lookups", "min_free"),
        *("people", "pings", "read_token", "redact", "redact_attributes", "redact_key", "reference", "require"),
        *("tls", "trace", "trusted_user_header"),
    }
)
"""Keys that the documentation promises for later versions; one that exists elsewhere is meant where it does not."""

Parents = Sequence[tuple[str | int, Any]]  # keys on the way from the root, each with the annotation that it is in


def unknown_key(section: Section, parents: Parents, parent: Any, key: str) -> Problem:
    """The problem of a key at `section`, which the models of the annotation `parent` lack."""
    shown = key if len(key) <= 60 else key[:59] + "…"
    known = names(parent)
    near = nearest(key, known)
    if places := list(_places(parents, parent, key)):
        return section.problem(f"`{shown}` does not belong here", f"it belongs {' or '.join(places[:2])}")
    if key in LATER and key != near:
        return section.problem(f"`{shown}` is not available yet", "remove it")
    hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(known)}" if known else ""
    return section.problem(f"unknown key `{shown}`", hint)


def nearest(text: str, known: list[str]) -> str:
    """The one of `known` that a text may be a slip of; empty where there is none."""
    lower = {one.lower(): one for one in known}
    return next((lower[near] for near in difflib.get_close_matches(text[:100].lower(), lower, n=1)), "")


def _places(parents: Parents, parent: Any, key: str) -> Iterator[str]:
    """Where else the key exists: beneath its neighbours, else beside one of the keys around it."""
    level: list[tuple[str, type[BaseModel]]] = [("", model) for model in models(parent)]
    seen = {model for _, model in level}
    while level:
        found = [path for path, model in level if path and key in names(model)]
        if found:
            yield from (f"under `{path}`" for path in found)
            return
        level = [
            (f"{path}.{name}{suffix}".lstrip("."), inner)
            for path, model in level
            for name, field in model.model_fields.items()
            for suffix, inner in inner_models(field.annotation)
            if inner not in seen and not seen.add(inner)  # type: ignore[func-returns-value]
        ]
    for around, annotation in reversed(parents):
        if isinstance(around, str) and key in names(annotation):
            yield f"beside `{around}`"
            return
