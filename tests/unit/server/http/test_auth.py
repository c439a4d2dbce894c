"""Token lookups: shared by concurrent requests, batched for different tokens, and cached for seconds."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping

import pytest

from sessionary.errors import AuthenticationError, StoreUnavailableError
from sessionary.server.http.auth import CACHE_SECONDS, Authenticator
from sessionary.server.operations.token_uses import TokenUses
from sessionary.server.operations.tokens import TokenIssuer, create_token
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import CommandBuilder, ManualClock
from tests.harness.proxy import Proxy
from tests.reference import ReferenceStore
from tests.unit.server.operations.test_rate_limiter import HandTimer
from tests.unit.server.store.postgres.stores import opened

EXECUTE = b"E\0\0\0\x09\0"
COUNT = 64


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def proxy(postgres_database: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres_database) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: Proxy, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    async with opened(proxy.url, clock) as store:
        yield store


async def headers_of_new_tokens(store: PostgresStore, clock: ManualClock, count: int) -> list[bytes]:
    maker = TokenIssuer(store, clock, secrets.token_bytes)
    made = [await create_token(maker, "demo", "ci") for _ in range(count)]
    return [b"Bearer " + text.encode() for _, text in made]


async def test_concurrent_requests_with_one_token_share_a_lookup(
    store: PostgresStore, clock: ManualClock, proxy: Proxy
) -> None:
    (header,) = await headers_of_new_tokens(store, clock, 1)
    timer = HandTimer()
    authenticator = Authenticator(store, clock, TokenUses(), timer)
    await authenticator.authenticate(header)
    timer.now += CACHE_SECONDS
    proxy.sent.clear()

    found = await asyncio.gather(*(authenticator.authenticate(header) for _ in range(COUNT)))

    assert len({token.id for token in found}) == 1
    assert proxy.sent.count(EXECUTE) == 1


async def test_many_tokens_are_looked_up_together(store: PostgresStore, clock: ManualClock, proxy: Proxy) -> None:
    headers = await headers_of_new_tokens(store, clock, COUNT)
    timer = HandTimer()
    authenticator = Authenticator(store, clock, TokenUses(), timer)
    await authenticator.authenticate(headers[0])
    timer.now += CACHE_SECONDS
    proxy.sent.clear()

    found = await asyncio.gather(*map(authenticator.authenticate, headers))

    assert len({token.id for token in found}) == COUNT
    assert proxy.sent.count(EXECUTE) <= 2


async def test_a_cancelled_request_does_not_cancel_the_lookup_of_others(
    store: PostgresStore, clock: ManualClock
) -> None:
    (header,) = await headers_of_new_tokens(store, clock, 1)
    authenticator = Authenticator(store, clock, TokenUses())
    first, second = (asyncio.ensure_future(authenticator.authenticate(header)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    token = await second

    assert first.cancelled()
    assert token.name == "ci"


async def test_a_revoked_token_is_valid_for_five_seconds_at_most_while_the_clock_stands_still(
    store: PostgresStore, clock: ManualClock
) -> None:
    (header,) = await headers_of_new_tokens(store, clock, 1)
    timer = HandTimer()
    authenticator = Authenticator(store, clock, TokenUses(), timer)
    token = await authenticator.authenticate(header)
    await store.revoke_token(token.id)

    timer.now += CACHE_SECONDS - 0.1
    await authenticator.authenticate(header)
    timer.now += 0.1

    with pytest.raises(AuthenticationError):
        await authenticator.authenticate(header)


async def test_the_use_of_a_valid_token_is_recorded_at_lookup_and_written_once(
    store: PostgresStore, clock: ManualClock, proxy: Proxy
) -> None:
    good, revoked = await headers_of_new_tokens(store, clock, 2)
    uses = TokenUses()
    authenticator = Authenticator(store, clock, uses)
    (first, second) = await store.list_tokens(2)
    by_header = {good: first, revoked: second}
    if first.secret_hash != hashlib.sha256(good[-72:-8]).digest():
        by_header = {good: second, revoked: first}
    await store.revoke_token(by_header[revoked].id)
    clock.move(1_000)

    await authenticator.authenticate(good)
    with pytest.raises(AuthenticationError):
        await authenticator.authenticate(revoked)
    proxy.sent.clear()
    await uses.flush(store)
    await uses.flush(store)

    assert proxy.sent.count(EXECUTE) == 1, "nothing is written where nothing was used"
    kept = {token.id: token.last_used_at for token in await store.list_tokens(2)}
    assert kept == {by_header[good].id: clock.now, by_header[revoked].id: None}


async def test_uses_that_could_not_be_written_are_written_the_next_time(clock: ManualClock) -> None:
    class Away(ReferenceStore):
        away = True

        async def note_token_uses(self, used_at: Mapping[str, int]) -> None:
            if self.away:
                raise StoreUnavailableError
            await super().note_token_uses(used_at)

    store, uses = Away(clock), TokenUses()
    await store.create_token(CommandBuilder(clock).token("t1"))
    uses.record("t1", 5)
    with pytest.raises(StoreUnavailableError):
        await uses.flush(store)
    store.away = False
    uses.record("unknown", 7)

    await uses.flush(store)

    assert [token.last_used_at for token in await store.list_tokens(9)] == [5]
