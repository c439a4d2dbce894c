"""Tokens: their text, what is kept of it, and who may have which."""

import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence

import pytest

from sessionary.errors import InvalidRequestError
from sessionary.server.operations.tokens import (
    DEFAULT_SCOPES,
    IMPORT,
    READ,
    SCOPES,
    WRITE,
    TokenMaker,
    create_token,
    find_token,
    is_good,
    is_organisation,
    list_tokens,
    revoke_token,
)
from tests.conformance.making import HOUR, HandClock
from tests.reference import ReferenceStore


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def maker(clock: HandClock) -> TokenMaker:
    return TokenMaker(ReferenceStore(clock), clock, secrets.token_bytes)


async def test_a_token_is_found_by_its_text(maker: TokenMaker) -> None:
    token, text = await create_token(maker, "demo", "laptop")
    assert re.fullmatch(r"sny_[0-9a-f]{20}_[0-9a-f]{72}", text)
    assert await find_token(maker.store, text) == token
    assert (token.organisation, token.name, token.scopes) == ("demo", "laptop", DEFAULT_SCOPES)
    assert IMPORT not in DEFAULT_SCOPES


async def test_of_a_tokens_secret_only_the_hash_is_kept(maker: TokenMaker) -> None:
    token, text = await create_token(maker, "demo", "laptop")
    secret = text.rpartition("_")[2][:64]
    assert token.secret_hash == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(token)
    assert bytes.fromhex(secret) not in token.secret_hash


async def test_every_token_has_a_secret_of_its_own(maker: TokenMaker) -> None:
    made = [await create_token(maker, "demo", "same") for _ in range(100)]
    assert len({text.rpartition("_")[2] for _, text in made}) == 100
    assert len({token.id for token, _ in made}) == 100


@pytest.mark.parametrize("place", [0, 3, 4, 10, 24, 25, 60, 88, 89, 96])
async def test_a_token_with_one_wrong_character_is_no_token(maker: TokenMaker, place: int) -> None:
    _, text = await create_token(maker, "demo", "laptop")
    other = "0" if text[place] != "0" else "1"
    assert await find_token(maker.store, text[:place] + other + text[place + 1 :]) is None


async def test_a_secret_with_its_own_check_but_of_another_token_is_no_token(maker: TokenMaker) -> None:
    _, one = await create_token(maker, "demo", "one")
    _, two = await create_token(maker, "demo", "two")
    mixed = f"{one.rpartition('_')[0]}_{two.rpartition('_')[2]}"
    assert await find_token(maker.store, mixed) is None


async def test_a_stolen_hash_opens_nothing(maker: TokenMaker) -> None:
    """Who reads the database knows ids and hashes; a token made of them is checked and refused."""
    token, _ = await create_token(maker, "demo", "laptop")
    secret = token.secret_hash.hex()
    forged = f"sny_{token.id}_{secret}{zlib.crc32(f'{token.id}{secret}'.encode()):08x}"
    assert await find_token(maker.store, forged) is None


@pytest.mark.parametrize("text", ["", "sny_", "Bearer x", "sny_" + "0" * 20 + "_" + "0" * 72, "ß" * 97, "\0"])
async def test_what_does_not_look_like_a_token_is_none(maker: TokenMaker, text: str) -> None:
    assert await find_token(maker.store, text) is None


async def test_a_token_is_good_until_the_instant_it_expires(maker: TokenMaker, clock: HandClock) -> None:
    token, _ = await create_token(maker, "demo", "short", expires_at=clock() + HOUR)
    assert is_good(token, clock())
    assert is_good(token, clock() + HOUR - 1)
    assert not is_good(token, clock() + HOUR)


async def test_a_revoked_token_is_never_good_again(maker: TokenMaker, clock: HandClock) -> None:
    token, text = await create_token(maker, "demo", "lost")
    await revoke_token(maker.store, token.id)
    found = await find_token(maker.store, text)
    assert found is not None
    assert not is_good(found, clock())


async def test_tokens_are_listed_oldest_first(maker: TokenMaker, clock: HandClock) -> None:
    made = []
    for number in range(5):
        made.append((await create_token(maker, "demo", f"{number}"))[0])
        clock.move(1)
    assert await list_tokens(maker.store, 10) == made
    assert await list_tokens(maker.store, 2, made[1].id) == made[2:4]


@pytest.mark.parametrize(
    ("scopes", "kept"),
    [((IMPORT, WRITE, READ), SCOPES), ((WRITE, READ), (READ, WRITE)), ((READ,), (READ,)), ((WRITE, WRITE), (WRITE,))],
)
async def test_scopes_are_kept_once_and_in_order(maker: TokenMaker, scopes: Sequence[str], kept: Sequence[str]) -> None:
    token, _ = await create_token(maker, "demo", "laptop", scopes)
    assert token.scopes == kept


BAD = {
    "no organisation": {"organisation": ""},
    "a control character in the organisation": {"organisation": "a\nb"},
    "a C1 control character in the organisation": {"organisation": "a\x85b"},
    "bytes that are no text in the organisation": {"organisation": "a\udcffb"},
    "too long an organisation": {"organisation": "x" * 129},
    "no name": {"name": ""},
    "a control character in the name": {"name": "\x7f"},
    "bytes that are no text in the name": {"name": "\udcff"},
    "too long a name": {"name": "x" * 257},
    "no scope": {"scopes": ()},
    "an unknown scope": {"scopes": (READ, "sessions:own")},
    "an expiry now": {"expires_at": HandClock()()},
    "an expiry before now": {"expires_at": 0},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
async def test_a_token_that_is_refused_is_not_made(maker: TokenMaker, changed: dict[str, object]) -> None:
    asked: dict[str, object] = {"organisation": "demo", "name": "laptop", **changed}
    with pytest.raises(InvalidRequestError) as refusal:
        await create_token(maker, **asked)  # type: ignore[arg-type]  # a bad one is the point
    assert [fault.pointer for fault in refusal.value.field_errors] == [f"/{next(iter(changed))}"]
    assert await list_tokens(maker.store, 10) == []


async def test_everything_wrong_with_a_token_is_told_at_once(maker: TokenMaker) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await create_token(maker, "", "", (), 0)
    assert [fault.pointer for fault in refusal.value.field_errors] == [
        "/organisation",
        "/name",
        "/scopes",
        "/expires_at",
    ]


@pytest.mark.parametrize("name", ["x", "x" * 128, "Ünï cödé", "a/b", "emoji 🎈", "a\u200bb"])
def test_an_organisation_may_be_called_almost_anything(name: str) -> None:
    assert is_organisation(name)
