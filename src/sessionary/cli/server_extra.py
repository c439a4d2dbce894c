"""Checks for the server's libraries, which are installed with `sessionary[server]` only."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from sessionary.errors import ConfigurationError

Command = TypeVar("Command", bound=Callable[..., Any])

_LIBRARIES: Final = ("apsw", "asyncpg", "httptools", "uvicorn", "uvloop")


def needs_server_libraries(command: Command) -> Command:
    """Let a command fail with a clear message if a library of the server is not installed."""

    @functools.wraps(command)
    def checked(*arguments: Any, **options: Any) -> Any:
        missing = [name for name in _LIBRARIES if find_spec(name) is None]
        if missing:
            raise ConfigurationError(
                f"This command needs the server's libraries; missing: {', '.join(missing)}. "
                "Install them with: pip install 'sessionary[server]'"
            )
        return command(*arguments, **options)

    return checked  # type: ignore[return-value]  # the same signature
