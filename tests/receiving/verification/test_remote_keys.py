"""Keys at URLs: fetched over real TLS, only from where they may be, rarely, and never more than they may be."""

import asyncio
import re
from collections import Counter
from contextlib import suppress
from functools import partial

import pytest
from authorities import Answer, Elsewhere, Published, authority, publishing

from bridge.errors import KeyUnavailable, NotVerified
from bridge.receiving.verification.reasons import Reason
from bridge.receiving.verification.remote_keys import (
    KEPT,
    MOST_ASKED,
    MOST_BYTES,
    MOST_KEPT,
    MOST_PROVEN,
    PAUSE,
    RESERVED,
    Download,
    KeyNeeded,
    RemoteKeys,
    download,
)

AUTHORITY = authority()
HERE = AUTHORITY.issue("keys.example.com")
ALLOWED = re.compile(r"https://keys\.example\.com/[a-z0-9-]+")
URL = "https://keys.example.com/key"


class Ticking:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Answering:
    """A download that has answers, and counts."""

    def __init__(self, *answers: bytes | NotVerified) -> None:
        self.answers = list(answers)
        self.asked: Counter[str] = Counter()

    async def __call__(self, url: str) -> bytes:
        self.asked[url] += 1
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NotVerified):
            raise answer
        return answer


def read(content: bytes) -> str:
    if content == b"no key":
        raise ValueError
    return content.decode()


def made(clock: Ticking | None = None) -> RemoteKeys[str]:
    return RemoteKeys(ALLOWED, read, clock or Ticking())


def got(keys: RemoteKeys[str], url: str = URL) -> str:
    """The key, or the reason why there is none, or `needed`."""
    try:
        return keys.get(url)
    except KeyNeeded:
        return "needed"
    except KeyUnavailable as error:
        return f"later: {error.reason}"
    except NotVerified as error:
        return error.reason


async def fetched(keys: RemoteKeys[str], by: Download, url: str = URL) -> str:
    with pytest.raises(KeyNeeded) as needed:
        keys.get(url)
    await needed.value.fetch(by)
    return got(keys, url)


def over(published: Published, within: float = 5.0) -> Download:
    return partial(download, transport=Elsewhere(published.port, AUTHORITY), within=within)


async def refused(answer: Answer, within: float = 5.0) -> str:
    async with publishing(HERE, {"/key": answer, "/other": Answer(b"other")}) as published:
        told = await fetched(made(), over(published, within))
        assert published.asked == {"/key": 1}
    return told


@pytest.mark.anyio
async def test_a_key_is_fetched_over_tls_once_and_kept() -> None:
    async with publishing(HERE, {"/key": Answer(b"the key")}) as published:
        keys = made()
        assert await fetched(keys, over(published)) == "the key"
        assert got(keys) == "the key"
        assert published.asked == {"/key": 1}
        assert "host: keys.example.com\r\n" in published.heads[0].lower()
        assert "cookie" not in published.heads[0].lower()


@pytest.mark.anyio
async def test_many_who_need_one_key_at_once_share_one_fetch() -> None:
    async with publishing(HERE, {"/key": Answer(b"the key", after=0.05)}) as published:
        keys = made()
        assert await asyncio.gather(*(fetched(keys, over(published)) for _ in range(50))) == ["the key"] * 50
        assert published.asked == {"/key": 1}


@pytest.mark.anyio
async def test_a_redirect_is_not_followed() -> None:
    there = Answer(status=302, headers={"location": "https://keys.example.com/other"})
    assert await refused(there) == "key_unusable"


@pytest.mark.anyio
async def test_what_never_ends_or_is_too_much_is_not_read_to_its_end() -> None:
    assert await refused(Answer(endless=True)) == "key_unusable"
    assert await refused(Answer(b"x" * (MOST_BYTES + 1))) == "key_unusable"
    assert len(await refused(Answer(b"x" * MOST_BYTES))) == MOST_BYTES


@pytest.mark.anyio
async def test_compressed_answers_are_not_blown_up() -> None:
    assert await refused(Answer(b"x", headers={"content-encoding": "gzip"})) == "key_unusable"


