"""The environment: which of its variables are settings, which only look like them, and which are misspelt."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sessionary.server.setting_values import meant, trimmed

PREFIX: Final = "SESSIONARY_"
FILE_VARIABLE: Final = "SESSIONARY_CONFIG"
_OTHERS: Final = frozenset({FILE_VARIABLE, "SESSIONARY_URL", "SESSIONARY_ORGANISATION", "SESSIONARY_TOKEN"})
"""Those that are no settings of the server: the file's, and the client's."""
# Kubernetes sets these for every Service whose name is `sessionary` or begins with `sessionary-`, and Docker for links.
_OF_A_SERVICE: Final = re.compile(
    r"SESSIONARY_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|ENV_\w+"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_PORT)?(?:_(?:PROTO|PORT|ADDR|START|END))?)"
)
_ADDRESS_OF_A_SERVICE: Final = re.compile(r"SESSIONARY_(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*", re.IGNORECASE)
_NAME_OF_A_LINK: Final = re.compile(r"SESSIONARY_(?:\w+_)?NAME=/.*")
_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://.*", re.IGNORECASE)
_WARNINGS_MAX: Final = 20


def variable_of(name: str) -> str:
    """Name the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


def settings_among(environment: Mapping[str, str], names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Find the settings that have a variable, each with its source; an empty one is one that is not set."""
    given = [(name, variable_of(name)) for name in names]
    return [
        (f"environment {variable}", {name: environment[variable]})
        for name, variable in given
        if trimmed(environment.get(variable, "")) and not _is_address(variable, environment[variable])
    ]


def warnings_about(environment: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Say which variables are not obeyed though they look like settings, and which setting is meant."""
    known = {variable_of(name) for name in names} | _OTHERS
    found = [
        warning
        for variable in sorted(environment)
        if variable.upper().startswith(PREFIX)
        and (warning := _warning(variable, environment[variable], known)) is not None
    ]
    return found[:_WARNINGS_MAX]


def _warning(variable: str, value: str, known: set[str]) -> str | None:
    if _is_address(variable, value):
        return (
            f"The variable {variable} is ignored: it holds the address of a service, as Kubernetes and Docker set it,"
            " and not a port."
        )
    if variable in known or _is_of_a_service(variable, value):
        return None
    name = meant(variable[len(PREFIX) :], [each[len(PREFIX) :] for each in known])
    hint = f" Is {PREFIX}{name} meant?" if name else ""
    return f"The variable {ascii(variable)[1:-1][:100]} is ignored: there is no such setting.{hint}"


def _is_address(variable: str, value: str) -> bool:
    return variable == variable_of("port") and _ADDRESS.fullmatch(trimmed(value)) is not None


def _is_of_a_service(variable: str, value: str) -> bool:
    given = f"{variable}={trimmed(value)}"
    return any(
        (
            _OF_A_SERVICE.fullmatch(variable),
            _ADDRESS_OF_A_SERVICE.fullmatch(given),
            _NAME_OF_A_LINK.fullmatch(given),
        )
    )
