"""A pool of sessions that a workload reads or writes, and the ledger of what was acknowledged for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from bench.workloads.dialect import EXTENSION_MINUTES, Stored
from bench.workloads.payload import MESSAGES_PER_APPEND, TOKENS_PER_APPEND, conversation

if TYPE_CHECKING:
    from bench.workloads.service import Service

MESSAGES_PER_REQUEST_MAX = 1000
SECONDS_PER_MINUTE = 60


class LostWriteError(RuntimeError):
    """A server acknowledged data that it has not stored, or stored data that was not sent."""


@dataclass
class Pool:
    """Sessions made over HTTP, alike but for their ids; `appended` and `extended` count by position."""

    service: Service
    messages: int
    sessions: list[str] = field(default_factory=list)
    appended: Counter[int] = field(default_factory=Counter)
    extended: Counter[int] = field(default_factory=Counter)
    uncertain: Counter[int] = field(default_factory=Counter)
    first_tokens: int = 0
    _first_expiry: dict[int, str | None] = field(default_factory=dict)

    def fill(self, sessions: int, messages_per_request: int = MESSAGES_PER_REQUEST_MAX) -> None:
        """Create the sessions, with as many messages as the pool is to have in each."""
        words = conversation(self.messages)
        first, later = words[:messages_per_request], words[messages_per_request:]
        dialect = self.service.dialect
        creates = [dialect.create(f"user-{n % 64:04}", f"group-{n % 16:04}", first) for n in range(sessions)]
        self.sessions = [dialect.session_of(response) for response in self.service.fetch(creates)]
        for start in range(0, len(later), messages_per_request):
            more = later[start : start + messages_per_request]
            self.service.fetch([dialect.append(name, more) for name in self.sessions])
            self.first_tokens += TOKENS_PER_APPEND
        self._first_expiry = {slot: stored.expires_at for slot, stored in enumerate(self.read())}

    def read(self) -> list[Stored]:
        """Read every session back."""
        dialect = self.service.dialect
        return [dialect.stored(body) for body in self.service.fetch([dialect.get(name) for name in self.sessions])]

    def verify(self) -> None:
        """Raise unless exactly what was acknowledged is stored; writes without a response may be stored or not."""
        for slot, stored in enumerate(self.read()):
            appends, rest = divmod(stored.total_messages - self.messages, MESSAGES_PER_APPEND)
            tokens = self.first_tokens + appends * TOKENS_PER_APPEND
            is_right = (
                rest == 0
                and self._accounts_for(self.appended, slot, appends)
                and self._accounts_for(self.extended, slot, self._extensions(slot, stored))
                and stored.messages == stored.total_messages
                and stored.total_tokens in {tokens, None}
            )
            if not is_right:
                raise LostWriteError(
                    f"session {slot}: {self.appended[slot]} appends and {self.extended[slot]} extensions"
                    f" were acknowledged, {self.uncertain[slot]} are uncertain; stored: {stored}"
                )

    def _accounts_for(self, acknowledged: Counter[int], slot: int, found: int) -> bool:
        return acknowledged[slot] <= found <= acknowledged[slot] + self.uncertain[slot]

    def _extensions(self, slot: int, stored: Stored) -> int:
        first = self._first_expiry[slot]
        if first is None or stored.expires_at is None:
            return self.extended[slot]
        moved = datetime.fromisoformat(stored.expires_at) - datetime.fromisoformat(first)
        return round(moved.total_seconds() / SECONDS_PER_MINUTE / EXTENSION_MINUTES)
