"""Isolation: every route with every kind of token and every kind of id, and the response that the contract demands.

A route without a row here fails, and so does a kind of place that this table does not know.
"""

import asyncio
import secrets
import time
from typing import Any, Final

import pytest
from msgspec import Struct

from sessionary.server.http.paths import COLLECTION, EXTENSION, SESSION
from sessionary.server.http.routes import ROUTES, Route
from sessionary.server.operations.tokens import READ, SCOPES, TokenIssuer, create_token
from sessionary.server.store.opening import open_store
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id

# The body that each operation is sent: something that would have an effect if it were allowed.
BODIES: Final[dict[str, Any]] = {
    "create_session": {"userId": "intruder", "initialMessages": [message("planted")]},
    "list_sessions": None,
    "get_session": None,
    "update_session": {"newMessages": [message("planted")], "tokensUsed": 1, "metadata": {"planted": True}},
    "extend_session": {"additionalMinutes": 5},
    "delete_session": None,
}

UNAUTHENTICATED = ("none", "malformed", "altered", "revoked", "expired")
AUTHENTICATED = ("own", "operator", "read-only", "other organisation's")
IDS = ("own", "other organisation's", "unknown", "no UUID")

# The parts that differ between two responses to the same request, whoever sends it.
PASSING = {"date", "x-request-id"}


class World(Struct):
    """Two organisations, and every kind of token."""

    port: int
    mine: str
    theirs: str
    tokens: dict[str, str | None]

    def caller(self, token: str, organisation: str | None = None) -> Caller:
        return Caller(self.port, self.tokens[token], organisation or self.mine)


@pytest.fixture(scope="module")
def world(server: ServerProcess) -> World:
    mine, theirs = f"mine-{secrets.token_hex(8)}", f"theirs-{secrets.token_hex(8)}"
    tokens = asyncio.run(_tokens(server.database, mine, theirs))
    assert tokens.keys() == {*UNAUTHENTICATED, *AUTHENTICATED}
    return World(server.port, mine, theirs, tokens)


async def _tokens(database: str, mine: str, theirs: str) -> dict[str, str | None]:
    """Make every kind of token; the clock is an hour slow, so that one of them has expired since."""
    an_hour_ago = int(time.time() * 1000) - 3_600_000
    store = await open_store(database, lambda: an_hour_ago, shared=True)
    maker = TokenIssuer(store, lambda: an_hour_ago, secrets.token_bytes)
    try:
        _, own = await create_token(maker, mine, "own")
        _, operator = await create_token(maker, None, "operator")
        _, reading = await create_token(maker, mine, "reading", [READ])
        _, other = await create_token(maker, theirs, "other")
        _, expired = await create_token(maker, mine, "expired", SCOPES, an_hour_ago + 1)
        made, revoked = await create_token(maker, mine, "revoked")
        await store.revoke_token(made.id)
    finally:
        await store.close()
    return {
        "none": None,
        "malformed": "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "altered": own[:-9] + ("0" if own[-9] != "0" else "1") + own[-8:],
        "revoked": revoked,
        "expired": expired,
        "own": own,
        "operator": operator,
        "read-only": reading,
        "other organisation's": other,
    }


def expected(route: Route, token: str, session_id: str | None) -> int:
    """Return the status that the contract demands."""
    if token in UNAUTHENTICATED:
        return 401
    if token == "other organisation's" or (token == "read-only" and route.scope != READ):
        return 403
    return route.status if session_id in {None, "own"} else 404


def path_of(route: Route, caller: Caller, session_id: str | None) -> str:
    match route.path:
        case _ if route.path == COLLECTION:
            return caller.sessions
        case _ if route.path == SESSION:
            return f"{caller.sessions}/{session_id}"
        case _ if route.path == EXTENSION:
            return f"{caller.sessions}/{session_id}/extend"
        case _:
            raise AssertionError(f"{route.name}: {route.path} is in no row")


def send(route: Route, caller: Caller, session_id: str | None) -> Response:
    body = BODIES[route.name]
    path = path_of(route, caller, session_id)
    return caller.send(route.method, path, None if body is None else as_json(body), {} if body is None else JSON)


def lasting(response: Response) -> tuple[int, bytes, dict[str, str]]:
    """Return the parts of a response that must be equal, byte for byte."""
    return response.status, response.body, {name: response.headers[name] for name in response.headers.keys() - PASSING}


def rows() -> list[Any]:
    return [
        pytest.param(route, token, session_id, id=f"{route.name}, {token} token, {session_id or 'no'} id")
        for route in ROUTES
        for token in (*UNAUTHENTICATED, *AUTHENTICATED)
        for session_id in (IDS if "{" in route.path else (None,))
    ]


