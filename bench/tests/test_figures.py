"""Figures are ratios of medians, and goals are met or missed."""

from __future__ import annotations

import pytest

from bench.arguments import FULL, QUICK, narrowed
from bench.contenders.base import Sample
from bench.report.figures import Figure, figures
from bench.report.table import cells_table, figures_table
from bench.results import Cell, Results


def cell(contender: str, *rates: float, workload: str = "append") -> Cell:
    samples = [Sample(rate, p50_ms=1, p99_ms=3, requests=10, errors=0, server_cpu_us=50) for rate in rates]
    return Cell(workload, 64, contender, samples)


def test_a_figure_is_a_ratio_of_medians() -> None:
    cells = [cell("sessionary-sqlite", 3100, 10, 3000), cell("conventional-sqlite", 100, 90, 500)]
    found = {figure.name: figure for figure in figures(Results({}, cells))}
    times = found["append, times the conventional stack"]
    assert (times.measured, times.verdict) == (30, "reached")
    assert found["append, p99 / p50"].measured == 3
    assert "30.0" in cells_table(cells)
    assert "reached" in figures_table([times])


@pytest.mark.parametrize(
    ("measured", "is_bound", "verdict"),
    [(2.0, False, "stretch"), (1.5, False, "reached"), (0.5, False, "missed by 50%"), (2.0, True, "missed by 100%")],
)
def test_a_verdict_says_how_it_went(*, measured: float, is_bound: bool, verdict: str) -> None:
    assert Figure("f", "sqlite", measured, 1.0, 0.5 if is_bound else 2.0, is_bound=is_bound).verdict == verdict


def test_only_keeps_what_the_words_name() -> None:
    plan = narrowed(FULL, ["append", "sqlite", "16"])
    assert plan.workloads == ("append",)
    assert plan.studies == ()
    assert set(plan.contenders) >= {"sessionary-sqlite", "limit-sqlite"}
    assert all(name.endswith("sqlite") for name in plan.contenders)
    assert plan.connections_for("append") == (16,)
    assert not plan.needs_archive


def test_only_contenders_keeps_the_loads_of_the_plan() -> None:
    assert narrowed(QUICK, ["sessionary-sqlite"]).workloads == QUICK.workloads


def test_a_word_that_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        narrowed(QUICK, ["nonsense"])
