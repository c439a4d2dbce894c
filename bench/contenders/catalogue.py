"""Every contender by its name, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contenders.conventional import ConventionalPostgres, ConventionalSqlite
from bench.contenders.nothing import EmptyHandler
from bench.contenders.sessionary import SessionaryOnPostgres, SessionaryOnSqlite, TwoSessionariesOnPostgres
from bench.limits.pgbench import Pgbench
from bench.limits.sqlite_loop import SqliteLoop
from bench.limits.store_alone import PostgresStoreAlone, SqliteStoreAlone
from bench.peers.adk import AdkApiServer
from bench.peers.agents_sdk import AgentsOnPostgres, AgentsOnSqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.contenders.base import Contender
    from bench.contenders.workspace import Workspace

CONTENDERS: dict[str, Callable[[Workspace], Contender]] = {
    contender.name: contender
    for contender in (
        SessionaryOnSqlite,
        SessionaryOnPostgres,
        TwoSessionariesOnPostgres,
        ConventionalSqlite,
        ConventionalPostgres,
        EmptyHandler,
        SqliteLoop,
        Pgbench,
        SqliteStoreAlone,
        PostgresStoreAlone,
        AdkApiServer,
        AgentsOnSqlite,
        AgentsOnPostgres,
    )
}
