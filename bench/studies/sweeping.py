"""What the removal of very many expired sessions does to those who work meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bench.contenders.base import Load, Sample
from bench.contenders.rows import Batch
from bench.contenders.sessionary import Sessionary
from bench.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage

EXPIRED = "expired"
EXPIRED_SESSIONS = 100_000
TURNS = 1
CONNECTIONS = 16
SLICE_SECONDS = 0.5
SWEEP_SECONDS_MAX = 60


def study_sweeping(stage: Stage) -> Iterator[Finding]:
    """Append while 100,000 expired sessions are removed, and as long again when they are gone."""
    expired = min(EXPIRED_SESSIONS, stage.plan.scale.archive_sessions)
    for contender in stage.contenders:
        if not isinstance(contender, Sessionary) or contender.processes > 1:
            continue
        contender.prepare("append")
        stage.progress.say(f"{expired:,} expired sessions on {contender.name}")
        contender.load(Batch(EXPIRED, expired, TURNS, life_ms=-1))
        started = time.perf_counter()
        during = _append_while_any_is_left(contender)
        lasted = time.perf_counter() - started
        left = contender.database.sessions_of(EXPIRED)
        after = [_append(contender) for _ in during]
        what = f"{expired:,} expired sessions"
        yield Finding("sweeping", contender.name, f"removing {what}", [lasted], "s", f"{left:,} left" if left else "")
        for when, samples in (("meanwhile", during), ("afterwards", after)):
            yield Finding("sweeping", contender.name, f"appends {when}", [s.rate for s in samples], "requests/s")
            yield Finding("sweeping", contender.name, f"p99 {when}", [s.p99_ms for s in samples], "ms")


def _append_while_any_is_left(contender: Sessionary) -> list[Sample]:
    samples = [_append(contender)]
    deadline = time.perf_counter() + SWEEP_SECONDS_MAX
    while contender.database.sessions_of(EXPIRED) and time.perf_counter() < deadline:
        samples.append(_append(contender))
    return samples


def _append(contender: Sessionary) -> Sample:
    return contender.measure(Load("append", CONNECTIONS, SLICE_SECONDS))
