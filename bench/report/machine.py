"""On what and with what a run was made."""

from __future__ import annotations

import platform
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from bench.contenders.conventional import REQUIREMENTS as CONVENTIONAL
from bench.contenders.environments import pinned
from bench.contenders.programs import REPOSITORY
from bench.contenders.workspace import POSTGRES_SETTINGS
from bench.peers.adk import REQUIREMENTS as ADK
from bench.peers.agents_sdk import REQUIREMENTS as AGENTS

if TYPE_CHECKING:
    from bench.contenders.workspace import Workspace
    from bench.plan import Plan

PACKAGES = ("sessionary", "uvicorn", "uvloop", "httptools", "msgspec", "apsw", "asyncpg")
RAM_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


def describe(plan: Plan, workspace: Workspace) -> dict[str, Any]:
    """Return the machine, the versions and the settings of a run."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(("python -m bench", *sys.argv[1:])),
        "commit": _first_line("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
        "machine": {
            "processors": cpu_count(),
            "processor": _field(Path("/proc/cpuinfo"), "model name"),
            "memory": _field(Path("/proc/meminfo"), "MemTotal"),
            "kernel": platform.release(),
            "file system": file_system(workspace.directory),
        },
        "versions": {
            "python": platform.python_version(),
            "sqlite (sessionary)": apsw.sqlite_lib_version(),
            "sqlite (conventional)": sqlite3.sqlite_version,
            "postgresql": workspace.postgres.version if any("postgres" in name for name in plan.contenders) else None,
            **{name: _version(name) for name in PACKAGES},
        },
        "settings": {
            "rounds": plan.rounds,
            "seconds a round": plan.seconds,
            "sessions in a pool": plan.scale.pool_sessions,
            "sessions in the archive": plan.scale.archive_sessions,
            "postgresql": POSTGRES_SETTINGS,
            "conventional": pinned(CONVENTIONAL),
            "peers": pinned(ADK) + pinned(AGENTS),
        },
    }


def file_system(directory: Path) -> str:
    """Return the type of the file system that a directory lies on."""
    return _first_line("stat", "--file-system", "--format=%T", str(directory))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _field(file: Path, name: str) -> str:
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().split("\n")[0] or "unknown"
