"""From settings and the limits file to what everyone is allowed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings
from sessionary.server.operations.limits import Burst, Count, Limits, Quota, RateLimit, RequestsPerSecond
from sessionary.server.operations.tokens import is_organisation
from sessionary.server.setting_values import InvalidValueError, meant, read_value
from sessionary.server.toml_files import read_toml

Entry = TypeVar("Entry", bound=Struct)

_TABLES: Final = ("organisations", "tokens")
_KINDS: Final[Mapping[str, Any]] = {
    "requests_per_second": RequestsPerSecond,
    "burst": Burst,
    "sessions": Count,
    "stored_bytes": Count,
}
_NAME_SHOWN_MAX: Final = 128
_TOKEN_ID: Final = re.compile("[0-9a-f]{20}")


class _TokenEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of a token; what it does not say is as for all."""

    requests_per_second: RequestsPerSecond | None = None
    burst: Burst | None = None


class _OrganisationEntry(_TokenEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says of an organisation."""

    sessions: Count | None = None
    stored_bytes: Count | None = None


def limits_from(settings: Settings) -> Limits:
    """Work out who may do how much; raises InvalidRequestError if the limits file is not right."""
    everyone = Limits(
        organisation_rate=_rate("organisation", settings.organisation_rate, settings.organisation_burst),
        token_rate=_rate("token", settings.token_rate, settings.token_burst),
        quota=Quota(sessions=settings.organisation_sessions, stored_bytes=settings.organisation_stored_bytes),
    )
    if not settings.limits_file:
        return everyone
    path = Path(settings.limits_file)
    tables = _read(path)
    organisations = _entries(path, tables, "organisations", _OrganisationEntry)
    tokens = _entries(path, tables, "tokens", _TokenEntry)
    return msgspec.structs.replace(
        everyone,
        organisation_rates={
            name: _own_rate(f"{path}: organisations.{name}", entry, everyone.organisation_rate)
            for name, entry in organisations.items()
        },
        token_rates={
            name: _own_rate(f"{path}: tokens.{name}", entry, everyone.token_rate) for name, entry in tokens.items()
        },
        quotas={name: _own_quota(entry, everyone.quota) for name, entry in organisations.items()},
    )


def _read(path: Path) -> Mapping[str, Any]:
    tables = read_toml(path, "The limits file")
    for name in sorted(tables.keys() - set(_TABLES)):
        raise InvalidRequestError(
            f"The limits file {path} knows organisations and tokens, not {name[:100]!r}.{_hint(name, _TABLES)}"
        )
    return tables


def _entries(path: Path, tables: Mapping[str, Any], table: str, kind: type[Entry]) -> dict[str, Entry]:
    given = tables.get(table, {})
    if not isinstance(given, dict):
        raise InvalidRequestError(f"The limits file {path} is not valid: {table} must be a table of tables.")
    return {name: _entry(f"{path}: {table}.{_shown(name)}", table, name, value, kind) for name, value in given.items()}


def _entry(place: str, table: str, name: str, value: Any, kind: type[Entry]) -> Entry:
    if table == "tokens" and not _TOKEN_ID.fullmatch(name):
        raise InvalidRequestError(f"The limits file {place} is not valid: a token is named by its id, 20 hex digits.")
    if table == "organisations" and not is_organisation(name):
        raise InvalidRequestError(f"The limits file {place} is not valid: no organisation can have this name.")
    if not isinstance(value, dict):
        raise InvalidRequestError(f"The limits file {place} is not valid: it must be a table.")
    return kind(**{key: _value(place, key, given, kind.__struct_fields__) for key, given in value.items()})


def _shown(name: str) -> str:
    return name if len(name) <= _NAME_SHOWN_MAX and name.isprintable() else ascii(name[:_NAME_SHOWN_MAX])


def _value(place: str, key: str, given: Any, known: tuple[str, ...]) -> Any:
    if key not in known:
        raise InvalidRequestError(
            f"The limits file {place} is not valid: there is no {key[:100]!r}.{_hint(key, known)}"
        )
    try:
        return read_value(_KINDS[key], given)
    except InvalidValueError as error:
        raise InvalidRequestError(f"The limits file {place} is not valid: {key}: {error}.") from None


def _hint(name: str, known: tuple[str, ...]) -> str:
    likely = meant(name, known)
    return f" Is {likely} meant?" if likely else f" There are {', '.join(known)}."


def _rate(place: str, requests_per_second: float, burst: int) -> RateLimit:
    if burst and not requests_per_second:
        raise InvalidRequestError(f"The limits of {place} are not valid: a burst needs requests per second.")
    return RateLimit(requests_per_second=requests_per_second, burst=burst)


def _own_rate(place: str, entry: _TokenEntry, everyone: RateLimit) -> RateLimit:
    if entry.requests_per_second is None:
        return _rate(place, everyone.requests_per_second, everyone.burst if entry.burst is None else entry.burst)
    # The burst for all goes with the rate for all.
    return _rate(place, entry.requests_per_second, entry.burst or 0)


def _own_quota(entry: _OrganisationEntry, everyone: Quota) -> Quota:
    return Quota(
        sessions=everyone.sessions if entry.sessions is None else entry.sessions,
        stored_bytes=everyone.stored_bytes if entry.stored_bytes is None else entry.stored_bytes,
    )
