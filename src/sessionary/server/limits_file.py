"""Loading rate limits and quotas from the settings and the limits file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings
from sessionary.server.operations.limits import Burst, Count, Limits, Quota, RateLimit, RequestsPerSecond
from sessionary.server.operations.tokens import is_valid_organisation
from sessionary.server.setting_values import InvalidValueError, closest_match, parse_value
from sessionary.server.toml_files import read_toml

Entry = TypeVar("Entry", bound=Struct)

_TABLES: Final = ("organisations", "tokens")
_TYPES: Final[Mapping[str, Any]] = {
    "requests_per_second": RequestsPerSecond,
    "burst": Burst,
    "sessions": Count,
    "stored_bytes": Count,
}
_NAME_LENGTH_MAX: Final = 128
_TOKEN_ID: Final = re.compile("[0-9a-f]{20}")


class _TokenEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of a token in the file; a member that is absent is taken from the limits for everyone."""

    requests_per_second: RequestsPerSecond | None = None
    burst: Burst | None = None


class _OrganisationEntry(_TokenEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of an organisation in the file."""

    sessions: Count | None = None
    stored_bytes: Count | None = None


def load_limits(settings: Settings) -> Limits:
    """Load all limits; raises InvalidRequestError if the limits file is not valid."""
    everyone = Limits(
        organisation_rate=_rate("organisation", settings.organisation_rate, settings.organisation_burst),
        token_rate=_rate("token", settings.token_rate, settings.token_burst),
        quota=Quota(sessions=settings.organisation_sessions, stored_bytes=settings.organisation_stored_bytes),
    )
    if not settings.limits_file:
        return everyone
    path = Path(settings.limits_file)
    tables = _read(path)
    organisations = _parse_table(path, tables, "organisations", _OrganisationEntry)
    tokens = _parse_table(path, tables, "tokens", _TokenEntry)
    return msgspec.structs.replace(
        everyone,
        organisation_rates={
            name: _entry_rate(f"{path}: organisations.{name}", entry, everyone.organisation_rate)
            for name, entry in organisations.items()
        },
        token_rates={
            name: _entry_rate(f"{path}: tokens.{name}", entry, everyone.token_rate) for name, entry in tokens.items()
        },
        quotas={name: _entry_quota(entry, everyone.quota) for name, entry in organisations.items()},
    )


def _read(path: Path) -> Mapping[str, Any]:
    tables = read_toml(path, "The limits file")
    for name in sorted(tables.keys() - set(_TABLES)):
        raise InvalidRequestError(
            f"The limits file {path} is not valid: there is no table {name[:100]!r}.{_hint(name, _TABLES)}"
        )
    return tables


def _parse_table(path: Path, tables: Mapping[str, Any], table: str, kind: type[Entry]) -> dict[str, Entry]:
    given = tables.get(table, {})
    if not isinstance(given, dict):
        raise InvalidRequestError(f"The limits file {path} is not valid: {table} must be a table of tables.")
    return {
        name: _parse_entry(f"{path}: {table}.{_format_name(name)}", table, name, value, kind)
        for name, value in given.items()
    }


def _parse_entry(location: str, table: str, name: str, value: Any, kind: type[Entry]) -> Entry:
    if table == "tokens" and not _TOKEN_ID.fullmatch(name):
        raise InvalidRequestError(
            f"The limits file {location} is not valid: tokens are identified by their id, 20 hexadecimal digits."
        )
    if table == "organisations" and not is_valid_organisation(name):
        raise InvalidRequestError(
            f"The limits file {location} is not valid: this is not a valid name of an organisation."
        )
    if not isinstance(value, dict):
        raise InvalidRequestError(f"The limits file {location} is not valid: it must be a table.")
    return kind(**{key: _parse_member(location, key, given, kind.__struct_fields__) for key, given in value.items()})


def _format_name(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH_MAX and name.isprintable() else ascii(name[:_NAME_LENGTH_MAX])


def _parse_member(location: str, key: str, given: Any, known: tuple[str, ...]) -> Any:
    if key not in known:
        raise InvalidRequestError(
            f"The limits file {location} is not valid: there is no {key[:100]!r}.{_hint(key, known)}"
        )
    try:
        return parse_value(_TYPES[key], given)
    except InvalidValueError as error:
        raise InvalidRequestError(f"The limits file {location} is not valid: {key}: {error}.") from None


def _hint(name: str, known: tuple[str, ...]) -> str:
    likely = closest_match(name, known)
    return f" Did you mean {likely}?" if likely else f" Known names: {', '.join(known)}."


def _rate(location: str, requests_per_second: float, burst: int) -> RateLimit:
    if burst and not requests_per_second:
        raise InvalidRequestError(f"The limits of {location} are not valid: a burst needs requests per second.")
    return RateLimit(requests_per_second=requests_per_second, burst=burst)


def _entry_rate(location: str, entry: _TokenEntry, everyone: RateLimit) -> RateLimit:
    if entry.requests_per_second is None:
        return _rate(location, everyone.requests_per_second, everyone.burst if entry.burst is None else entry.burst)
    # The default burst belongs to the default rate, so it is not inherited.
    return _rate(location, entry.requests_per_second, entry.burst or 0)


def _entry_quota(entry: _OrganisationEntry, everyone: Quota) -> Quota:
    return Quota(
        sessions=everyone.sessions if entry.sessions is None else entry.sessions,
        stored_bytes=everyone.stored_bytes if entry.stored_bytes is None else entry.stored_bytes,
    )
