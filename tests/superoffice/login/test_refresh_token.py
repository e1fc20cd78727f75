"""A refresh token that the service gave is used from then on, and nobody can read it where it is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import StoreUnavailable
from bridge.settings.secrets import FileText, Secret
from bridge.superoffice.login.refresh_token import RefreshToken

pytestmark = pytest.mark.anyio


class Shelf:
    """Keeps one token, or fails to."""

    def __init__(self) -> None:
        self.sealed: bytes | None = None
        self.broken = False

    async def load(self) -> bytes | None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        return self.sealed

    async def save(self, sealed: bytes) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is full")
        self.sealed = sealed


def token_of(shelf: Shelf, configured: str = "first", client_id: str = "app") -> RefreshToken:
    token = RefreshToken(Secret(configured), client_id)
    token.token_store = shelf
    return token


async def test_without_another_one_the_configured_token_is_used() -> None:
    assert await token_of(Shelf()).current() == "first"


async def test_another_one_outlives_the_process() -> None:
    shelf = Shelf()
    await token_of(shelf).replace("second")
    assert await token_of(shelf).current() == "second"
    await token_of(shelf).replace("third")
    assert await token_of(shelf).current() == "third"


async def test_what_is_kept_says_nothing_of_any_token() -> None:
    shelf = Shelf()
    await token_of(shelf).replace("second")
    assert shelf.sealed is not None
    assert b"second" not in shelf.sealed
    assert b"first" not in shelf.sealed
    again = Shelf()
    await token_of(again).replace("second")
    assert again.sealed != shelf.sealed  # nor whether two are the same


@pytest.mark.parametrize(("configured", "client_id"), [("another", "app"), ("first", "another")])
async def test_another_token_in_the_configuration_replaces_what_is_kept(configured: str, client_id: str) -> None:
    shelf = Shelf()
    await token_of(shelf).replace("second")
    assert await token_of(shelf, configured, client_id).current() == configured


async def test_a_file_that_is_changed_replaces_what_is_kept_at_once() -> None:
    text = "first"
    token = RefreshToken(Secret(FileText(lambda: text)), "app")
    token.token_store = Shelf()
    await token.replace("second")
    assert await token.current() == "second"
    text = "corrected"
    assert await token.current() == "corrected"


async def test_what_cannot_be_kept_is_used_all_the_same_and_kept_later() -> None:
    shelf = Shelf()
    shelf.broken = True
    token = token_of(shelf)
    with pytest.raises(StoreUnavailable):
        await token.replace("second")
    assert await token.current() == "second"
    with pytest.raises(StoreUnavailable):
        await token.save()
    shelf.broken = False
    await token.save()
    assert await token_of(shelf).current() == "second"


async def test_a_store_that_fails_is_not_taken_for_one_that_keeps_nothing() -> None:
    shelf = Shelf()
    await token_of(shelf).replace("second")
    shelf.broken = True
    with pytest.raises(StoreUnavailable):
        await token_of(shelf).current()


@given(st.binary())
async def test_whatever_is_kept_that_we_did_not_seal_the_configured_token_is_used(sealed: bytes) -> None:
    shelf = Shelf()
    shelf.sealed = sealed
    assert await token_of(shelf).current() == "first"
