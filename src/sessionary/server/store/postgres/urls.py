"""Parse and check PostgreSQL URLs: hosts, login, TLS and settings."""

import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from msgspec import Struct

from sessionary.errors import StoreUnavailableError

_TLS: Final = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_WHERE: Final = ("host", "port", "user", "password", "passfile", "dbname", "database", "service")
_SCHEMAS: Final = ("schema", "currentSchema", "search_path")
_NAMES: Final = ("application_name", "fallback_application_name")
_OTHERS: Final = ("target_session_attrs", "channel_binding", "connect_timeout", "options")
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": _SSLMODES,
    "channel_binding": ("disable", "prefer", "require"),
    # The server writes, so it cannot use a standby.
    "target_session_attrs": ("any", "primary", "read-write"),
    "gssencmode": ("disable", "prefer"),
    "client_encoding": ("UTF8", "utf8", "UTF-8", "utf-8", "auto"),
    # Set for poolers that share connections between transactions, which cannot be used.
    "pgbouncer": ("false",),
}
_ACCEPTED: Final = (*_WHERE, *_TLS, *_SCHEMAS, *_NAMES, *_OTHERS, "gssencmode", "client_encoding", "pgbouncer")
_LISTED: Final = ", ".join((*_TLS, *_OTHERS, "application_name", "search_path", "passfile"))
_SETTING: Final = re.compile(r"(?<!\s)\s*(?:-c\s*|--)([A-Za-z_][\w.]*)=((?:\\.|[^\s\\])*)")
_ESCAPE: Final = re.compile(r"\\(.)")
_PORT_MAX: Final = 65_535

HostAddress = tuple[str | None, int | None]
"""A host, or the directory of a socket, and a port; None for the driver's default."""


class Target(Struct, frozen=True, kw_only=True):
    """Where and how to connect; ``shown`` names it without secrets."""

    shown: str
    hosts: tuple[HostAddress, ...]
    user: str | None = None
    password: str | None = None
    database: str | None = None
    passfile: str | None = None
    driver_url: str | None = None
    verified: bool = False
    certificate: tuple[str, str | None] | None = None
    settings: Mapping[str, str] = {}
    startup: Mapping[str, str] = {}
    seconds_max: float | None = None


def read_url(url: str) -> Target:
    """Parse ``postgresql://user:password@host,host/name?parameter=value``.

    Raises StoreUnavailableError for what cannot be parsed or is not supported; the error names the parameter, never its
    value.
    """
    try:
        parts = urlsplit(url)
        # A fragment is the rest of a password that contains #.
        parameters = dict(
            parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query or parts.fragment))
        )
        login, _, hostspec = parts.netloc.rpartition("@")
        hosts = _hosts(hostspec, parameters)
    except ValueError as error:
        # What cannot be parsed may be a part of the password.
        raise StoreUnavailableError(
            "The URL of the database cannot be read: encode special characters in it as %XX, also in the password; "
            "a port is a number of 1 to 65535."
        ) from error
    _check(parameters)
    user, separator, password = login.partition(":")
    database = unquote(parts.path.removeprefix("/")) or parameters.get("dbname") or parameters.get("database")
    settings, startup = _settings(parameters)
    return Target(
        shown=f"{','.join(map(_format_host, hosts))}/{database or ''}".rstrip("/"),
        hosts=hosts,
        user=unquote(user) or parameters.get("user"),
        password=unquote(password) if separator else parameters.get("password"),
        database=database,
        passfile=parameters.get("passfile"),
        driver_url=_driver_url(parameters),
        verified=_is_verified(parameters),
        certificate=(parameters["sslcert"], parameters.get("sslkey")) if "sslcert" in parameters else None,
        settings=settings,
        startup=startup,
        seconds_max=_seconds(parameters),
    )


def tls_context(target: Target) -> ssl.SSLContext | None:
    """Trust the system's certificates if the URL asks for a verified server and names no other certificates."""
    if not target.verified:
        return None
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if target.certificate is not None:
        context.load_cert_chain(*target.certificate)
    return context


