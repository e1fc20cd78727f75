import pytest
from clocks import Hand

from bridge.store.key_urls import MOST
from bridge.store.store import Store

pytestmark = pytest.mark.anyio


async def test_urls_that_proved_themselves_are_there_again_by_source(store: Store, hand: Hand) -> None:
    assert await store.load_key_urls() == {}
    for source, url in (("sns", "https://a"), ("sns", "https://b"), ("paypal", "https://a"), ("sns", "https://a")):
        hand.turn(1)
        await store.keep_key_url(source, url)
    assert await store.load_key_urls() == {"paypal": ["https://a"], "sns": ["https://b", "https://a"]}


async def test_the_newest_of_a_source_are_kept(store: Store, hand: Hand) -> None:
    for number in range(MOST + 2):
        hand.turn(1)
        await store.keep_key_url("sns", f"https://{number}")
    await store.keep_key_url("paypal", "https://a")
    assert await store.load_key_urls() == {
        "paypal": ["https://a"],
        "sns": [f"https://{number}" for number in range(2, MOST + 2)],
    }
