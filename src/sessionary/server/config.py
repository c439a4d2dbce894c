"""The settings of the server: their names, types, bounds, defaults and descriptions, and how they are loaded.

A flag wins over the environment, the environment over the file, the file over the default.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import fields

from sessionary import constants
from sessionary.errors import InvalidRequestError
from sessionary.server.environment import FILE_VARIABLE, environment_warnings, settings_from_environment, variable_name
from sessionary.server.operations.limits import Burst, Count, RequestsPerSecond
from sessionary.server.setting_values import InvalidValueError, clean_text, closest_match, parse_value, trim
from sessionary.server.store.opening import without_password
from sessionary.server.toml_files import read_toml

__all__ = ["EffectiveSettings", "Settings", "format_setting", "load_settings", "setting_descriptions", "variable_name"]

FILE_DEFAULT: Final = "sessionary.toml"

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a server: each field is a flag, an environment variable and a key of the settings file."""

    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 takes a free one.")] = 8080
    behind_proxy: Annotated[
        bool,
        Meta(description="Only a proxy that terminates TLS can reach the address, so it need not be the loopback."),
    ] = False
    tls_certificate: Annotated[
        str, Meta(description="A PEM file with the certificate and its chain: the server then speaks TLS itself.")
    ] = ""
    tls_key: Annotated[str, Meta(description="A PEM file with the certificate's private key, without a password.")] = ""
    database: Annotated[
        str, Meta(min_length=1, description="Where sessions are stored: sqlite:///path or postgresql://user@host/name.")
    ] = "sqlite:///sessionary.db"
    migrate: Annotated[
        bool, Meta(description="Apply pending migrations at the start instead of refusing to start.")
    ] = True
    wait_seconds: Annotated[
        float,
        Meta(
            ge=0, le=3600, description="How long to wait at startup for a database that is not up yet; 0 does not wait."
        ),
    ] = 60.0
    first_token: Annotated[
        bool,
        Meta(description="On a terminal: create and print a token for the organisation demo if there is no token yet."),
    ] = True
    path_prefix: Annotated[
        str,
        Meta(
            pattern=r"/?([A-Za-z0-9._~-]+/)*[A-Za-z0-9._~-]*",
            title="a path like /chat",
            description="A path a proxy serves this server under, like /chat.",
        ),
    ] = ""
    expiry_horizon_days: Annotated[
        int, Meta(ge=1, le=3650, description="How many days from now a session may expire after it was extended.")
    ] = constants.EXPIRY_HORIZON_DAYS_DEFAULT
    sweep_seconds: Annotated[Seconds, Meta(description="The pause between two sweeps of expired sessions.")] = 5.0
    store_seconds: Annotated[
        Seconds, Meta(description="How long a request may take in the store, waiting included.")
    ] = 5.0
    header_seconds: Annotated[Seconds, Meta(description="How long the headers of a request may take to arrive.")] = 10.0
    body_seconds: Annotated[
        Seconds,
        Meta(description="How long a request body may take to arrive, or a client to read 1 MiB of a response."),
    ] = 30.0
    idle_seconds: Annotated[Seconds, Meta(description="How long a connection may stay open between requests.")] = 75.0
    connections: Annotated[int, Meta(ge=1, le=100_000, description="How many connections may be open at once.")] = 2_000
    shutdown_seconds: Annotated[Seconds, Meta(description="How long requests may take to finish after SIGTERM.")] = 6.0
    organisation_rate: Annotated[
        RequestsPerSecond,
        Meta(description="How many requests each organisation may make per second; 0 means unlimited."),
    ] = 0.0
    organisation_burst: Annotated[
        Burst, Meta(description="How many of them may arrive at once; 0 means one second's requests.")
    ] = 0
    organisation_sessions: Annotated[
        Count, Meta(description="How many live sessions each organisation may have; 0 means unlimited.")
    ] = 0
    organisation_stored_bytes: Annotated[
        Count,
        Meta(description="How many bytes of messages each organisation's live sessions may hold; 0 means unlimited."),
    ] = 0
    token_rate: Annotated[
        RequestsPerSecond, Meta(description="How many requests each token may make per second; 0 means unlimited.")
    ] = 0.0
    token_burst: Annotated[
        Burst, Meta(description="How many of them may arrive at once; 0 means one second's requests.")
    ] = 0
    limits_file: Annotated[
        str, Meta(description="A TOML file with other limits for some organisations and tokens.")
    ] = ""
    log_format: Annotated[
        LogFormat, Meta(description="json, text, or auto: text on a terminal and JSON elsewhere.")
    ] = "auto"
    log_level: Annotated[
        LogLevel, Meta(description="The least severe entries to log: debug, info, warning or error.")
    ] = "info"


class EffectiveSettings(Struct, frozen=True):
    """The settings in force, the source of each of them, and warnings about variables that are ignored."""

    settings: Settings
    sources: dict[str, str]
    warnings: tuple[str, ...] = ()


def setting_descriptions() -> dict[str, str]:
    """Return the description of each setting, by name, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    return {
        field.name: next(meta.description for meta in hints[field.name].__metadata__ if meta.description)
        for field in fields(Settings)
    }


def format_setting(name: str, value: Any) -> str:
    """Format a value for display, without its secrets."""
    if name == "database":
        return without_password(str(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def load_settings(
    flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: str | None = None
) -> EffectiveSettings:
    """Load the settings from flags, the environment and the settings file; raises InvalidRequestError."""
    values: dict[str, Any] = {}
    names = [field.name for field in fields(Settings)]
    sources = dict.fromkeys(names, "default")
    for source, given in (
        _load_file(file, environment),
        *settings_from_environment(environment, names),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        for name, value in given.items():
            values[name] = _parse_setting(name, value, source)
            sources[name] = source
    return EffectiveSettings(Settings(**values), sources, tuple(environment_warnings(environment, names)))


def _load_file(flag: str | None, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    given = [(flag or "", "--config"), (environment.get(FILE_VARIABLE, ""), f"environment {FILE_VARIABLE}")]
    named = next(((text, source) for text, source in given if trim(text)), None)
    if named is None:
        found = Path(FILE_DEFAULT)
        if not os.path.lexists(found):
            return "file", {}
    else:
        text, source = named
        try:
            found = Path(clean_text(text))
        except InvalidValueError as error:
            raise InvalidRequestError(f"The name of the settings file ({source}) is not valid: {error}.") from None
    return f"file {found}", read_toml(found, "The settings file")


def _parse_setting(name: str, value: Any, source: str) -> Any:
    hints = get_type_hints(Settings, include_extras=True)
    kind = hints.get(name)
    if kind is None:
        likely = closest_match(name, hints)
        raise InvalidRequestError(
            f"There is no setting {name[:100]!r} ({source})." + (f" Did you mean {likely}?" if likely else "")
        )
    try:
        return parse_value(kind, value)
    except InvalidValueError as error:
        raise InvalidRequestError(
            f"The setting {name} ({source}) is not valid: {error}. {setting_descriptions()[name]}"
        ) from None
