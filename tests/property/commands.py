"""What the properties are tried on: descriptions of commands, made into commands as the scenario goes on.

A description says "the third session, with the right version"; which session and which version that is depends on
what happened before, and is looked up when the command is made.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from hypothesis import strategies as st

from sessionary.models import Status
from sessionary.server.store.base import Command, Create, Delete, Extend, IdempotencyKey, Outcome, Update, Versions
from tests.conformance.builders import DAY, HOUR, MINUTE, Ids, ManualClock, encode_message, first_user_text
from tests.reference import ReferenceStore

ORGANISATIONS = ("demo", "Demo", "other")
USERS = ("ada", "bob", "Ada")
GROUPS = (None, "web", "app")
MODELS = (None, "small", "large")
INT32_MAX = 2_147_483_647

WhichVersion = Literal["any", "right", "older", "newer", "several"]


@dataclass(frozen=True)
class Draft:
    """What every description says: which organisation and session, and under which conditions."""

    organisation: int
    session: int
    stray: bool
    foreign: bool
    idempotency_key: IdempotencyKey | None
    version: WhichVersion
    unless: WhichVersion | Literal["*"]


@dataclass(frozen=True)
class CreateDraft(Draft):
    """Create a session; one whose id was used before, if there is one and `reuse` says so."""

    reuse: bool
    user_id: str
    session_group: str | None
    title: str | None
    model: str | None
    metadata: Mapping[str, Any]
    minutes: int
    messages: tuple[dict[str, Any], ...]
    ages: tuple[int | None, ...]
    imported: int | None


@dataclass(frozen=True)
class UpdateDraft(Draft):
    """Update a session."""

    messages: tuple[dict[str, Any], ...] | None
    ages: tuple[int | None, ...]
    tokens_used: int | None
    status: Status | None
    metadata: Mapping[str, Any] | None
    title: str | None
    model: str | None


@dataclass(frozen=True)
class ExtendDraft(Draft):
    """Extend a session, as far as the horizon, or a millisecond beyond it."""

    minutes: int
    horizon: int | Literal["reached", "passed"]


@dataclass(frozen=True)
class DeleteDraft(Draft):
    """Delete a session."""


class Scenario:
    """Makes commands from drafts, and applies them to the reference for the expected outcomes."""

    def __init__(self, clock: ManualClock, ids: Ids) -> None:
        self.clock = clock
        self.ids = ids
        self.reference = ReferenceStore(clock)
        self.sessions: list[tuple[str, str]] = []

    async def apply_to_reference(self, described: Sequence[Draft]) -> tuple[list[Command], list[Outcome]]:
        """Make commands, each from the state after the ones before it, and apply them to the reference."""
        commands: list[Command] = []
        outcomes: list[Outcome] = []
        for given in described:
            command = self._command(given)
            commands.append(command)
            outcomes.append(await self.reference.apply(command))
        return commands, outcomes

    def repeated(self, command: Command) -> Command:
        """Make the same command once more; a creation names a new session, as the service would."""
        if not isinstance(command, Create):
            return command
        session_id = self.ids.next(self.clock())
        self.sessions.append((command.organisation, session_id))
        return msgspec.structs.replace(command, session_id=session_id, created_at=self.clock())

    def _command(self, given: Draft) -> Command:
        if isinstance(given, CreateDraft):
            return self._create(given)
        organisation, session_id = self._session(given)
        common: dict[str, Any] = {
            "organisation": organisation,
            "session_id": session_id,
            "idempotency_key": given.idempotency_key,
            "if_version": self._version(given.version, organisation, session_id),
            "unless_version": self._unless(given.unless, organisation, session_id),
        }
        match given:
            case UpdateDraft():
                messages = given.messages
                return Update(
                    **common,
                    messages=None if messages is None else tuple(map(encode_message, messages)),
                    message_times=self._times(given.ages, messages or ()),
                    first_user_text=first_user_text(messages or ()),
                    tokens_used=given.tokens_used,
                    status=given.status,
                    metadata=given.metadata,
                    title=given.title,
                    model=given.model,
                )
            case ExtendDraft():
                return Extend(**common, minutes=given.minutes, horizon=self._horizon(given, organisation, session_id))
            case _:
                return Delete(**common)

    def _create(self, given: CreateDraft) -> Create:
        organisation = ORGANISATIONS[given.organisation]
        created_at = self.clock() - (given.imported or 0)
        create = Create(
            organisation=organisation,
            session_id=self.ids.next(created_at),
            created_at=created_at,
            imported_at=None if given.imported is None else self.clock(),
            user_id=given.user_id,
            session_group=given.session_group,
            title=given.title,
            model=given.model,
            metadata=given.metadata,
            expires_after=given.minutes * MINUTE,
            messages=tuple(map(encode_message, given.messages)),
            message_times=self._times(given.ages, given.messages),
            first_user_text=first_user_text(given.messages),
            idempotency_key=given.idempotency_key,
        )
        free = [name for name in self.sessions if name[0] == organisation and not self.reference.keeps(*name)]
        if given.reuse and free:
            session_id = free[given.session % len(free)][1]
            created_at = int(session_id.replace("-", "")[:12], 16)
            return msgspec.structs.replace(create, session_id=session_id, created_at=created_at)
        self.sessions.append((organisation, create.session_id))
        return create

    def _session(self, given: Draft) -> tuple[str, str]:
        if not self.sessions:
            return ORGANISATIONS[given.organisation], self.ids.next(self.clock())
        live = [name for name in self.sessions if self.reference.version_of(*name)]
        pool = self.sessions if given.stray or not live else live
        organisation, session_id = pool[given.session % len(pool)]
        return (ORGANISATIONS[given.organisation] if given.foreign else organisation), session_id

    def _horizon(self, given: ExtendDraft, organisation: str, session_id: str) -> int:
        if isinstance(given.horizon, int):
            return given.horizon
        ahead = self.reference.expiry_of(organisation, session_id) + given.minutes * MINUTE - self.clock()
        return max(0, ahead if given.horizon == "reached" else ahead - 1)

    def _times(self, ages: Sequence[int | None], messages: Sequence[object]) -> tuple[int | None, ...] | None:
        """Say when each message was created: as long ago as its age, or when the command is applied."""
        if not ages:
            return None
        cycle = [ages[number % len(ages)] for number in range(len(messages))]
        return tuple(None if age is None else self.clock() - age for age in cycle)

    def _unless(self, which: WhichVersion | Literal["*"], organisation: str, session_id: str) -> Versions:
        return "*" if which == "*" else self._version(which, organisation, session_id)

    def _version(self, which: WhichVersion, organisation: str, session_id: str) -> Versions:
        if which == "any":
            return None
        if which == "several":
            return tuple(range(self.reference.version_of(organisation, session_id) + 1))
        step = {"right": 0, "older": -1, "newer": 1}[which]
        return self.reference.version_of(organisation, session_id) + step


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _text,
)
_json = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2), max_leaves=4
)
_parts = st.lists(
    st.one_of(
        st.fixed_dictionaries({"type": st.just("text"), "text": _text}),
        st.fixed_dictionaries({"type": st.just("image"), "text": st.none()}),
    ),
    max_size=2,
)
_long_text = st.sampled_from([("word ", 40), ("x", 50_000), ("é", 20_000)]).map(lambda pair: pair[0] * pair[1])
_overwrites = st.one_of(
    _text, st.sampled_from(["", "", " \n", "Hello there\nand more"]), _long_text, _parts, st.just("")
)
_roles = st.sampled_from(["user", "user", "assistant", "system", "tool", "developer"])
_extras = st.dictionaries(st.sampled_from(["id", "name", "metadata"]), _json, max_size=2)
_types = st.sampled_from([None] * 4 + ["message", "function_call"])
_typed_roles: st.SearchStrategy[dict[str, str | None]] = st.sampled_from(
    [{}, {"role": None}, {"role": "user"}, {"role": "assistant"}]
)


@st.composite
def _message(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a message; a type makes one without a role, or with anything or nothing as its content."""
    kind = draw(_types)
    if kind is None:
        return {"role": draw(_roles), "content": draw(_overwrites), **draw(_extras)}
    content = {"content": draw(_json | _overwrites)} if draw(st.booleans()) else {}
    return {"type": kind, **draw(_typed_roles), **content, **draw(_extras)}


