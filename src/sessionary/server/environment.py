"""Finding settings among the environment variables, and warning about variables that only look like settings."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sessionary.server.setting_values import closest_match, trim

PREFIX: Final = "SESSIONARY_"
FILE_VARIABLE: Final = "SESSIONARY_CONFIG"
_OTHER_VARIABLES: Final = frozenset({FILE_VARIABLE, "SESSIONARY_URL", "SESSIONARY_ORGANISATION", "SESSIONARY_TOKEN"})
"""Variables that are not settings of the server: the path of the settings file, and those of the client."""
# Kubernetes sets these for a Service whose name is `sessionary` or starts with `sessionary-`, and Docker for links.
_SERVICE_VARIABLE: Final = re.compile(
    r"SESSIONARY_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|ENV_\w+"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_PORT)?(?:_(?:PROTO|PORT|ADDR|START|END))?)"
)
_SERVICE_ADDRESS_PAIR: Final = re.compile(r"SESSIONARY_(?:\w+_)?PORT=(?:tcp|udp|sctp)://.*", re.IGNORECASE)
_LINK_NAME_PAIR: Final = re.compile(r"SESSIONARY_(?:\w+_)?NAME=/.*")
_SERVICE_ADDRESS: Final = re.compile(r"(?:tcp|udp|sctp)://.*", re.IGNORECASE)
_WARNINGS_MAX: Final = 20


def variable_name(name: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{PREFIX}{name.upper()}"


def settings_from_environment(environment: Mapping[str, str], names: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the settings whose variable is set and not empty, each with its source."""
    given = [(name, variable_name(name)) for name in names]
    return [
        (f"environment {variable}", {name: environment[variable]})
        for name, variable in given
        if trim(environment.get(variable, "")) and not _is_service_address(variable, environment[variable])
    ]


def environment_warnings(environment: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Return a warning for each variable that looks like a setting and is ignored."""
    known = {variable_name(name) for name in names} | _OTHER_VARIABLES
    found = [
        warning
        for variable in sorted(environment)
        if variable.upper().startswith(PREFIX)
        and (warning := _warning(variable, environment[variable], known)) is not None
    ]
    return found[:_WARNINGS_MAX]


def _warning(variable: str, value: str, known: set[str]) -> str | None:
    if _is_service_address(variable, value):
        return (
            f"The variable {variable} is ignored: it holds the address of a service, as set by Kubernetes and Docker,"
            " not a port."
        )
    if variable in known or _is_service_variable(variable, value):
        return None
    name = closest_match(variable[len(PREFIX) :], [each[len(PREFIX) :] for each in known])
    hint = f" Did you mean {PREFIX}{name}?" if name else ""
    return f"The variable {ascii(variable)[1:-1][:100]} is ignored: there is no such setting.{hint}"


def _is_service_address(variable: str, value: str) -> bool:
    return variable == variable_name("port") and _SERVICE_ADDRESS.fullmatch(trim(value)) is not None


def _is_service_variable(variable: str, value: str) -> bool:
    given = f"{variable}={trim(value)}"
    return any(
        (
            _SERVICE_VARIABLE.fullmatch(variable),
            _SERVICE_ADDRESS_PAIR.fullmatch(given),
            _LINK_NAME_PAIR.fullmatch(given),
        )
    )
