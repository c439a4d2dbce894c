"""The benchmark: `python -m bench [--quick] [--only WORD ...]`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.arguments import read_command_line
from bench.comparing import Stage
from bench.contenders.workspace import Workspace
from bench.report.figures import figures
from bench.report.machine import RAM_FILE_SYSTEMS, describe, file_system
from bench.report.page import page
from bench.report.progress import Progress
from bench.report.table import cells_table, figures_table, finding_row, verdicts_text
from bench.results import Finding, Results
from bench.studies.catalogue import STUDIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.plan import Plan


def main(arguments: Sequence[str]) -> int:
    """Measure what the command line asks for, and write down what was found; 1 if something acknowledged is lost."""
    plan = read_command_line(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=plan.directory) as directory:
        workspace = Workspace(Path(directory), plan.scale, with_archive=plan.needs_archive)
        stage = Stage(plan, workspace, Progress())
        try:
            results = run(stage)
        finally:
            workspace.close()
    write(results, plan, stage.progress)
    stage.progress.tell(f"took {stage.progress.elapsed:.0f} s; results in {plan.output}")
    return int(any(verdict.complaint for verdict in results.verdicts))


def run(stage: Stage) -> Results:
    """Carry out a plan: the loads first, then the studies."""
    plan, progress = stage.plan, stage.progress
    results = Results(describe(plan, stage.workspace))
    if (kind := file_system(stage.workspace.directory)) in RAM_FILE_SYSTEMS:
        progress.tell(f"WARNING: the databases lie on a {kind}: commits cost nothing there; use --directory")
    with stage.started():
        for workload in plan.workloads:
            for cells in stage.compare(workload):
                progress.tell(cells_table(cells))
                results.cells += cells
            results.verdicts += stage.verify(workload)
        for study in plan.studies:
            for found in STUDIES[study](stage):
                if isinstance(found, Finding):
                    progress.tell(finding_row(found))
                    results.findings.append(found)
                else:
                    progress.tell(cells_table(found))
                    results.cells += found
    progress.tell("\n" + verdicts_text(results.verdicts))
    progress.tell(figures_table(figures(results)))
    return results


def write(results: Results, plan: Plan, progress: Progress) -> None:
    """Write the results as JSON, as charts and as a page."""
    plan.output.mkdir(parents=True, exist_ok=True)
    (plan.output / "results.json").write_text(json.dumps(results.as_json(), indent=1) + "\n")
    try:
        # The charts' library is large, and a developer who tunes one figure can do without.
        from bench.report.charts import draw  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        progress.tell(f"no charts: {missing}")
    else:
        draw(results, plan.output)
    (plan.output / "results.md").write_text(page(results, plan.output))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
