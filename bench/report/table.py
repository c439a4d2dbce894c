"""What was found, as tables for the terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.figures import Figure
    from bench.results import Cell, Finding, Verdict

GENERATOR_BUSY_SHARE = 0.9
NOISE_CORES = 0.15
REFERENCE = "conventional"
CEILING = "empty-asgi"
CEILING_SHARE = 0.8
SERVERS = ("sessionary", "conventional", "adk")
HEAD = (
    f"  {'':<28}{'requests/s':>12}{'least … most':>18}{'p50 ms':>9}{'p99 ms':>9}"
    f"{'server µs':>11}{'database µs':>13}{'x conv.':>9}{'CPU ÷':>8}"
)


def cells_table(cells: Sequence[Cell]) -> str:
    """Return the rows of loads: each contender's medians, and how many times the conventional stack's rate."""
    lines = []
    for (workload, connections), group in groupby(cells, key=lambda cell: (_kind(cell), cell.connections)):
        together = list(group)
        lines += [f"{workload} · {connections} connections", HEAD]
        ceiling = next((cell for cell in together if cell.contender == CEILING), None)
        lines += [_cell_row(cell, _reference(cell, together), ceiling) for cell in together]
    return "\n".join((*lines, ""))


def finding_row(finding: Finding) -> str:
    """Return a line about something a study found."""
    spread = finding.spread
    between = f"  ({_number(spread.least)} … {_number(spread.most)})" if len(finding.values) > 1 else ""
    note = f"  {finding.note}" if finding.note else ""
    start = f"{finding.study} · {finding.contender} · {finding.what}"
    return f"{start:<80}{_number(spread.median):>12} {finding.unit}{between}{note}"


def figures_table(figures: Sequence[Figure]) -> str:
    """Return the figures beside what they should be."""
    if not figures:
        return ""
    lines = [f"{'figures (ratios of medians of this run)':<76}{'measured':>10}{'reach':>10}{'stretch':>10}"]
    for figure in figures:
        sign = "≤ " if figure.is_bound else "≥ "
        stretch = f"{sign}{figure.stretch:g}" if figure.stretch is not None else ""
        name = f"{figure.engine:<10}{figure.name}"
        lines.append(
            f"  {name:<74}{figure.measured:10.2f}{sign + f'{figure.reach:g}':>10}{stretch:>10}  {figure.verdict}"
        )
    return "\n".join((*lines, ""))


def verdicts_text(verdicts: Sequence[Verdict]) -> str:
    """Return what became of what was acknowledged."""
    if not verdicts:
        return ""
    broken = [verdict for verdict in verdicts if verdict.complaint]
    lines = [f"{v.contender} does not keep what it acknowledged ({v.workload}): {v.complaint}" for v in broken]
    kept = len(verdicts) - len(broken)
    return "\n".join((*lines, f"{kept} of {len(verdicts)} times everything acknowledged was there", ""))


def _cell_row(cell: Cell, reference: Cell | None, ceiling: Cell | None) -> str:
    rate = cell.spread("rate")
    base = reference.spread("rate").median if reference else 0
    ratio = f"{rate.median / base:9.1f}" if base else f"{'':9}"
    # How many times less CPU than the conventional stack: it holds on a noisy machine.
    mine, theirs = (one.spread("server_cpu_us").median if one else 0.0 for one in (cell, reference))
    ratio += f"{theirs / mine:8.1f}" if mine and theirs else f"{'':8}"
    between = f"{rate.least:,.0f} … {rate.most:,.0f}"
    return (
        f"  {cell.contender + _size(cell):<28}{rate.median:12,.0f}{between:>18}"
        f"{cell.spread('p50_ms').median:9.2f}{cell.spread('p99_ms').median:9.2f}"
        f"{cell.spread('server_cpu_us').median:11,.0f}{cell.spread('database_cpu_us').median:13,.0f}"
        f"{ratio}{_remarks(cell, ceiling)}"
    )


def _remarks(cell: Cell, ceiling: Cell | None) -> str:
    remarks = []
    if errors := sum(sample.errors for sample in cell.samples):
        remarks.append(f"{errors} errors")
    if cell.spread("generator_share").median > GENERATOR_BUSY_SHARE:
        remarks.append("the generator is the bottleneck")
    if ceiling and cell.contender != CEILING and cell.contender.startswith(SERVERS):
        share = cell.spread("rate").median / max(1.0, ceiling.spread("rate").median)
        if share > CEILING_SHARE:
            remarks.append(f"{share:.0%} of what an empty handler does: the server or the generator bounds it")
    if (noise := cell.spread("elsewhere_share").median) > NOISE_CORES:
        remarks.append(f"others used {noise:.1f} cores")
    return f"  ({'; '.join(remarks)})" if remarks else ""


def _reference(cell: Cell, cells: Sequence[Cell]) -> Cell | None:
    engine = cell.contender.split("-")[1]
    return next((other for other in cells if other.contender == f"{REFERENCE}-{engine}"), None)


def _kind(cell: Cell) -> str:
    return cell.workload.partition("@")[0]


def _size(cell: Cell) -> str:
    size = cell.workload.partition("@")[2]
    return f" {int(size):,}" if size else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"  # noqa: PLR2004 - where decimals stop mattering
