"""The loads that read: get and the three lists."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from bench.workloads.base import Workload, shares
from bench.workloads.payload import MESSAGES_PER_APPEND
from bench.workloads.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load.connection import Request
    from bench.load.response_stats import ResponseStats

MESSAGES = 20
PAGE = 50
SESSIONS_MAX = 128


class MismatchedResponseError(RuntimeError):
    """The response to a read differs from what is stored."""


class Reading(Workload):
    """A load whose responses never change: their sizes are compared with those of responses read beforehand."""

    _requests: list[bytes]
    _sizes: tuple[int, int]

    def scripts(self, connections: int) -> list[Iterator[Request]]:
        return shares(self._requests, connections)

    def account(self, stats: ResponseStats) -> None:
        smallest, largest = self._sizes
        if stats.latencies and not (smallest <= stats.body_bytes_min <= stats.body_bytes_max <= largest):
            raise MismatchedResponseError(
                f"answers of {stats.body_bytes_min} to {stats.body_bytes_max} bytes; {self._sizes} expected"
            )

    def verify(self) -> None:
        """Nothing to do: every response was checked while the load ran."""

    def expect(self, requests: list[bytes]) -> list[bytes]:
        """Send these requests, and compare the sizes of later responses with theirs."""
        self._requests = requests
        responses = self.service.fetch(requests)
        sizes = [len(body) for body in responses]
        self._sizes = (min(sizes), max(sizes))
        return responses


class Get(Reading):
    """Whole sessions of 20 messages, about 10 KB."""

    name = "get"
    messages = MESSAGES

    def prepare(self) -> None:
        pool = Pool(self.service, self.messages)
        # As conversations come about: turn by turn.
        pool.fill(min(SESSIONS_MAX, self.service.scale.pool_sessions), MESSAGES_PER_APPEND)
        responses = self.expect([self.service.dialect.get(name) for name in pool.sessions])
        if self.service.is_real and any(
            self.service.dialect.stored(body).messages != self.messages for body in responses
        ):
            raise MismatchedResponseError(f"a session of {self.messages} messages came back with another number")


class Pages(Reading):
    """Pages of 50 sessions, out of an organisation that has many."""

    needs_archive = True
    queries: ClassVar[list[dict[str, str]]] = [{}]

    def prepare(self) -> None:
        self.expect_pages([self.service.archive.list_page(limit=str(PAGE), **query) for query in self.queries])

    def expect_pages(self, requests: list[bytes]) -> None:
        """Expect full pages as responses to these requests."""
        responses = self.expect(requests)
        if self.service.is_real and any(len(json.loads(body)) != PAGE for body in responses):
            raise MismatchedResponseError(f"a page has not {PAGE} sessions: is the archive there?")


class ListUser(Pages):
    """The newest 50 sessions of one user."""

    name = "list-user"
    queries: ClassVar = [{"userId": f"user-{number:06}"} for number in range(10)]


class ListGroup(Pages):
    """The newest 50 sessions of one group."""

    name = "list-group"
    queries: ClassVar = [{"sessionGroup": "group-0000"}]


class ListOrganisation(Pages):
    """The newest 50 sessions of a whole organisation."""

    name = "list-organisation"
