"""Every setting: its name, default, environment variable and one sentence.

A flag wins over the environment, the environment over the file, the file over the default.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

from sessionary import limits
from sessionary.errors import InvalidRequest
from sessionary.operations.allowances import Burst, Count, RequestsPerSecond
from sessionary.store.opening import without_password

PREFIX: Final = "SESSIONARY_"
FILE_VARIABLE: Final = "SESSIONARY_CONFIG"
FILE_DEFAULT: Final = "sessionary.toml"

LogFormat = Annotated[str, Meta(pattern="^(auto|json|text)$")]
LogLevel = Annotated[str, Meta(pattern="^(debug|info|warning|error)$")]
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
    first_token: Annotated[
        bool, Meta(description="Make and print a token for the organisation demo if the store has no token.")
    ] = True
    path_prefix: Annotated[
        str, Meta(pattern="^(/[A-Za-z0-9._~-]+)*$", description="A path a proxy serves this server under, like /chat.")
    ] = ""
    expiry_horizon_days: Annotated[
        int, Meta(ge=1, le=3650, description="How many days ahead of now extending may move an expiry.")
    ] = limits.EXPIRY_HORIZON_DAYS_DEFAULT
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
    """The settings in force, and where each of them came from."""

    settings: Settings
    sources: dict[str, str]


def variable_of(name: str) -> str:
    """Name the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"


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
    """Work out every setting from flags that were given, the environment and the file; raises InvalidRequest."""
    values: dict[str, Any] = {}
    sources = {field.name: "default" for field in fields(Settings)}
    for source, given in (
        _from_file(file or environment.get(FILE_VARIABLE)),
        *_from_environment(environment),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        for name, value in given.items():
            values[name] = _converted(name, value, source)
            sources[name] = source
    return Effective(Settings(**values), sources)


def _from_file(path: str | None) -> tuple[str, dict[str, Any]]:
    found = Path(path or FILE_DEFAULT)
    if path is None and not found.exists():
        return "file", {}
    try:
        return f"file {found}", tomllib.loads(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"The settings file {found} cannot be read: {error}.") from error


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    given = [(field.name, variable_of(field.name)) for field in fields(Settings)]
    return [(f"environment {name}", {field: environment[name]}) for field, name in given if name in environment]


def _converted(name: str, value: Any, source: str) -> Any:
    kind = get_type_hints(Settings, include_extras=True).get(name)
    if kind is None:
        raise InvalidRequest(f"There is no setting {name!r} ({source}).")
    try:
        return msgspec.convert(value, kind, strict=not isinstance(value, str))
    except msgspec.ValidationError as error:
        fault = str(error).replace("`", "")
        raise InvalidRequest(f"The setting {name} ({source}) is not valid: {fault}. {descriptions()[name]}") from None
