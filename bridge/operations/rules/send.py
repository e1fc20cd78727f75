"""Sends a webhook signed with the source's own secret to a running bridge."""

import uuid
from collections.abc import Mapping

import httpx

from bridge.errors import BridgeError
from bridge.receiving.content.body import USUAL_TYPES
from bridge.receiving.sources import CompiledSource
from bridge.settings.schema import ListenSettings
from bridge.times import now


def send(
    source: CompiledSource, listen: ListenSettings, payload: bytes, headers: Mapping[str, str], url: str | None = None
) -> tuple[int, str]:
    """Post a payload to `url`, or to where the configuration says that the bridge listens; return status and answer.

    The delivery id is a new one, unless a header gives it.

    Raises:
        BridgeError: nobody answers, or it cannot be signed or sent.
    """
    method = source.settings.methods[0]
    given = {name.lower(): value for name, value in headers.items() if name.lower() != "content-length"}
    given = {"content-type": USUAL_TYPES[source.rules.content]} | given
    signed = source.verifier.sign(payload, method=method, at=now(), delivery_id=str(uuid.uuid4()), headers=given)
    sent = given | signed
    base = url.rstrip("/") if url else f"http://{reachable(listen.host)}:{listen.port}"
    try:
        raw = [(name.encode(), value.encode()) for name, value in sent.items()]
        answer = httpx.request(method, f"{base}/webhooks/{source.name}", content=payload, headers=raw, trust_env=False)
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise BridgeError(f"this cannot be sent, correct the headers or --url: {error}") from None
    except httpx.TransportError as error:
        raise BridgeError(f"no bridge answers at {base} ({type(error).__name__}), start it or give --url") from None
    return answer.status_code, answer.text


def reachable(host: str) -> str:
    """The host by which somebody on this machine reaches who listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens
    return f"[{host}]" if ":" in host else host
