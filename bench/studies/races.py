"""The race: many writers on one session, and whether everything acknowledged is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage
    from bench.contenders.base import Race

WRITERS = 32
APPENDS_EACH = 20


def study_races(stage: Stage) -> Iterator[Finding]:
    """Let 32 writers append 20 turns each to one session of every contender."""
    for contender in stage.contenders:
        stage.progress.say(f"a race on {contender.name}")
        outcome = contender.race(WRITERS, APPENDS_EACH)
        if outcome is None:
            continue
        for what, count in (
            ("messages acknowledged", outcome.acknowledged_messages),
            ("messages stored", outcome.stored_messages),
        ):
            yield Finding("race", contender.name, what, [count], "messages", _note(outcome))


def _note(outcome: Race) -> str:
    notes = []
    if outcome.stored_messages < outcome.acknowledged_messages:
        notes.append("SOME ARE LOST")
    if outcome.refused_requests:
        notes.append(f"{outcome.refused_requests} of {WRITERS * APPENDS_EACH} requests failed")
    if outcome.stored_messages > outcome.acknowledged_messages:
        notes.append("some of those left messages behind")
    return ", ".join(notes)
