"""A mix as an application makes it: 60 % get, 30 % append, 10 % list."""

from __future__ import annotations

import random
from itertools import cycle
from typing import TYPE_CHECKING

from bench.load.connection import Request
from bench.workloads.base import Workload
from bench.workloads.reads import Get, ListUser
from bench.workloads.writes import Append

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load.response_stats import ResponseStats
    from bench.workloads.service import Service

PATTERN = ["get"] * 6 + ["append"] * 3 + ["list"]
# Only appends are counted: what reads return is not counted.
READ = -1


class Mix(Workload):
    """Every connection draws from all three, in an order of its own."""

    name = "mix"
    needs_archive = True

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._get, self._append, self._list = Get(service), Append(service), ListUser(service)

    def prepare(self) -> None:
        for part in (self._get, self._append, self._list):
            part.prepare()

    def scripts(self, connections: int) -> list[Iterator[Request]]:
        gets, appends, lists = (part.scripts(connections) for part in (self._get, self._append, self._list))
        return [self._interleave(number, *parts) for number, parts in enumerate(zip(gets, appends, lists, strict=True))]

    def account(self, stats: ResponseStats) -> None:
        for counter in (stats.acknowledged, stats.uncertain):
            counter.pop(READ, None)
        self._append.account(stats)

    def verify(self) -> None:
        self._append.verify()

    def _interleave(
        self, number: int, gets: Iterator[Request], appends: Iterator[Request], lists: Iterator[Request]
    ) -> Iterator[Request]:
        order = PATTERN * 10
        random.Random(number).shuffle(order)  # noqa: S311 - reproducible, not secret
        parts = {"get": gets, "append": appends, "list": lists}
        for kind in cycle(order):
            request = next(parts[kind])
            yield request if kind == "append" else Request(request.raw, READ)
