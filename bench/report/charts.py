"""The results as charts, in SVG and PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.workloads.service import HEADLINE_CONNECTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench.results import Cell, Results

ENGINES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
# Colours that remain different to every eye, and in grey.
COLOURS = {
    "sessionary": "#0072b2",
    "conventional": "#d55e00",
    "limit": "#999999",
    "store": "#56b4e9",
    "empty": "#444444",
    "adk": "#cc79a7",
    "agents": "#e69f00",
}
SHOWN = ("create", "append", "get", "list-user", "list-group", "list-organisation", "extend", "mix")
DOTS_PER_INCH = 150


def draw(results: Results, directory: Path) -> None:
    """Draw every chart that the results suffice for."""
    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "bench"})
    loads = [cell for cell in results.cells if cell.workload in SHOWN]
    headline = [cell for cell in loads if cell.connections == HEADLINE_CONNECTIONS]
    if headline:
        _save(_bars(headline, "rate", "requests per second (logarithmic)"), directory / "rates")
        _save(_bars(headline, "server_cpu_us", "server CPU per request, µs (logarithmic)"), directory / "cpu")
    if len({cell.connections for cell in loads}) > 1:
        _save(_scaling([cell for cell in loads if _is_server(cell)]), directory / "connections")
    for kinds, what in ((("append", "get"), "messages"), (("page-first", "page-cursor", "page-offset"), "sessions")):
        if found := [cell for cell in results.cells if "@" in cell.workload and _kind(cell) in kinds]:
            _save(_growth(found, what), directory / f"growth-{what}")


def _bars(cells: Sequence[Cell], measure: str, label: str) -> Figure:
    loads = [load for load in SHOWN if any(cell.workload == load for cell in cells)]
    engines = _engines(cells)
    size = (5 * len(engines), 1.6 + 0.8 * len(loads))
    figure, axes = plt.subplots(1, len(engines), figsize=size, sharey=True, squeeze=False)
    for axis, engine in zip(axes[0], engines, strict=True):
        mine = [cell for cell in cells if _is_of(cell, engine) and cell.spread(measure).median > 0]
        names = list(dict.fromkeys(cell.contender for cell in mine))
        height = 0.8 / max(1, len(names))
        for position, name in enumerate(names):
            found = [cell for cell in mine if cell.contender == name]
            at = [loads.index(cell.workload) + (position - (len(names) - 1) / 2) * height for cell in found]
            medians, errors = _with_errors(found, measure)
            hatch = "////" if name.endswith("-2") else None
            axis.barh(
                at, medians, height, xerr=errors, color=_colour(name), label=name, hatch=hatch, ecolor="#00000080"
            )
        axis.set(title=ENGINES[engine], xscale="log", xlabel=label, yticks=range(len(loads)), yticklabels=loads)
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.45 / len(loads)), ncols=3, frameon=False)
    axes[0][0].invert_yaxis()
    figure.suptitle(f"{HEADLINE_CONNECTIONS} connections: medians, with the least and the greatest round")
    return figure


def _with_errors(cells: Sequence[Cell], measure: str) -> tuple[list[float], list[list[float]]]:
    spreads = [cell.spread(measure) for cell in cells]
    below, above = [s.median - s.least for s in spreads], [s.most - s.median for s in spreads]
    return [s.median for s in spreads], [below, above]


def _scaling(cells: Sequence[Cell]) -> Figure:
    loads = [load for load in SHOWN if len({cell.connections for cell in cells if cell.workload == load}) > 1]
    engines = _engines(cells)
    size = (2.6 * len(loads), 2.8 * len(engines))
    figure, axes = plt.subplots(len(engines), len(loads), figsize=size, squeeze=False)
    for row, engine in zip(axes, engines, strict=True):
        for axis, load in zip(row, loads, strict=True):
            mine = [cell for cell in cells if cell.workload == load and _is_of(cell, engine)]
            for name in dict.fromkeys(cell.contender for cell in mine):
                points = [(c.connections, c.spread("rate").median) for c in mine if c.contender == name]
                style = "--" if name.endswith("-2") else "-"
                axis.plot(*zip(*points, strict=True), style, marker="o", markersize=3, color=_colour(name), label=name)
            axis.set(title=f"{ENGINES[engine]}: {load}", xscale="log", yscale="log", xlabel="connections")
            _only_ticks(axis, sorted({cell.connections for cell in mine}))
        row[0].set_ylabel("requests per second")
        row[0].legend(fontsize=7, frameon=False)
    return figure


def _growth(cells: Sequence[Cell], what: str) -> Figure:
    engines = _engines(cells)
    figure, axes = plt.subplots(1, len(engines), figsize=(5 * len(engines), 3.6), squeeze=False, sharey=True)
    for axis, engine in zip(axes[0], engines, strict=True):
        for kind in dict.fromkeys(map(_kind, cells)):
            mine = [cell for cell in cells if _kind(cell) == kind and _is_of(cell, engine)]
            points = [(int(cell.workload.partition("@")[2]), cell.spread("p50_ms").median) for cell in mine]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=kind)
        axis.set(title=ENGINES[engine], xscale="log", yscale="log", xlabel=what, ylabel="p50, ms")
        _only_ticks(axis, sorted({int(cell.workload.partition("@")[2]) for cell in cells}))
        axis.legend(fontsize=7, frameon=False)
    return figure


def _only_ticks(axis: Axes, values: list[int]) -> None:
    axis.set_xticks(values, [f"{value:,}" for value in values])
    axis.minorticks_off()


def _engines(cells: Sequence[Cell]) -> list[str]:
    return [engine for engine in ENGINES if any(f"-{engine}" in cell.contender for cell in cells)] or list(ENGINES)[:1]


def _is_of(cell: Cell, engine: str) -> bool:
    return f"-{engine}" in cell.contender or cell.contender == "empty-asgi"


def _is_server(cell: Cell) -> bool:
    return cell.contender.startswith(("sessionary", "conventional"))


def _kind(cell: Cell) -> str:
    return cell.workload.partition("@")[0]


def _colour(contender: str) -> str:
    return COLOURS[contender.partition("-")[0]]


def _save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=DOTS_PER_INCH)
    plt.close(figure)
