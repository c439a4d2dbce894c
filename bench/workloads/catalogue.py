"""Every workload by its name, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.workloads.mix import Mix
from bench.workloads.reads import Get, ListGroup, ListOrganisation, ListUser
from bench.workloads.writes import Append, AppendToEach, AppendToOne, Create, Extend

if TYPE_CHECKING:
    from bench.workloads.base import Workload

WORKLOADS: dict[str, type[Workload]] = {
    workload.name: workload
    for workload in (
        Create,
        Append,
        Get,
        ListUser,
        ListGroup,
        ListOrganisation,
        Extend,
        Mix,
        AppendToOne,
        AppendToEach,
    )
}