@pytest.mark.anyio
async def test_nobody_waits_for_the_slow() -> None:
    assert await refused(Answer(b"the key", after=5), within=0.1) == "later: key_unavailable"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [500, 503, 599, 429, 408])
async def test_a_fault_of_theirs_is_one_that_may_pass(status: int) -> None:
    assert await refused(Answer(b"the key", status=status)) == "later: key_unavailable"


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [Answer(status=404), Answer(b"the key", status=403), Answer(b"no key")])
async def test_what_is_no_key_is_not_asked_for_again_at_once(answer: Answer) -> None:
    assert await refused(answer) == "key_unusable"


@pytest.mark.anyio
async def test_a_server_that_shows_another_or_an_untrusted_certificate_is_not_believed() -> None:
    for shown in (AUTHORITY.issue("keys.example.org"), authority().issue("keys.example.com")):
        async with publishing(shown, {"/key": Answer(b"the key")}) as published:
            assert await fetched(made(), over(published)) == "later: key_unavailable"
            assert not published.asked


@pytest.mark.anyio
async def test_where_nobody_listens_the_sender_is_asked_to_come_again() -> None:
    async with publishing(HERE, {}) as published:
        pass
    assert await fetched(made(), over(published)) == "later: key_unavailable"


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com/key",
        "https://keys.example.com.evil.example/key",
        "https://evil.example/https://keys.example.com/key",
        "https://keys.example.com@evil.example/key",
        "https://keys.example.com:8443/key",
        "https://keys.example.com/key?x=https://evil.example",
        "https://keys.example.com/../key",
        "https://keys.example.com/key\n",
        "HTTPS://KEYS.EXAMPLE.COM/key",
        "",
    ],
)
def test_other_urls_are_never_asked(url: str) -> None:
    assert got(made(), url) == "key_url_refused"


@pytest.mark.anyio
async def test_a_bad_answer_is_remembered_for_a_while_and_then_asked_for_again() -> None:
    for bad, told in (
        (NotVerified(Reason.KEY_UNUSABLE), "key_unusable"),
        (KeyUnavailable(Reason.KEY_UNAVAILABLE), "later: key_unavailable"),
    ):
        clock, answering = Ticking(), Answering(bad, b"the key")
        keys = made(clock)
        assert await fetched(keys, answering) == told
        clock.now += PAUSE - 1
        assert got(keys) == told
        clock.now += 1
        assert await fetched(keys, answering) == "the key"


@pytest.mark.anyio
async def test_a_key_is_asked_for_again_after_a_day() -> None:
    clock, answering = Ticking(), Answering(b"old", b"new")
    keys = made(clock)
    assert await fetched(keys, answering) == "old"
    clock.now += KEPT - 1
    assert got(keys) == "old"
    clock.now += 1
    assert await fetched(keys, answering) == "new"


@pytest.mark.anyio
async def test_what_is_not_enough_is_fetched_anew_but_not_at_every_request() -> None:
    clock, answering = Ticking(), Answering(b"old", KeyUnavailable(Reason.KEY_UNAVAILABLE), b"new")
    keys = made(clock)
    assert await fetched(keys, answering) == "old"
    lacking = keys.newer(URL, Reason.KEY_UNKNOWN)
    assert (type(lacking), str(lacking)) == (NotVerified, "key_unknown")

    clock.now += PAUSE
    needed = keys.newer(URL, Reason.KEY_UNKNOWN)
    assert isinstance(needed, KeyNeeded)
    await needed.fetch(answering)
    assert got(keys) == "old"  # which is as good as it was, while nobody answers
    assert isinstance(keys.newer(URL, Reason.KEY_UNKNOWN), KeyUnavailable)

    clock.now += PAUSE
    needed = keys.newer(URL, Reason.KEY_UNKNOWN)
    assert isinstance(needed, KeyNeeded)
    await needed.fetch(answering)
    assert got(keys) == "new"


