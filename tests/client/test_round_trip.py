"""Random valid structs go through a client to a server and come back equal."""

import secrets
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionary import Client, CreateSession, UpdateSession, constants
from tests.client.clients import Endpoint, make_client

TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES: Final = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
NUMBERS: Final = st.integers(constants.INTEGER_MIN, constants.INTEGER_MAX) | st.floats(
    allow_nan=False, allow_infinity=False
)


def _json(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | NUMBERS | texts,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
        max_leaves=6,
    )


PLAIN: Final = TEXTS.filter(lambda text: "\0" not in text)
METADATA: Final = st.dictionaries(PLAIN, _json(PLAIN), max_size=4)
CONTENTS: Final = TEXTS | st.lists(st.dictionaries(TEXTS, _json(TEXTS), max_size=2), max_size=2)


@st.composite
def _messages(draw: st.DrawFn) -> dict[str, Any]:
    more = draw(st.dictionaries(TEXTS, _json(TEXTS), max_size=3))
    for taken in ("created_at", "tool_calls"):
        more.pop(taken, None)
    role = draw(st.sampled_from(["system", "user", "assistant", "tool", "developer"]))
    return {**more, "role": role, "content": draw(CONTENTS)}


MESSAGES: Final = st.lists(_messages(), max_size=4)
CREATIONS: Final = st.builds(
    CreateSession,
    user_id=NAMES,
    session_group=st.none() | NAMES,
    metadata=st.none() | METADATA,
    expiration_minutes=st.none() | st.integers(constants.EXPIRATION_MINUTES_MIN, constants.EXPIRATION_MINUTES_MAX),
    initial_messages=st.none() | MESSAGES,
    title=st.none() | NAMES,
    model=st.none() | NAMES,
)
UPDATES: Final = st.builds(
    UpdateSession,
    new_messages=st.none() | MESSAGES,
    tokens_used=st.none() | st.integers(0, 1_000_000),
    status=st.none() | st.sampled_from(["active", "completed"]),
    metadata=st.none() | METADATA,
    title=st.none() | NAMES,
    model=st.none() | NAMES,
)


@pytest.fixture(scope="module")
def shared(our_endpoint: Endpoint) -> Iterator[Client]:
    with make_client("blocking", our_endpoint.url, token=our_endpoint.token) as client:
        yield client


def _merged(*given: dict[str, Any] | None) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for members in given:
        merged.update(members or {})
    return {name: value for name, value in merged.items() if value is not None}


def _as_sent(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "created_at"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(creation=CREATIONS, update=UPDATES)
def test_what_is_sent_comes_back_equal(shared: Client, creation: CreateSession, update: UpdateSession) -> None:
    organisation = secrets.token_hex(8)
    created = shared.create_session(**msgspec.structs.asdict(creation), organisation=organisation)
    updated = shared.update_session(created.session_id, **msgspec.structs.asdict(update), organisation=organisation)
    session = shared.get_session(created.session_id, organisation=organisation)
    (listed,) = shared.iterate_sessions(organisation=organisation)

    messages = [*(creation.initial_messages or ()), *(update.new_messages or ())]
    assert [_as_sent(message) for message in session.messages] == messages
    assert repr([_as_sent(message) for message in session.messages]) == repr(messages), "1 is not 1.0, nor 0.0 -0.0"
    assert session.metadata == _merged(creation.metadata, update.metadata)
    assert (session.user_id, session.session_group) == (creation.user_id, creation.session_group)
    assert session.status == updated.status == (update.status or "active")
    assert session.total_messages == updated.total_messages == len(messages)
    assert session.total_tokens == updated.total_tokens == (update.tokens_used or 0)
    assert update.title is None or session.title == update.title
    assert update.model is None or session.model == update.model
    assert session.updated_at == updated.updated_at
    for name in listed.__struct_fields__:
        assert getattr(listed, name) == getattr(session, name)
    windows = shared.iterate_messages(created.session_id, window_limit=2, organisation=organisation)
    assert list(windows) == session.messages
