"""Invalid tokens cost one indexed look-up each, and bounded memory."""

import asyncio
import hashlib
import resource
import secrets
import zlib
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionary.server.http.application import Application
from sessionary.server.operations.context import Service
from sessionary.server.operations.limits import Limits, RateLimit
from sessionary.server.operations.rate_limiter import RateLimiter
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.tokens import TokenIssuer, create_token
from sessionary.server.store.queries import read_queries
from sessionary.server.store.sqlite.migrations import migrate
from sessionary.server.store.sqlite.store import SqliteStore
from tests.conformance.builders import START_TIME, ManualClock
from tests.unit.server.operations.test_rate_limiter import HandTimer

TOKENS = 100_000
AT_ONCE = 100
MEBIBYTE = 1024 * 1024
PATH = b"/api/v3/organizations/acme/ai/sessions"


class CountingStore(SqliteStore):
    """A store that counts its look-ups of tokens."""

    look_ups = 0

    async def find_token(self, token_id: str) -> Any:
        """Count the call."""
        self.look_ups += 1
        return await super().find_token(token_id)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    migrate(tmp_path / "store.db", START_TIME)
    store = await CountingStore.open(tmp_path / "store.db", ManualClock(), 10.0)
    yield store
    await store.close()


def application_on(store: SqliteStore) -> Application:
    clock = ManualClock()
    limits = Limits(organisation_rate=RateLimit(requests_per_second=1e6), token_rate=RateLimit(requests_per_second=1e6))
    service = Service(
        store=store,
        clock=clock,
        session_ids=SessionIdGenerator(clock, secrets.randbits),
        expiry_horizon=0,
        rate_limiter=RateLimiter(limits, HandTimer()),
    )
    return Application(service, request_ids=lambda: "id", on_response=lambda _: None)


async def status_of(application: Application, token: str) -> int:
    """List the sessions of acme with a token."""
    statuses: list[int] = []

    async def send(event: MutableMapping[str, Any]) -> None:
        statuses.append(event.get("status", 0))

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("a list has no body")

    headers = [(b"authorization", b"Bearer " + token.encode())]
    scope = {"type": "http", "method": "GET", "raw_path": PATH, "query_string": b"", "headers": headers}
    await application(scope, receive, send)
    return statuses[0]


def invalid_token(number: int) -> str:
    """Return a token with a valid checksum that is not in the store."""
    token_id, secret = f"{number:020x}", hashlib.sha256(b"%d" % number).hexdigest()
    return f"sny_{token_id}_{secret}{zlib.crc32(f'{token_id}{secret}'.encode()):08x}"


def memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.slow
async def test_a_hundred_thousand_invalid_tokens_cost_a_look_up_each_and_bounded_memory(store: CountingStore) -> None:
    application = application_on(store)
    _, good = await create_token(TokenIssuer(store, ManualClock(), secrets.token_bytes), "acme", "good")
    assert await status_of(application, good) == 200
    store.look_ups = 0
    before = memory_bytes()

    statuses: Counter[int] = Counter()
    for first in range(0, TOKENS, AT_ONCE):
        calls = (status_of(application, invalid_token(number)) for number in range(first, first + AT_ONCE))
        statuses.update(await asyncio.gather(*calls))

    assert statuses == {401: TOKENS}
    assert store.look_ups == TOKENS
    assert memory_bytes() - before < 50 * MEBIBYTE
    assert await status_of(application, good) == 200


async def test_a_token_of_the_wrong_form_is_never_looked_up(store: CountingStore) -> None:
    application = application_on(store)

    for number in range(100):
        assert await status_of(application, f"sny_{number:020x}_{'0' * 72}") == 401

    assert store.look_ups == 0


def test_a_look_up_reads_one_row_by_its_index(tmp_path: Path) -> None:
    migrate(tmp_path / "store.db", START_TIME)
    file = apsw.Connection(str(tmp_path / "store.db"))
    plan = [row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {read_queries('sqlite')['find_tokens']}", {"id": "a"})]
    file.close()

    assert len(plan) == 1
    assert "USING INDEX" in plan[0]
    assert "id=?" in plan[0]
