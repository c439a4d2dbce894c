"""What a run found: samples and their medians, findings of the studies, and whether what was acknowledged is kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.contenders.base import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several rounds, between their least and their greatest."""

    median: float
    least: float
    most: float


def spread_of(values: Sequence[float]) -> Spread:
    """Return the median of values, with the least and the greatest."""
    return Spread(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Cell:
    """All rounds of one contender under one load."""

    workload: str
    connections: int
    contender: str
    samples: Sequence[Sample]

    def spread(self, measure: str) -> Spread:
        """Return the median of one measure over the rounds, with its least and greatest."""
        return spread_of([float(getattr(sample, measure)) for sample in self.samples])

    def as_json(self) -> dict[str, Any]:
        """Return the cell for the JSON result, rounds and medians."""
        measures = [found.name for found in fields(Sample)]
        return {
            "workload": self.workload,
            "connections": self.connections,
            "contender": self.contender,
            "median": {measure: self.spread(measure).median for measure in measures},
            "rounds": [{measure: getattr(sample, measure) for measure in measures} for sample in self.samples],
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a study found out about one contender."""

    study: str
    contender: str
    what: str
    values: Sequence[float]
    unit: str
    note: str = ""

    @property
    def spread(self) -> Spread:
        """The median of its values, with the least and the greatest."""
        return spread_of(self.values)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a contender keeps everything that it acknowledged under a load."""

    workload: str
    contender: str
    complaint: str = ""


@dataclass(slots=True)
class Results:
    """Everything that a run found so far."""

    machine: dict[str, Any]
    cells: list[Cell] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def cell(self, contender: str, workload: str, connections: int) -> Cell | None:
        """Return what was measured of a contender under a load, if it was."""
        wanted = (contender, workload, connections)
        return next((c for c in self.cells if (c.contender, c.workload, c.connections) == wanted), None)

    def finding(self, study: str, contender: str, what: str) -> Finding | None:
        """Return what a study found out, if it did."""
        wanted = (study, contender, what)
        return next((f for f in self.findings if (f.study, f.contender, f.what) == wanted), None)

    def as_json(self) -> dict[str, Any]:
        """Return everything for the JSON result."""
        return {
            "machine": self.machine,
            "cells": [cell.as_json() for cell in self.cells],
            "findings": [{**asdict(found), "median": found.spread.median} for found in self.findings],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }
