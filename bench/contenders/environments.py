"""Virtual environments for the programs that we are compared with: made once, kept beside the benchmark."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).parents[1] / ".venvs"


def virtual_environment(name: str, requirements: Path) -> Path:
    """Return the interpreter of an environment that holds these pinned requirements; install it the first time."""
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    folder, stamp = HOME / name, HOME / name / "installed"
    python = folder / "bin/python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing what {name} needs (the first time only)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run(
        [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", requirements], check=True
    )
    stamp.write_text(wanted)
    return python


def pinned(requirements: Path) -> list[str]:
    """Return the pins of a requirements file."""
    return [line for line in requirements.read_text().splitlines() if line and not line.startswith("#")]