def _hosts(hostspec: str, parameters: Mapping[str, str]) -> tuple[HostAddress, ...]:
    ports = [_port(port) for port in parameters.get("port", "").split(",")]
    listed = hostspec or parameters.get("host", "")
    if not listed:
        if len(ports) > 1:
            raise ValueError("several ports, and no host")
        return ((None, ports[0]),)
    hosts = [_host(unquote(part)) for part in listed.split(",")]
    if len(ports) not in {1, len(hosts)}:
        raise ValueError("as many ports as hosts, or one for all")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return tuple((host, own or port) for (host, own), port in zip(hosts, ports, strict=True))


def _host(part: str) -> HostAddress:
    if not part:
        raise ValueError("an empty host")
    if part.startswith("/"):
        return part, None
    if part.startswith("["):
        address, bracket, rest = part[1:].partition("]")
        if not address or not bracket or rest[:1] not in {"", ":"}:
            raise ValueError("a bracket that is not closed")
        return address, _port(rest[1:])
    if part.count(":") > 1:
        return part, None
    host, _, port = part.partition(":")
    if not host:
        raise ValueError("an empty host")
    return host, _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _PORT_MAX:
        raise ValueError("no port")
    return int(text)


def _check(parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        if name not in _ACCEPTED:
            # An unknown name may be the rest of a password.
            shown = name if re.fullmatch(r"[A-Za-z_]{1,40}", name) else "with that name"
            raise StoreUnavailableError(
                f"The URL of the database has a parameter {shown}, but these are accepted: {_LISTED}."
            )
        if name in _CHOICES and value not in _CHOICES[name]:
            raise StoreUnavailableError(_refusal(name))
    if parameters.get("channel_binding") == "require" and parameters.get("sslmode", "require") in {
        "disable",
        "allow",
        "prefer",
    }:
        raise StoreUnavailableError(
            "The URL of the database has channel_binding=require: it needs sslmode=require, verify-ca or verify-full."
        )


def _refusal(name: str) -> str:
    if name == "pgbouncer":
        return (
            "The URL of the database has pgbouncer=true, which is for poolers in transaction mode: they cannot be used."
            " Connect to PostgreSQL itself or to a pooler in session mode, and leave the parameter out."
        )
    choices = ", ".join(_CHOICES[name])
    return f"The URL of the database has a parameter {name} with a value other than these: {choices}."


def _seconds(parameters: Mapping[str, str]) -> float | None:
    text = parameters.get("connect_timeout", "0").strip()
    if not text.isascii() or not text.isdigit():
        raise StoreUnavailableError(
            "The URL of the database has a parameter connect_timeout that is no number of seconds."
        )
    return float(text) or None


def _settings(parameters: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings to set after connecting, and those that only the startup message can carry."""
    options = parameters.get("options", "")
    settings = {name: _ESCAPE.sub(r"\1", value) for name, value in _SETTING.findall(options)}
    rest = _SETTING.sub("", options).strip()
    for name in _NAMES[::-1]:
        if parameters.get(name):
            settings["application_name"] = parameters[name]
    for name in _SCHEMAS:
        if parameters.get(name):
            # search_path is a list of names as SQL writes them; the other parameters are one name, not quoted.
            quoted = '"' + parameters[name].replace('"', '""') + '"'
            settings["search_path"] = parameters[name] if name == "search_path" else quoted
    return settings, {"options": rest} if rest else {}


def _is_verified(parameters: Mapping[str, str]) -> bool:
    """Return whether the server's certificate is verified against those that the system trusts.

    The driver does not support channel binding. ``channel_binding=require`` is to prevent that another server poses as
    this one; verifying the certificate prevents that, too.
    """
    roots = parameters.get("sslrootcert", "")
    if roots == "system":
        return True
    return parameters.get("channel_binding") == "require" and not roots


def _driver_url(parameters: Mapping[str, str]) -> str | None:
    tls = {name: parameters[name] for name in (*_TLS, "service") if parameters.get(name)}
    if tls.get("sslrootcert") == "system":
        del tls["sslrootcert"]
    if parameters.get("channel_binding") == "require" and "sslrootcert" in tls:
        tls["sslmode"] = "verify-full"
    return f"postgresql:///?{urlencode(tls)}" if tls else None


def _format_host(address: HostAddress) -> str:
    host, port = address
    if host is None:
        return "the default host"
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None else f"{bracketed}:{port}"
