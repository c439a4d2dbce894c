"""System calls that fail by chance (libfiu, Debian's package fiu-utils)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FIU_LIBRARIES: Final = (Path("/usr/lib/fiu/fiu_run_preload.so"), Path("/usr/lib/fiu/fiu_posix_preload.so"))


def failing(point: str, probability: float) -> Mapping[str, str]:
    """Return the environment in which a program's calls at a point, such as `posix/io/sync/*`, fail so often."""
    return {
        "LD_PRELOAD": " ".join(map(str, FIU_LIBRARIES)),
        # EIO, as from a disk that lost what it was given.
        "FIU_ENABLE": f"enable_random name={point},failinfo=5,probability={probability}",
    }
