"""System calls that fail at random (with libfiu, from the Debian package fiu-utils)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FIU_LIBRARIES: Final = (Path("/usr/lib/fiu/fiu_run_preload.so"), Path("/usr/lib/fiu/fiu_posix_preload.so"))


def failing_system_calls(point: str, probability: float) -> Mapping[str, str]:
    """Return the environment that makes system calls such as `posix/io/sync/*` fail with a probability."""
    return {
        "LD_PRELOAD": " ".join(map(str, FIU_LIBRARIES)),
        # 5 is EIO, as from a broken disk.
        "FIU_ENABLE": f"enable_random name={point},failinfo=5,probability={probability}",
    }
