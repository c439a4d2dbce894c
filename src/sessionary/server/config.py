"""Every setting: its name, default, environment variable and one sentence.

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
from sessionary.server.environment import FILE_VARIABLE, settings_among, variable_of, warnings_about
from sessionary.server.operations.limits import Burst, Count, RequestsPerSecond
from sessionary.server.setting_values import InvalidValueError, checked_text, meant, read_value, trimmed
from sessionary.server.store.opening import without_password
from sessionary.server.toml_files import read_toml

__all__ = ["Effective", "Settings", "descriptions", "effective", "shown", "variable_of"]

FILE_DEFAULT: Final = "sessionary.toml"

LogFormat = Literal["auto", "json", "text"]
LogLevel = Literal["debug", "info", "warning", "error"]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server runs: each field is a flag, a variable and a key of the file, with what it is for beside it."""

    host: Annotated[str, Meta(min_length=1, description="The address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="The port to listen on; 0 takes a free one.")] = 8080
    behind_proxy: Annotated[
        bool, Meta(description="Say that only a proxy that ends TLS can reach the address, if it is not the loopback.")
    ] = False
    tls_certificate: Annotated[
        str, Meta(description="A PEM file with the certificate and its chain: the server then speaks TLS itself.")
    ] = ""
    tls_key: Annotated[str, Meta(description="A PEM file with the certificate's private key, without a password.")] = ""
    database: Annotated[
        str, Meta(min_length=1, description="Where sessions are kept: sqlite:///path or postgresql://user@host/name.")
    ] = "sqlite:///sessionary.db"
    migrate: Annotated[
        bool, Meta(description="Apply pending migrations at the start instead of refusing to start.")
    ] = True
    wait_seconds: Annotated[
        float,
        Meta(
            ge=0, le=3600, description="How long to wait at the start for a database that is not up yet; 0 waits not."
        ),
    ] = 60.0
    first_token: Annotated[
        bool,
        Meta(description="On a terminal: make and print a token for the organisation demo if the store has no token."),
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
        int, Meta(ge=1, le=3650, description="How many days ahead of now extending may move an expiry.")
    ] = constants.EXPIRY_HORIZON_DAYS_DEFAULT
    sweep_seconds: Annotated[Seconds, Meta(description="The pause between two sweeps of expired sessions.")] = 5.0
    store_seconds: Annotated[
        Seconds, Meta(description="How long a request may take in the store, waiting included.")
    ] = 5.0
    header_seconds: Annotated[Seconds, Meta(description="How long the headers of a request may take to arrive.")] = 10.0
    body_seconds: Annotated[
        Seconds,
        Meta(description="How long the body of a request may take to arrive, or 1 MiB of an answer to be taken."),
    ] = 30.0
    idle_seconds: Annotated[Seconds, Meta(description="How long a connection may stay open between requests.")] = 75.0
    connections: Annotated[int, Meta(ge=1, le=100_000, description="How many connections may be open at once.")] = 2_000
    shutdown_seconds: Annotated[
        Seconds, Meta(description="How long requests may take to finish once the server is told to stop.")
    ] = 6.0
    organisation_rate: Annotated[
        RequestsPerSecond, Meta(description="How many requests each organisation may make a second; 0 counts none.")
    ] = 0.0
    organisation_burst: Annotated[
        Burst, Meta(description="How many of them may come at once; 0 means those of one second.")
    ] = 0
    organisation_sessions: Annotated[
        Count, Meta(description="How many live sessions each organisation may have; 0 counts none.")
    ] = 0
    organisation_stored_bytes: Annotated[
        Count, Meta(description="How many bytes of messages each organisation's live sessions may hold; 0 counts none.")
    ] = 0
    token_rate: Annotated[
        RequestsPerSecond, Meta(description="How many requests each token may make a second; 0 counts none.")
    ] = 0.0
    token_burst: Annotated[
        Burst, Meta(description="How many of them may come at once; 0 means those of one second.")
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


class Effective(Struct, frozen=True):
    """The settings in force, where each of them came from, and what was given and is not obeyed."""

    settings: Settings
    sources: dict[str, str]
    warnings: tuple[str, ...] = ()


def descriptions() -> dict[str, str]:
    """Say what each setting is for, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    return {
        field.name: next(meta.description for meta in hints[field.name].__metadata__ if meta.description)
        for field in fields(Settings)
    }


def shown(name: str, value: Any) -> str:
    """Show a value without its secrets."""
    if name == "database":
        return without_password(str(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def effective(
    flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ, file: str | None = None
) -> Effective:
    """Work out every setting from flags that were given, the environment and the file; raises InvalidRequestError."""
    values: dict[str, Any] = {}
    names = [field.name for field in fields(Settings)]
    sources = dict.fromkeys(names, "default")
    for source, given in (
        _from_file(file, environment),
        *settings_among(environment, names),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        for name, value in given.items():
            values[name] = _converted(name, value, source)
            sources[name] = source
    return Effective(Settings(**values), sources, tuple(warnings_about(environment, names)))


def _from_file(flag: str | None, environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    given = [(flag or "", "--config"), (environment.get(FILE_VARIABLE, ""), f"environment {FILE_VARIABLE}")]
    named = next(((text, source) for text, source in given if trimmed(text)), None)
    if named is None:
        found = Path(FILE_DEFAULT)
        if not os.path.lexists(found):
            return "file", {}
    else:
        text, source = named
        try:
            found = Path(checked_text(text))
        except InvalidValueError as error:
            raise InvalidRequestError(f"The name of the settings file ({source}) is not valid: {error}.") from None
    return f"file {found}", read_toml(found, "The settings file")


def _converted(name: str, value: Any, source: str) -> Any:
    hints = get_type_hints(Settings, include_extras=True)
    kind = hints.get(name)
    if kind is None:
        likely = meant(name, hints)
        raise InvalidRequestError(
            f"There is no setting {name[:100]!r} ({source})." + (f" Is {likely} meant?" if likely else "")
        )
    try:
        return read_value(kind, value)
    except InvalidValueError as error:
        raise InvalidRequestError(
            f"The setting {name} ({source}) is not valid: {error}. {descriptions()[name]}"
        ) from None
