"""Whether a session costs more the longer it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.base import Load
from bench.contenders.sessionary import Sessionary
from bench.workloads.payload import MESSAGES_PER_APPEND, turn
from bench.workloads.pool import Pool
from bench.workloads.reads import Get
from bench.workloads.writes import Append

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage
    from bench.results import Cell
    from bench.workloads.service import Service

LENGTHS = (10, 100, 1000, 10_000)
SESSIONS = 16
CONNECTIONS = 16
SECONDS = 0.4


def study_long_conversations(stage: Stage) -> Iterator[list[Cell]]:
    """Append to and get sessions of 10 to 10,000 messages."""
    for contender in stage.contenders:
        if not isinstance(contender, Sessionary) or contender.processes > 1:
            continue
        appends, gets = [], []
        for length in LENGTHS:
            stage.progress.say(f"sessions of {length} messages on {contender.name}")
            append, get = _of_length(contender.service(), length)
            contender.adopt(f"append@{length}", append)
            contender.adopt(f"get@{length}", get)
            appends.append((contender, Load(f"append@{length}", CONNECTIONS, SECONDS)))
            gets.append((contender, Load(f"get@{length}", CONNECTIONS, SECONDS)))
        yield stage.alternate(appends)
        yield stage.alternate(gets)


def _of_length(service: Service, length: int) -> tuple[Append, Get]:
    append, get = Append(service), Get(service)
    append.pool = Pool(service, length)
    append.pool.fill(SESSIONS)
    append.requests = [service.dialect.append(name, turn(slot)) for slot, name in enumerate(append.pool.sessions)]
    read = Pool(service, length)
    # Turn by turn up to a thousand; after that a thousand at once, or this would take minutes.
    read.fill(SESSIONS, MESSAGES_PER_APPEND if length <= LENGTHS[1] else 1000)
    get.expect([service.dialect.get(name) for name in read.sessions])
    return append, get
