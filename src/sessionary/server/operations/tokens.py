"""Tokens: who may speak for which organisation, and with which scopes.

A token reads ``sny_<id>_<secret><check>``. The store keeps the id and the SHA-256 of the secret; the check lets a
mistyped token be refused without asking the store.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from sessionary.constants import NAME_LENGTH_MAX, ORGANISATION_LENGTH_MAX
from sessionary.errors import FieldError, UnavailableError
from sessionary.server.operations.validation import invalid
from sessionary.server.store.base import OPERATOR, Clock, Store, StoredToken

READ: Final = "sessions:read"
WRITE: Final = "sessions:write"
IMPORT: Final = "sessions:import"
"""Beside ``WRITE``: to say when sessions and messages were created. For moving conversations, not for daily use."""
SCOPES: Final = (READ, WRITE, IMPORT)
"""Every scope there is."""
DEFAULT_SCOPES: Final = (READ, WRITE)
"""What a token may do unless it is said otherwise: also the first one."""

_SECRET_BYTES: Final = 32
_FIRST_ID: Final = "0" * 20
_SHAPE: Final = re.compile(r"sny_([0-9a-f]{20})_([0-9a-f]{64})([0-9a-f]{8})")
# A shell passes bytes that are no UTF-8 on as lone surrogates.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class TokenMaker(Struct, frozen=True):
    """What making tokens takes: a store, a clock, a source of random bytes such as ``secrets.token_bytes``, and who.

    ``actor`` goes into the audit records.
    """

    store: Store
    clock: Clock
    random_bytes: Callable[[int], bytes]
    actor: str = OPERATOR


async def create_token(
    maker: TokenMaker,
    organisation: str | None,
    name: str,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    expires_at: int | None = None,
) -> tuple[StoredToken, str]:
    """Make a token for an organisation, or for all of them if None; answers it with its text, which is not kept.

    ``expires_at`` is in milliseconds since 1970. Raises InvalidRequestError.
    """
    now = maker.clock()
    _check(organisation, name, scopes, expires_at, now)
    secret = maker.random_bytes(_SECRET_BYTES).hex()
    token = StoredToken(
        id=f"{now:012x}{maker.random_bytes(4).hex()}",
        organisation=organisation,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        secret_hash=_hashed(secret),
        created_at=now,
        expires_at=expires_at,
    )
    await maker.store.create_token(token, maker.actor)
    return token, _text_of(token.id, secret)


async def create_first_token(maker: TokenMaker, organisation: str) -> str | None:
    """Make the first token of a store and answer its text; None if there is one, though made in this very moment."""
    if await maker.store.list_tokens(1):
        return None
    secret = maker.random_bytes(_SECRET_BYTES).hex()
    # Of several servers that start at once one makes it: a store keeps an id once.
    token = StoredToken(
        id=_FIRST_ID,
        organisation=organisation,
        name="first",
        scopes=DEFAULT_SCOPES,
        secret_hash=_hashed(secret),
        created_at=maker.clock(),
    )
    try:
        await maker.store.create_token(token, maker.actor)
    except UnavailableError:
        if await maker.store.list_tokens(1):
            return None
        raise
    return _text_of(token.id, secret)


async def list_tokens(store: Store, limit: int, after: str = "") -> list[StoredToken]:
    """Read at most ``limit`` tokens, oldest first, after the one with the id ``after``."""
    return await store.list_tokens(limit, after)


async def revoke_token(store: Store, token_id: str, actor: str = OPERATOR) -> StoredToken:
    """Revoke a token for good; raises TokenNotFoundError."""
    return await store.revoke_token(token_id, actor)


async def find_token(store: Store, text: str) -> StoredToken | None:
    """Find the token whose text this is; None if there is none. It may be revoked or expired."""
    parts = _SHAPE.fullmatch(text)
    if parts is None:
        return None
    token_id, secret, check = parts.groups()
    if check != _check_of(token_id, secret):
        return None
    token = await store.find_token(token_id)
    if token is None or not hmac.compare_digest(token.secret_hash, _hashed(secret)):
        return None
    return token


def is_good(token: StoredToken, now: int) -> bool:
    """Say whether a token is neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def _text_of(token_id: str, secret: str) -> str:
    return f"sny_{token_id}_{secret}{_check_of(token_id, secret)}"


def _check(organisation: str | None, name: str, scopes: Sequence[str], expires_at: int | None, now: int) -> None:
    field_errors = []
    if organisation is not None and not is_organisation(organisation):
        field_errors.append(
            FieldError(
                "/organisation",
                f"1 to {ORGANISATION_LENGTH_MAX} characters, none of them a control character.",
            )
        )
    if not 0 < len(name) <= NAME_LENGTH_MAX or _CONTROLS.search(name):
        field_errors.append(
            FieldError("/name", f"1 to {NAME_LENGTH_MAX} characters, none of them a control character.")
        )
    if not scopes or not set(scopes) <= set(SCOPES):
        field_errors.append(FieldError("/scopes", f"One or more of {', '.join(SCOPES)}."))
    if expires_at is not None and expires_at <= now:
        field_errors.append(FieldError("/expires_at", "It lies in the past."))
    if field_errors:
        raise invalid(field_errors)


def is_organisation(text: str) -> bool:
    """Say whether a text can name an organisation."""
    return 0 < len(text) <= ORGANISATION_LENGTH_MAX and not _CONTROLS.search(text)


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _check_of(token_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{token_id}{secret}'.encode()):08x}"
