"""Where a port listens, and who is seen to call."""

import socket
from pathlib import Path

import httpx
import pytest
from forwarding.support import logged
from running import NO_TLS, SECRET, by_github

from bridge.errors import BridgeError
from bridge.observing import logs
from bridge.web.serving import listen

from .test_limits import house
from .test_public import SOURCE

pytestmark = pytest.mark.anyio


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("call", "client"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("[::ffff:127.0.0.1]", "127.0.0.1")]
)
async def test_every_address_is_that_of_ipv4_too_and_its_clients_are_seen_as_such(
    tmp_path: Path, call: str, client: str
) -> None:
    keys = f"addresses: ['{client}']\nfailures: {{at_once: 1, rate: 1/h}}\n"
    async with house(tmp_path, keys, host="::", sources={"other": SOURCE + keys}) as bridge:
        port = bridge.client.base_url.port
        with logged() as log:
            async with httpx.AsyncClient(
                base_url=f"http://{call}:{port}", trust_env=False, verify=NO_TLS, timeout=20
            ) as sender:
                statuses = [
                    (await sender.post(f"/webhooks/{source}", content=b"{}", headers=by_github(b"{}", secret=secret)))
                    for source, secret in (("other", SECRET), ("github", "a guess"), ("github", "a guess"))
                ]
    assert [answer.status_code for answer in statuses] == [202, 401, 429]
    (accepted,) = log.named(logs.WEBHOOK_ACCEPTED)
    assert {line["client"] for line in (accepted, *log.named(logs.WEBHOOK_REFUSED))} == {client}


async def test_an_address_that_cannot_be_had_is_told() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(BridgeError, match=r"cannot listen on 127\.0\.0\.1:"):
        listen("127.0.0.1", taken.getsockname()[1])
