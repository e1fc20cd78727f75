"""How much is read of bodies that carry their own proof, and who is still looked at where many are forged."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from receiving.verification.genuine import MAILGUN_SECRET, TOPIC, mailgun_signature

from bridge.times import now

from .test_limits import House, house

pytestmark = pytest.mark.anyio
MAIL = f"verify: {{scheme: mailgun, secrets: [{MAILGUN_SECRET}]}}\nrules: []\n"
SNS = f'verify: {{scheme: aws-sns, topic_arns: ["{TOPIC}"]}}\nrules: []\n'


async def post(bridge: House, source: str, body: bytes, content_type: str = "application/json") -> tuple[int, Any]:
    answer = await bridge.client.post(f"/webhooks/{source}", content=body, headers={"content-type": content_type})
    return answer.status_code, answer.json()


def mail(size: int = 0, token: str = "t" * 50) -> bytes:
    """A genuine event of Mailgun's, with so many bytes more."""
    return json.dumps({"signature": mailgun_signature(now(), token), "event-data": {"x": "y" * size}}).encode()


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (SNS, 528 * 1024),
        (SNS + "max_unverified_body: 100KiB\n", 100 * 1024),
        (MAIL + "max_unverified_body: 100KiB\n", 100 * 1024),
        (MAIL + "max_unverified_body: 100KiB\nmax_body: 10KiB\n", 10 * 1024),
        (MAIL, 1024 * 1024),
    ],
)
async def test_no_more_is_read_than_the_senders_own_limit_and_a_refusal_names_the_key(
    source: str, size: int, tmp_path: Path
) -> None:
    async with house(tmp_path, sources={"x": source}, listen={"max_body": "1MiB"}) as bridge:
        assert (await post(bridge, "x", b"x" * size))[0] == 401
        status, told = await post(bridge, "x", b"x" * (size + 1))
        is_own = size not in (10 * 1024, 1024 * 1024)
        key, reason = ("max_unverified_body", "unverified_body_too_large") if is_own else ("max_body", "body_too_large")
        assert (status, told["detail"]) == (413, f"the body is larger than {size} bytes ({key})")
        assert bridge.refused(reason, "x") == 1


async def test_genuine_ones_are_taken_up_to_that_limit(tmp_path: Path) -> None:
    async with house(tmp_path, sources={"mail": MAIL}, listen={"max_body": "4MiB"}) as bridge:
        assert (await post(bridge, "mail", mail(3 << 20)))[0] == 200
        form = urlencode(mailgun_signature(now(), "u" * 50)).encode() + b"&attachment-1=" + b"z" * (3 << 20)
        assert (await post(bridge, "mail", form, "application/x-www-form-urlencoded"))[0] == 200
        assert [state for _, state in bridge.stored()] == ["ignored", "unreadable"]


async def test_beside_forgers_of_the_same_address_the_genuine_are_still_looked_at(tmp_path: Path) -> None:
    """As SNS, Graph and Mailgun send: everybody's webhooks from the same addresses."""
    keys = "failures: {at_once: 3, rate: 1/h}\n"
    forged = b'{"signature": ' + b"[" * (200 << 10)
    async with house(tmp_path, sources={"mail": MAIL + keys, "late": MAIL + keys}) as bridge:
        assert (await post(bridge, "mail", mail()))[0] == 200
        for source, taken in (("mail", 200), ("late", 429)):  # no genuine one came to the latter yet
            refused = [(await post(bridge, source, forged))[0] for _ in range(8)]
            assert refused[:3] == [401] * 3
            for number in range(5):
                token = f"{source}{number}".ljust(50, "x")
                assert (await post(bridge, source, mail(token=token)))[0] == taken
