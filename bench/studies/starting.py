"""How long a server takes from its start until it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.programs import sessionary_server
from bench.contenders.sessionary import Sessionary
from bench.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage


def study_starting(stage: Stage) -> Iterator[Finding]:
    """Start servers on an empty database and on one with the archive, in turn."""
    for contender in stage.contenders:
        if not isinstance(contender, Sessionary) or contender.processes > 1:
            continue
        contender.stop_servers()
        databases = {
            "an empty database": stage.workspace.empty_database(contender.engine),
            f"{stage.plan.scale.archive_sessions:,} sessions": contender.database,
        }
        seconds: dict[str, list[float]] = {what: [] for what in databases}
        for _ in range(stage.plan.rounds + 1):
            for what, database in databases.items():
                stage.progress.say(f"starting {contender.name} on {what}")
                server = sessionary_server(database.url, stage.workspace.directory / "starting.log")
                server.start()
                seconds[what].append(server.ready_seconds)
                server.stop()
        contender.start_servers()
        for what, values in seconds.items():
            # The first start of an empty database also makes its tables.
            yield Finding("starting", contender.name, what, values[1:], "s")
