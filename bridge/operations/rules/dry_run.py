"""Maps a payload by today's rules, without a sender, a store or a target."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from bridge.mapping.rules import Rules
from bridge.model import Mapped, Request
from bridge.receiving.processing import process
from bridge.receiving.verification.credential_filter import CredentialFilter
from bridge.receiving.verification.proofs.credential import Anyone
from bridge.receiving.verification.verifier import Verifier
from bridge.times import now


def dry_run(
    source: str,
    rules: Rules,
    payload: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    method: str = "POST",
    *,
    explain: bool = True,
    credentials: CredentialFilter | None = None,
) -> Mapped:
    """Map a payload as if its source had sent it; `explain`: with why each rule did or did not match.

    `credentials` is what the source drops, so that no rule sees it.
    """
    received_at = now()
    request = Request(
        source=source,
        method=method,
        path=f"/webhooks/{source}",
        query=urlencode(query or {}).encode(),
        headers=tuple((_bytes(name.lower()), _bytes(value)) for name, value in headers.items()),
        body=payload,
        received_at=received_at,
        client="",
    )
    unproven = Verifier("none", Anyone(), credentials)
    return process(rules, unproven.verify(request, received_at), explain=explain)


def as_json(mapping: Mapped) -> dict[str, Any]:
    """The fields of `bridge try --json`."""
    events = [
        {"rule": event.rule, "target": event.target, "type": event.type, "attributes": event.attributes}
        | ({"headers": dict(event.headers)} if event.headers else {})
        for event in mapping.events
    ]
    whys = [why.as_json() for why in mapping.why]
    return {"state": mapping.state, "events": events, "error": mapping.error, "why": whys}


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")
