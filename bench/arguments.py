"""The command line of the benchmark: from words to a plan."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.contenders.catalogue import CONTENDERS
from bench.plan import Plan
from bench.studies.catalogue import STUDIES
from bench.workloads.catalogue import WORKLOADS
from bench.workloads.service import HEADLINE_CONNECTIONS, Scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONNECTIONS_MAX = 1024

QUICK = Plan(
    rounds=3,
    seconds=0.5,
    scale=Scale(pool_sessions=256, archive_sessions=20_000),
    workloads=("append", "get", "list-user"),
    contenders=(
        *("sessionary-sqlite", "sessionary-postgres", "conventional-sqlite", "conventional-postgres"),
        *("empty-asgi", "limit-sqlite", "limit-postgres"),
    ),
    studies=("race", "memory"),
    connections=(HEADLINE_CONNECTIONS,),
    narrowed_connections=False,
    directory=None,
    output=Path("bench/results"),
)
FULL = replace(
    QUICK,
    rounds=5,
    seconds=0.5,
    scale=Scale(pool_sessions=512, archive_sessions=1_000_000),
    workloads=tuple(WORKLOADS),
    contenders=tuple(CONTENDERS),
    studies=tuple(STUDIES),
    connections=(1, 16, 64, 256),
)


def read_command_line(arguments: Sequence[str]) -> Plan:
    """Turn the command line into a plan."""
    parser = _parser()
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else FULL
    try:
        plan = narrowed(plan, options.only)
    except ValueError as error:
        parser.error(str(error))
    return replace(
        plan,
        rounds=options.rounds or plan.rounds,
        seconds=options.seconds or plan.seconds,
        scale=replace(plan.scale, archive_sessions=options.archive or plan.scale.archive_sessions),
        directory=options.directory,
        output=options.output,
    )


def narrowed(plan: Plan, words: Sequence[str]) -> Plan:
    """Keep of a plan what the words name, each by its whole, its beginning or its end."""
    connections = tuple(int(word) for word in words if word.isdigit() and 0 < int(word) <= CONNECTIONS_MAX)
    names = [word for word in words if not word.isdigit()]
    for word in names:
        if not _named((*WORKLOADS, *CONTENDERS, *STUDIES), [word]):
            raise ValueError(
                f"{word} is none of the loads ({', '.join(WORKLOADS)}), contenders ({', '.join(CONTENDERS)})"
                f" and studies ({', '.join(STUDIES)})"
            )
    workloads, studies = _named(WORKLOADS, names), _named(STUDIES, names)
    if not workloads and not studies:
        workloads, studies = plan.workloads, plan.studies
    return replace(
        plan,
        workloads=workloads,
        studies=studies,
        contenders=_named(CONTENDERS, names) or plan.contenders,
        connections=connections or plan.connections,
        narrowed_connections=bool(connections),
    )


def _named(known: Iterable[str], words: Sequence[str]) -> tuple[str, ...]:
    known = tuple(known)
    return tuple(name for name in known if any(_means(word, name, known) for word in words))


def _means(word: str, name: str, known: Sequence[str]) -> bool:
    # "append" is that load and not "append-one" as well; "sqlite" is everything on SQLite.
    return name == word if word in known else name.startswith(word) or name.endswith(word)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure sessionary beside limits and others.")
    parser.add_argument("--quick", action="store_true", help="about a minute instead of about ten")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="WORD",
        help="loads, contenders, studies and numbers of connections, such as: append sessionary-sqlite empty 64",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each contender under each load")
    parser.add_argument("--seconds", type=float, help="seconds a round")
    parser.add_argument("--archive", type=int, help="sessions in the large organisation")
    parser.add_argument("--directory", type=Path, help="where the databases go (a temporary directory)")
    parser.add_argument("--output", type=Path, default=QUICK.output, help="where results and charts go")
    return parser
