"""What was found, as a page in Markdown: for the documentation."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from bench.report.figures import figures
from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.report.figures import Figure
    from bench.results import Cell, Finding, Results

CHARTS = {
    "rates": f"Requests per second at {HEADLINE_CONNECTIONS} connections",
    "cpu": f"Server CPU per request at {HEADLINE_CONNECTIONS} connections",
    "connections": "Requests per second by number of connections",
    "growth-messages": "Append and get by messages a session",
    "growth-sessions": "A page of 50 by sessions in the organisation",
}


def page(results: Results, directory: Path) -> str:
    """Return the page; it shows the charts that lie in the directory."""
    parts = (
        _machine(results.machine),
        _figures(figures(results)),
        _charts(directory),
        _loads([cell for cell in results.cells if "@" not in cell.workload]),
        _growth([cell for cell in results.cells if "@" in cell.workload]),
        _findings(results.findings),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _machine(machine: dict[str, Any]) -> Iterator[str]:
    yield "## Machine, versions, settings"
    yield f"\nMeasured {machine['when']} at commit `{machine['commit']}` with `{machine['command']}`.\n"
    yield from _table(("what", "value"))
    for part in ("machine", "versions", "settings"):
        for name, value in machine[part].items():
            yield f"| {name} | {_plain(value)} |"
    yield ""


def _figures(found: Sequence[Figure]) -> Iterator[str]:
    if not found:
        return
    yield "## The figures\n"
    yield from _table(("", "engine", "measured", "reach", "stretch", ""))
    for figure in found:
        sign = "≤" if figure.is_bound else "≥"
        stretch = f"{sign} {figure.stretch:g}" if figure.stretch is not None else ""
        cells = (figure.name, figure.engine, f"{figure.measured:.2f}", f"{sign} {figure.reach:g}", stretch)
        yield _row((*cells, figure.verdict))
    yield ""


def _charts(directory: Path) -> Iterator[str]:
    for name, title in CHARTS.items():
        if (directory / f"{name}.svg").exists():
            yield f"![{title}]({directory.name}/{name}.svg)\n"


def _loads(cells: Sequence[Cell]) -> Iterator[str]:
    for workload, group in groupby(cells, key=lambda cell: cell.workload):
        yield f"## {workload}\n"
        columns = ("contender", "connections", "requests/s", "least … most", "p50 ms", "p99 ms", "server µs", "db µs")
        yield from _table(columns)
        yield from map(_load_row, group)
        yield ""


def _load_row(cell: Cell) -> str:
    rate = cell.spread("rate")
    medians = [cell.spread(measure).median for measure in ("p50_ms", "p99_ms")]
    costs = [cell.spread(measure).median for measure in ("server_cpu_us", "database_cpu_us")]
    return _row(
        (
            cell.contender,
            str(cell.connections),
            f"{rate.median:,.0f}",
            f"{rate.least:,.0f} … {rate.most:,.0f}",
            *(f"{value:.2f}" for value in medians),
            *(f"{value:,.0f}" if value else "" for value in costs),
        )
    )


def _growth(cells: Sequence[Cell]) -> Iterator[str]:
    if not cells:
        return
    yield "## Growth\n"
    yield from _table(("load", "at", "contender", "requests/s", "p50 ms", "p99 ms"))
    for cell in cells:
        load, _, size = cell.workload.partition("@")
        medians = [cell.spread(measure).median for measure in ("p50_ms", "p99_ms")]
        yield _row(
            (
                load,
                f"{int(size):,}",
                cell.contender,
                f"{cell.spread('rate').median:,.0f}",
                *map("{:.2f}".format, medians),
            )
        )
    yield ""


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield "## Found besides\n"
    yield from _table(("study", "contender", "what", "median", "least … most", ""))
    for finding in findings:
        spread = finding.spread
        between = f"{spread.least:,.2f} … {spread.most:,.2f}" if len(finding.values) > 1 else ""
        median = f"{spread.median:,.2f} {finding.unit}"
        yield _row((finding.study, finding.contender, finding.what, median, between, finding.note))
    yield ""


def _table(columns: Sequence[str]) -> Iterator[str]:
    yield _row(columns)
    yield _row(["---"] * len(columns))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={setting}" for name, setting in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "—" if value is None else str(value)
