"""Tokens: their format, what the store holds of them, and which values are valid."""

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
    TokenIssuer,
    create_token,
    find_token,
    is_active,
    is_valid_organisation,
)
from tests.conformance.builders import HOUR, ManualClock
from tests.reference import ReferenceStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def issuer(clock: ManualClock) -> TokenIssuer:
    return TokenIssuer(ReferenceStore(clock), clock, secrets.token_bytes)


async def test_a_token_is_found_by_its_text(issuer: TokenIssuer) -> None:
    token, text = await create_token(issuer, "demo", "laptop")
    assert re.fullmatch(r"sny_[0-9a-f]{20}_[0-9a-f]{72}", text)
    assert await find_token(issuer.store, text) == token
    assert (token.organisation, token.name, token.scopes) == ("demo", "laptop", DEFAULT_SCOPES)
    assert IMPORT not in DEFAULT_SCOPES


async def test_only_the_hash_of_a_secret_is_stored(issuer: TokenIssuer) -> None:
    token, text = await create_token(issuer, "demo", "laptop")
    secret = text.rpartition("_")[2][:64]
    assert token.secret_hash == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(token)
    assert bytes.fromhex(secret) not in token.secret_hash


async def test_every_token_has_its_own_secret(issuer: TokenIssuer) -> None:
    made = [await create_token(issuer, "demo", "same") for _ in range(100)]
    assert len({text.rpartition("_")[2] for _, text in made}) == 100
    assert len({token.id for token, _ in made}) == 100


@pytest.mark.parametrize("position", [0, 3, 4, 10, 24, 25, 60, 88, 89, 96])
async def test_a_token_with_one_wrong_character_is_not_found(issuer: TokenIssuer, position: int) -> None:
    _, text = await create_token(issuer, "demo", "laptop")
    other = "0" if text[position] != "0" else "1"
    assert await find_token(issuer.store, text[:position] + other + text[position + 1 :]) is None


async def test_a_secret_of_another_token_is_not_accepted(issuer: TokenIssuer) -> None:
    _, one = await create_token(issuer, "demo", "one")
    _, two = await create_token(issuer, "demo", "two")
    mixed = f"{one.rpartition('_')[0]}_{two.rpartition('_')[2]}"
    assert await find_token(issuer.store, mixed) is None


async def test_a_token_made_from_a_stolen_hash_is_not_accepted(issuer: TokenIssuer) -> None:
    """A database leak reveals ids and hashes; a token made of them is not accepted."""
    token, _ = await create_token(issuer, "demo", "laptop")
    secret = token.secret_hash.hex()
    forged = f"sny_{token.id}_{secret}{zlib.crc32(f'{token.id}{secret}'.encode()):08x}"
    assert await find_token(issuer.store, forged) is None


@pytest.mark.parametrize("text", ["", "sny_", "Bearer x", "sny_" + "0" * 20 + "_" + "0" * 72, "ß" * 97, "\0"])
async def test_text_without_the_form_of_a_token_is_not_found(issuer: TokenIssuer, text: str) -> None:
    assert await find_token(issuer.store, text) is None


async def test_a_token_is_active_until_it_expires(issuer: TokenIssuer, clock: ManualClock) -> None:
    token, _ = await create_token(issuer, "demo", "short", expires_at=clock() + HOUR)
    assert is_active(token, clock())
    assert is_active(token, clock() + HOUR - 1)
    assert not is_active(token, clock() + HOUR)


async def test_a_revoked_token_is_not_active(issuer: TokenIssuer, clock: ManualClock) -> None:
    token, text = await create_token(issuer, "demo", "lost")
    await issuer.store.revoke_token(token.id)
    found = await find_token(issuer.store, text)
    assert found is not None
    assert not is_active(found, clock())


async def test_tokens_are_listed_oldest_first(issuer: TokenIssuer, clock: ManualClock) -> None:
    made = []
    for number in range(5):
        made.append((await create_token(issuer, "demo", f"{number}"))[0])
        clock.move(1)
    assert await issuer.store.list_tokens(10) == made
    assert await issuer.store.list_tokens(2, made[1].id) == made[2:4]


@pytest.mark.parametrize(
    ("scopes", "stored"),
    [((IMPORT, WRITE, READ), SCOPES), ((WRITE, READ), (READ, WRITE)), ((READ,), (READ,)), ((WRITE, WRITE), (WRITE,))],
)
async def test_scopes_are_stored_once_and_in_order(
    issuer: TokenIssuer, scopes: Sequence[str], stored: Sequence[str]
) -> None:
    token, _ = await create_token(issuer, "demo", "laptop", scopes)
    assert token.scopes == stored


BAD = {
    "no organisation": {"organisation": ""},
    "a control character in the organisation": {"organisation": "a\nb"},
    "a C1 control character in the organisation": {"organisation": "a\x85b"},
    "bytes that are not UTF-8 in the organisation": {"organisation": "a\udcffb"},
    "too long an organisation": {"organisation": "x" * 129},
    "no name": {"name": ""},
    "a control character in the name": {"name": "\x7f"},
    "bytes that are not UTF-8 in the name": {"name": "\udcff"},
    "too long a name": {"name": "x" * 257},
    "no scope": {"scopes": ()},
    "an unknown scope": {"scopes": (READ, "sessions:own")},
    "an expiry now": {"expires_at": ManualClock()()},
    "an expiry before now": {"expires_at": 0},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD)
async def test_an_invalid_token_is_not_created(issuer: TokenIssuer, changed: dict[str, object]) -> None:
    arguments: dict[str, object] = {"organisation": "demo", "name": "laptop", **changed}
    with pytest.raises(InvalidRequestError) as refusal:
        await create_token(issuer, **arguments)  # type: ignore[arg-type]  # an invalid value is the point
    assert [error.pointer for error in refusal.value.field_errors] == [f"/{next(iter(changed))}"]
    assert await issuer.store.list_tokens(10) == []


async def test_all_errors_of_a_token_are_reported_at_once(issuer: TokenIssuer) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await create_token(issuer, "", "", (), 0)
    assert [error.pointer for error in refusal.value.field_errors] == [
        "/organisation",
        "/name",
        "/scopes",
        "/expires_at",
    ]


@pytest.mark.parametrize("name", ["x", "x" * 128, "Ünï cödé", "a/b", "emoji 🎈", "a\u200bb"])
def test_an_organisation_can_have_almost_any_name(name: str) -> None:
    assert is_valid_organisation(name)
