"""File systems of a few megabytes, and how to fill them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_FILL_BYTES: Final = 64 * 1024


@contextmanager
def small_disk_at(directory: Path, size: int) -> Iterator[None]:
    """Mount an empty file system of ``size`` bytes at a directory; skips if that is not allowed."""
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("mounting a file system needs root, and a container that allows it")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def fill(disk: Path) -> Path:
    """Write a file until the disk is full, and return it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (_FILL_BYTES, 4096, 1):
            try:
                while file.write(os.urandom(size)) == size:
                    pass
            except OSError:
                continue
    return ballast
