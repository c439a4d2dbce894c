"""A client needs no network where the application runs in the same process."""

import secrets
from pathlib import Path

import httpx2

from sessionary import AsyncClient
from sessionary.constants import EXPIRY_HORIZON_DAYS_DEFAULT, MILLISECONDS_PER_DAY
from sessionary.server.clock import request_ids, steady_clock
from sessionary.server.http.application import Application
from sessionary.server.operations.context import Service
from sessionary.server.operations.session_ids import SessionIdGenerator
from sessionary.server.operations.tokens import TokenIssuer, create_token
from sessionary.server.store.opening import migrate, open_store


async def test_an_application_is_called_in_process(tmp_path: Path) -> None:
    database, clock = f"sqlite:///{tmp_path}/store.db", steady_clock()
    await migrate(database, clock())
    store = await open_store(database, clock)
    service = Service(
        store=store,
        clock=clock,
        session_ids=SessionIdGenerator(clock, secrets.randbits),
        expiry_horizon=EXPIRY_HORIZON_DAYS_DEFAULT * MILLISECONDS_PER_DAY,
    )
    _, token = await create_token(TokenIssuer(store, clock, secrets.token_bytes), "acme", "test")
    application = Application(service, request_ids=request_ids(), on_response=lambda _: None)
    transport = httpx2.ASGITransport(application)
    try:
        async with AsyncClient("http://app", token=token, organisation="acme", transport=transport) as client:
            created = await client.create_session("someone")
            assert [item.id async for item in client.iterate_sessions()] == [created.session_id]
    finally:
        await store.close()