_messages = _message()
_ages = st.sampled_from([()] * 5 + [(0,), (DAY,), (None, 1), (HOUR, 5 * HOUR, None)])
_blocks = st.lists(_messages, max_size=3).map(tuple)
_metadata = st.dictionaries(
    st.sampled_from(["a", "b", "c", "é", ""]),
    st.one_of(st.none(), _json, _long_text),
    max_size=3,
)
_keys = st.builds(
    IdempotencyKey,
    principal=st.sampled_from(["token-1", "token-2"]),
    key=st.sampled_from(["k1", "k2"]),
    fingerprint=st.sampled_from([b"same"] * 5 + [b"other"]),
)
_names = st.sampled_from([None] * 7 + ["T", "é\U0001f600"])
_given: dict[str, st.SearchStrategy[Any]] = {
    "organisation": st.sampled_from([0, 0, 0, 1, 2]),
    "session": st.integers(0, 7),
    "stray": st.sampled_from([False] * 9 + [True]),
    "foreign": st.sampled_from([False] * 11 + [True]),
    "idempotency_key": st.one_of(st.none(), st.none(), _keys),
    "version": st.sampled_from(["any"] * 7 + ["right"] * 3 + ["several", "older", "newer"]),
    "unless": st.sampled_from(["any"] * 12 + ["right", "older", "newer", "several", "*"]),
}
create_drafts: st.SearchStrategy[Draft] = st.builds(
    CreateDraft,
    **_given,
    reuse=st.sampled_from([False, False, True]),
    user_id=st.sampled_from(USERS),
    session_group=st.sampled_from(GROUPS),
    title=_names,
    model=st.sampled_from(MODELS),
    metadata=_metadata,
    minutes=st.sampled_from([60, 5, 60, 1440]),
    messages=_blocks,
    ages=_ages,
    imported=st.sampled_from([None] * 5 + [0, 1, HOUR, 400 * DAY]),
)
_change = st.builds(
    UpdateDraft,
    **_given,
    messages=st.none() | _blocks,
    ages=_ages,
    tokens_used=st.sampled_from([None, None, None, 0, 1, 5, 7, 2**30, INT32_MAX]),
    status=st.sampled_from([None, None, "active", "completed"]),
    metadata=st.none() | _metadata,
    title=_names,
    model=st.sampled_from([None, *MODELS]),
)
_nothing = st.builds(
    UpdateDraft,
    **_given,
    messages=st.none(),
    ages=st.just(()),
    tokens_used=st.none(),
    status=st.none(),
    metadata=st.none(),
    title=st.none(),
    model=st.none(),
)
_prolong = st.builds(
    ExtendDraft,
    **_given,
    minutes=st.sampled_from([1, 5, 60, 1440]),
    horizon=st.sampled_from([HOUR, DAY, 30 * DAY, 30 * DAY, "reached", "passed"]),
)
_remove = st.builds(DeleteDraft, **_given)

described: st.SearchStrategy[Draft] = st.one_of(
    _change, create_drafts, _change, _change, _change, _prolong, _remove, _nothing
)
batches = st.lists(described, min_size=1, max_size=8)


def plain(encoded: bytes) -> str:
    """Return a comparable form of JSON: 1, 1.0 and true differ, the order of members does not matter."""
    return repr(json.loads(encoded, object_pairs_hook=sorted))
