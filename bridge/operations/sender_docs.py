"""Generates the documentation of senders from the catalogue: a list, Markdown pages, examples."""

from typing import Any

from bridge.receiving.senders.catalog import SENDERS
from bridge.receiving.senders.sender import HASH, Sender, ShownSecret
from bridge.receiving.senders.signature_spec import SignatureSpec

_WORDS = {"body": "body", "method": "method", "url": "URL"}
_UNSIGNED = "none, nor the body"
_ALGORITHMS = {"sha1": "HMAC-SHA1", "sha256": "HMAC-SHA256", "sha512": "HMAC-SHA512", "sha256-concat": "SHA-256"}


def rows() -> list[dict[str, Any]]:
    """Every scheme, as JSON has it."""
    return [_row(name, sender) for name, sender in SENDERS.items()]


def explained(name: str) -> dict[str, Any]:
    """One scheme, with an example of a source.

    Raises:
        KeyError: there is none of that name.
    """
    return _row(name, SENDERS[name]) | {"example": example(name)}


def example(name: str) -> str:
    """A source in YAML that receives what this scheme's sender sends."""
    sender = SENDERS[name]
    keys = [f"scheme: {name}"]
    if sender.secrets:
        keys.append(f'secrets: ["${{{variable(name)}}}"]')
    keys += [f"{key}: {_quoted(value)}" for key, value in sender.keys.items()]
    lines = [
        f"# sources/{name}.yaml receives what is sent to https://hooks.example.com/webhooks/{name}",
        f"verify: {{{', '.join(keys)}}}",
    ]
    if sender.signs_url:
        lines.append(f"public_url: https://hooks.example.com/webhooks/{name}")
    attributes = 'bridge_id: "{{ event.id }}"'
    if sender.event:
        attributes = f'what: "{{{{ {sender.event} }}}}", {attributes}'
    lines += ["rules:", "  - name: everything", f"    event: {{type: AddedMessage, attributes: {{{attributes}}}}}"]
    return "\n".join(lines) + "\n"


def variable(name: str) -> str:
    """The environment variable of a scheme's secret, in its example."""
    return f"{name.upper().replace('-', '_')}_SECRET"


def markdown() -> str:
    """What docs/senders.md says of every scheme: a table, then what to know and what could not be confirmed."""
    return f"{_table()}\n{_remarks()}"


def _table() -> str:
    columns = (
        *("scheme", "sender", "needs", "proves", "signed headers"),
        *("delivery id", "replay window", "answered", "tries again"),
    )
    lines = [columns, tuple("---" for _ in columns)]
    lines += [
        (
            f"`{row['scheme']}`",
            row["sender"],
            needs(row),
            row["proves"],
            row["signed_headers"],
            _identified(row),
            row["replay"],
            _answered(row),
            row["retries"],
        )
        for row in rows()
    ]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def _remarks() -> str:
    lines = []
    for row in rows():
        told = [row["note"]] if row["note"] else []
        if row["max_unverified_body"]:
            most = _size(row["max_unverified_body"])
            told.append(f"The proof stands in the body: at most {most} are read, or what `max_unverified_body` says.")
        told += [f"Not confirmed: {row['unconfirmed']}."] if row["unconfirmed"] else []
        if row["sources"]:
            told.append(f"From {', '.join(row['sources'])}.")
        if told:
            lines.append(f"- **{row['scheme']}** {' '.join(told)}")
    return "\n".join(lines) + "\n"


def needs(row: dict[str, Any]) -> str:
    """What a source must say for a scheme."""
    told = [f"`secrets`: {row['secrets']}"] if row["secrets"] else []
    told += [f"`{key}`" for key in row["keys"]]
    told += ["`public_url`"] if row["public_url"] else []
    return "; ".join(told) or "nothing"


def _row(name: str, sender: Sender) -> dict[str, Any]:
    return {
        "scheme": name,
        "sender": sender.title,
        "secrets": sender.secrets,
        "keys": list(sender.keys),
        "public_url": sender.signs_url,
        "proves": sender.proves or "; else ".join(_proves(way) for way in sender.proof),
        "signed_headers": _signed_headers(name, sender),
        "delivery_id": sender.delivery_id,
        "delivery_id_signed": sender.signs_id,
        "max_unverified_body": sender.max_unverified_body or None,
        "event_type": sender.event,
        "replay": sender.replay or _replay(sender.recipes),
        "status": sender.status,
        "answer_has_body": sender.answer and sender.status != 204,
        "methods": list(sender.methods),
        "content": str(sender.content),
        "handshake": bool(sender.handshake),
        "retries": sender.retries,
        "note": sender.note,
        "sources": list(sender.sources),
        "unconfirmed": sender.unconfirmed,
    }


def _proves(way: SignatureSpec | ShownSecret | str) -> str:
    if isinstance(way, str):
        return way
    if isinstance(way, ShownSecret):
        return f"`{way.header}` shows the secret: who calls, not what was sent"
    signed = [_part(way, part) for part in way.signed if not part.startswith("lit:")]
    what = f"{', '.join(signed[:-1])} and {signed[-1]}" if len(signed) > 1 else signed[0]
    also = f", `{way.also[0]}`" + ", ..." * (len(way.also) > 1) if way.also else ""
    return f"{_ALGORITHMS[way.algorithm]} of {what} in `{way.header}`{also}"


def _signed_headers(name: str, sender: Sender) -> str:
    if name == "hmac":
        return "as you spell it out: header:NAME in signed"
    if sender.signed_headers is None:
        return _UNSIGNED
    ways = [recipe.signed_headers for recipe in sender.recipes] or [sender.signed_headers]
    told = [", ".join(f"`{header}`" for header in sorted(headers)) or "none" for headers in ways]
    told += [_UNSIGNED] if any(isinstance(way, ShownSecret) for way in sender.proof) else []
    return "; else ".join(dict.fromkeys(told))


def _part(recipe: SignatureSpec, part: str) -> str:
    if part in _WORDS:
        return _WORDS[part]
    return "time" if part == recipe.timestamp else "id" if part == recipe.delivery_id else f"`{part}`"


def _replay(recipes: tuple[SignatureSpec, ...]) -> str:
    timed = [recipe for recipe in recipes if recipe.timestamp]
    if not timed:
        return "none: no time is signed"
    where, _, name = timed[0].timestamp.partition(":")
    place = {"header": f"`{name}`", "item": f"`{name}=` in the header", "body": f"`body.{name}`, where it is there"}[
        where
    ]
    return f"{place}, {_minutes(timed[0].tolerance)}"


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count % (1 << 20) == 0 else f"{count >> 10} KiB"


def _minutes(milliseconds: int) -> str:
    return f"{milliseconds // 60_000} min"


def _identified(row: dict[str, Any]) -> str:
    if not row["delivery_id"]:
        return "none"
    signed = "signed" if row["delivery_id_signed"] else "**not signed**"
    told = "the body's hash" if row["delivery_id"] == HASH else f"`{row['delivery_id']}`"
    return f"{told}, {signed}"


def _answered(row: dict[str, Any]) -> str:
    told = [str(row["status"])]
    told += ["without a body"] if not row["answer_has_body"] and row["status"] != 204 else []
    told += ["its handshake"] if row["handshake"] else []
    told += [f"by {' or '.join(row['methods'])}"] if row["methods"] != ["POST"] else []
    return ", ".join(told)


def _quoted(value: str) -> str:
    return value if value.startswith("[") else f'"{value}"'
