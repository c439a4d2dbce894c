"""How programs are started: sessionary as its users do, and uvicorn alike for everyone that is served by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.contenders.server import Server

REPOSITORY = Path(__file__).parents[2]
UVICORN = (
    *("-m", "uvicorn"),
    *("--host", "127.0.0.1"),
    *("--port", "{port}"),
    *("--loop", "uvloop"),
    *("--http", "httptools"),
    *("--log-level", "warning"),
    "--no-access-log",
)
NO_LIFESPAN = ("--lifespan", "off")

PROGRAM = (sys.executable, "-m", "sessionary")
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY / "src")}


def sessionary(*arguments: str) -> str:
    """Run one of sessionary's commands and return what it prints."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **ENVIRONMENT},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout


def sessionary_server(database_url: str, log: Path) -> Server:
    """Return a server of this database, not yet started."""
    command = (*PROGRAM, "serve", "--host", "127.0.0.1", "--port", "{port}", "--database", database_url)
    return Server(command, REPOSITORY, log, ENVIRONMENT)


def create_token(database_url: str, organisation: str) -> str:
    """Create a token for an organisation."""
    options = ("--database", database_url, "--organisation", organisation, "--name", "bench", "--json")
    return str(json.loads(sessionary("tokens", "create", *options))["token"])
