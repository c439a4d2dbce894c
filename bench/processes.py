"""What processes cost: their CPU time, their children's and their memory, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
NANOSECONDS = 1_000_000_000
KIB_PER_MIB = 1024
# Fields of /proc/PID/stat, counted after the closing bracket of the command's name.
PARENT, USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 1, 11, 12, 13, 14


@dataclass(frozen=True, slots=True)
class CpuReading:
    """CPU seconds of a process tree so far, each process apart, so that two readings can be subtracted."""

    running: dict[int, float]
    ended: float

    def since(self, earlier: CpuReading) -> float:
        """CPU seconds that passed between two readings; children that ended count through their parent."""
        still = sum(seconds - earlier.running.get(pid, 0.0) for pid, seconds in self.running.items())
        gone = sum(seconds for pid, seconds in earlier.running.items() if pid not in self.running)
        return still + max(0.0, self.ended - earlier.ended - gone)


def read_cpu(roots: Iterable[int]) -> CpuReading:
    """Read the CPU time of these processes and all their descendants."""
    stats = {pid: fields for pid in tree(roots) if (fields := _stat(pid))}
    return CpuReading(
        running={pid: _cpu_seconds(pid, fields) for pid, fields in stats.items()},
        ended=sum(
            (int(fields[CHILDREN_USER]) + int(fields[CHILDREN_SYSTEM])) / TICKS_PER_SECOND for fields in stats.values()
        ),
    )


def resident_mib(roots: Iterable[int]) -> float:
    """Resident memory of these processes and their descendants."""
    return sum(_resident_kib(pid) for pid in tree(roots)) / KIB_PER_MIB


def tree(roots: Iterable[int]) -> list[int]:
    """These processes and all their descendants, parents first."""
    children: dict[int, list[int]] = {}
    for pid in (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()):
        if fields := _stat(pid):
            children.setdefault(int(fields[PARENT]), []).append(pid)
    found = list(roots)
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def machine_busy_seconds() -> float:
    """CPU seconds that anyone on this machine has used so far."""
    user, nice, system, _idle, _wait, *others = map(int, (PROC / "stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + sum(others[:3])) / TICKS_PER_SECOND


def _cpu_seconds(pid: int, stat: list[str]) -> float:
    try:
        tasks = [(task / "schedstat").read_text() for task in (PROC / str(pid) / "task").iterdir()]
        return sum(int(task.split()[0]) for task in tasks) / NANOSECONDS
    except (OSError, ValueError, IndexError):
        # A kernel without schedstat counts in ticks of 10 ms.
        return (int(stat[USER]) + int(stat[SYSTEM])) / TICKS_PER_SECOND


def _resident_kib(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
