"""What is left on disk, and what is held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.base import Load
from bench.results import Finding
from bench.workloads.payload import MESSAGES_PER_APPEND
from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage


def study_disk(stage: Stage) -> Iterator[Finding]:
    """Append for a while, and see how much the database has grown for each message."""
    for contender in stage.contenders:
        if contender.database is None or not contender.carries("append") or contender.resident_mib() == 0:
            continue
        contender.prepare("append")
        values = []
        for _ in range(stage.plan.rounds):
            stage.progress.say(f"bytes on disk of {contender.name}")
            before = contender.database.bytes_on_disk()
            sample = contender.measure(Load("append", HEADLINE_CONNECTIONS, stage.plan.seconds))
            grown = contender.database.bytes_on_disk() - before
            values.append(grown / max(1, sample.requests * MESSAGES_PER_APPEND))
        yield Finding("disk", contender.name, "on disk for a message of 500 bytes", values, "bytes")


def study_memory(stage: Stage) -> Iterator[Finding]:
    """Weigh the server processes: before any load, and after all of it."""
    for contender in stage.contenders:
        if idle := stage.idle_mib.get(contender.name):
            yield Finding("memory", contender.name, "idle", [idle], "MiB")
            yield Finding("memory", contender.name, "after the run", [contender.resident_mib()], "MiB")