@pytest.mark.parametrize(("route", "token", "session_id"), rows())
def test_every_route_responds_to_every_token_and_id_as_the_contract_says(
    world: World, route: Route, token: str, session_id: str | None
) -> None:
    with (
        world.caller("own") as me,
        world.caller("other organisation's", world.theirs) as they,
        world.caller(token) as intruder,
    ):
        ids = {
            "own": me.new_session(),
            "other organisation's": they.new_session(),
            "unknown": unknown_id(),
            "no UUID": "session-1",
        }
        before = me.read(ids["own"]), they.read(ids["other organisation's"]), they.list().body
        response = send(route, intruder, ids.get(session_id or ""))
        assert response.status == expected(route, token, session_id)
        if response.status >= 400:
            assert response.problem["status"] == response.status
            assert ("www-authenticate" in response.headers) == (response.status == 401)
            assert me.read(ids["own"]) == before[0]
        assert they.read(ids["other organisation's"]) == before[1]
        assert they.list().body == before[2]


@pytest.mark.parametrize("route", [route for route in ROUTES if "{" in route.path], ids=lambda route: route.name)
@pytest.mark.parametrize("token", [*UNAUTHENTICATED, *AUTHENTICATED])
def test_another_organisations_session_looks_like_one_that_never_existed(
    world: World, route: Route, token: str
) -> None:
    with world.caller("other organisation's", world.theirs) as they, world.caller(token) as intruder:
        session_id = they.new_session(initialMessages=[message("a secret")], metadata={"a": "secret"})
        theirs = lasting(send(route, intruder, session_id))
        assert theirs == lasting(send(route, intruder, unknown_id()))
        assert theirs == lasting(send(route, intruder, "session-1"))
        assert theirs == lasting(send(route, intruder, session_id.upper()))
        assert they.delete(session_id).status == 200
        assert theirs == lasting(send(route, intruder, session_id))


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET"], ids=lambda route: route.name)
@pytest.mark.parametrize("token", [*UNAUTHENTICATED, *AUTHENTICATED])
def test_head_is_as_isolated_as_get(world: World, route: Route, token: str) -> None:
    with world.caller("own") as me, world.caller(token) as intruder:
        path = path_of(route, intruder, me.new_session())
        head, get = intruder.send("HEAD", path), intruder.send("GET", path)
        assert (head.status, head.body) == (get.status, b"")
        assert lasting(head)[2] == lasting(get)[2]


@pytest.mark.parametrize("token", UNAUTHENTICATED)
def test_no_error_reveals_why_a_token_is_invalid(world: World, token: str) -> None:
    with world.caller("none") as nobody, world.caller(token) as intruder:
        assert lasting(intruder.list()) == lasting(nobody.list())


def test_a_list_contains_no_other_organisations_sessions(world: World) -> None:
    with world.caller("own") as me, world.caller("other organisation's", world.theirs) as they:
        mine, theirs = me.new_session(userId="same"), they.new_session(userId="same")
        my_ids = [session["id"] for session in me.list("?userId=same").json]
        their_ids = [session["id"] for session in they.list("?userId=same").json]
        assert mine in my_ids
        assert theirs in their_ids
        assert not set(my_ids) & set(their_ids)


def test_an_operators_token_sees_one_organisation_at_a_time(world: World) -> None:
    with world.caller("own") as me, world.caller("operator", world.theirs) as operator:
        session_id = me.new_session()
        assert operator.get(session_id).error == (404, "SESSION_NOT_FOUND")
        assert session_id not in [session["id"] for session in operator.list("?limit=100").json]
    with world.caller("operator") as operator:
        assert operator.get(session_id).status == 200


def test_a_revoked_token_is_refused_within_five_seconds(server: ServerProcess, world: World) -> None:
    made = server.create_token_object(world.mine)
    with Caller(server.port, made["token"], world.mine) as caller:
        assert caller.list().status == 200
        revoked = run_sessionary("tokens", "revoke", made["id"], "--database", server.database)
        assert revoked.returncode == 0, revoked.stderr
        died_by = time.monotonic() + 5.2
        while caller.list().status == 200:
            assert time.monotonic() < died_by
            time.sleep(0.1)
        assert caller.list().error == (401, "UNAUTHENTICATED")


def test_every_route_is_in_the_table_of_expectations() -> None:
    assert BODIES.keys() == {route.name for route in ROUTES}
    assert {route.path for route in ROUTES} == {COLLECTION, SESSION, EXTENSION}