@pytest.mark.anyio
async def test_a_stranger_cannot_make_us_ask_often() -> None:
    clock, answering = Ticking(), Answering(NotVerified(Reason.KEY_UNUSABLE))
    keys = made(clock)
    for number in range(MOST_ASKED - RESERVED):
        assert await fetched(keys, answering, f"{URL}-{number}") == "key_unusable"
    with pytest.raises(KeyUnavailable):
        await fetched(keys, answering, f"{URL}-x")
    assert answering.asked.total() == MOST_ASKED - RESERVED
    clock.now += 60
    assert await fetched(keys, answering, f"{URL}-x") == "key_unusable"


@pytest.mark.anyio
async def test_some_fetches_are_left_for_who_sent_genuine_webhooks() -> None:
    keys, answering = made(), Answering(NotVerified(Reason.KEY_UNUSABLE))
    for number in range(MOST_ASKED - RESERVED):
        await fetched(keys, answering, f"{URL}-{number}")
    for number in range(RESERVED):
        await keys.fetch(f"{URL}-known-{number}", answering, is_known=True)
    with pytest.raises(KeyUnavailable):
        await keys.fetch(f"{URL}-known-x", answering, is_known=True)
    assert answering.asked.total() == MOST_ASKED


@pytest.mark.anyio
async def test_a_url_that_proved_itself_is_asked_whatever_else_was() -> None:
    before, keys = made(), made()
    before.proved(URL)
    assert before.take_proven() == [URL]
    assert before.take_proven() == []
    keys.remember([URL])
    for number in range(MOST_ASKED):
        with suppress(KeyUnavailable):
            await fetched(keys, Answering(NotVerified(Reason.KEY_UNUSABLE)), f"{URL}-{number}")
    assert await fetched(keys, Answering(b"the key")) == "the key"
    assert keys.take_proven() == []


def test_so_many_urls_that_proved_themselves_are_remembered() -> None:
    keys = made()
    for number in range(MOST_PROVEN + 1):
        keys.proved(f"{URL}-{number}")
    assert not keys.is_proven(f"{URL}-0")
    assert keys.is_proven(f"{URL}-1")
    assert len(keys.take_proven()) == MOST_PROVEN


@pytest.mark.anyio
async def test_what_strangers_ask_for_displaces_no_key_and_fills_no_memory() -> None:
    clock = Ticking()
    keys = made(clock)
    assert await fetched(keys, Answering(b"the key")) == "the key"
    for number in range(3 * MOST_KEPT):
        clock.now += 3
        await fetched(keys, Answering(NotVerified(Reason.KEY_UNUSABLE)), f"{URL}-{number}")
    assert got(keys) == "the key"
    assert sum(got(keys, f"{URL}-{number}") != "needed" for number in range(3 * MOST_KEPT)) < MOST_KEPT


@pytest.mark.anyio
async def test_keys_beyond_what_is_kept_displace_the_oldest() -> None:
    clock = Ticking()
    keys = made(clock)
    for number in range(MOST_KEPT + 1):
        clock.now += 3
        assert await fetched(keys, Answering(b"a key"), f"{URL}-{number}") == "a key"
    assert got(keys, f"{URL}-0") == "needed"
    assert got(keys, f"{URL}-1") == "a key"


@pytest.mark.anyio
async def test_one_that_stops_waiting_does_not_stop_it_for_the_others() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(_url: str) -> bytes:
        asked.set()
        await may_answer.wait()
        return b"the key"

    keys = made()
    impatient = asyncio.create_task(fetched(keys, slow))
    patient = asyncio.create_task(fetched(keys, slow))
    await asked.wait()
    impatient.cancel()
    may_answer.set()
    assert await patient == "the key"
    assert impatient.cancelled()


@pytest.mark.anyio
async def test_strangers_who_ask_for_much_do_not_keep_a_known_key_from_being_asked_for_again() -> None:
    clock, answering = Ticking(), Answering(b"old", b"new")
    keys = made(clock)
    assert await fetched(keys, answering) == "old"
    clock.now += KEPT
    for number in range(MOST_ASKED - RESERVED):
        await fetched(keys, Answering(NotVerified(Reason.KEY_UNUSABLE)), f"{URL}-{number}")
    assert await fetched(keys, answering) == "new"
