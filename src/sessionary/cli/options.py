"""Options that commands share: which server to call, and as which organisation."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

import click

import sessionary
from sessionary.cli.param_types import Seconds
from sessionary.constants import ORGANISATION_LENGTH_MAX
from sessionary.errors import ConfigurationError, InvalidArgumentError
from sessionary.server.config import setting_descriptions, variable_name
from sessionary.server.environment import environment_warnings
from sessionary.server.setting_values import InvalidValueError, clean_text

Command = TypeVar("Command", bound=Callable[..., Any])

TIMEOUT_SECONDS_DEFAULT: Final = 30.0
STATUSES: Final = click.Choice(["active", "completed"])


class ServerAddress(NamedTuple):
    """A server, an organisation on it and the token to use."""

    url: str
    organisation: str
    token: str | None
    timeout: float

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments of `Client` and `AsyncClient`, without the URL."""
        return {"token": self.token, "organisation": self.organisation, "timeout": self.timeout}


_OPTIONS: Final = (
    click.option("--url", envvar="SESSIONARY_URL", show_envvar=True, required=True, help="The server's address."),
    click.option(
        "--organisation",
        envvar="SESSIONARY_ORGANISATION",
        show_envvar=True,
        required=True,
        metavar="NAME",
        help="The organisation that owns the sessions.",
    ),
    click.option(
        "--token",
        envvar="SESSIONARY_TOKEN",
        show_envvar=True,
        help="The bearer token. Prefer the variable: other users of the machine can read flags.",
    ),
    click.option(
        "--timeout",
        type=Seconds(),
        default=TIMEOUT_SECONDS_DEFAULT,
        show_default=True,
        metavar="SECONDS",
        help="How long one call may take, retries included.",
    ),
)


def example(*lines: str) -> str:
    """Format the example at the end of a command's help."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def server_options(command: Command) -> Command:
    """Add the options that name a server; the command receives them as one ``address``."""

    @functools.wraps(command)
    def with_address(*, url: str, organisation: str, token: str | None, timeout: float, **rest: Any) -> Any:
        _warn_of_variables()
        return command(
            address=ServerAddress(url.rstrip("/"), _valid_organisation(organisation), token, timeout), **rest
        )

    for option in reversed(_OPTIONS):
        with_address = option(with_address)
    return with_address  # type: ignore[return-value]  # click passes keyword arguments only


def _valid_organisation(given: str) -> str:
    try:
        # A variable that is read from a file often ends in a newline.
        organisation = clean_text(given)
    except InvalidValueError as error:
        raise click.UsageError(f"The organisation is not valid: {error}.") from None
    if not organisation:
        raise click.UsageError("The organisation is empty.")
    if len(organisation) > ORGANISATION_LENGTH_MAX:
        raise click.UsageError(
            f"The organisation is not valid: it must have at most {ORGANISATION_LENGTH_MAX} characters."
        )
    return organisation


def _warn_of_variables() -> None:
    # Kubernetes sets SESSIONARY_PORT in every pod beside a service of this name: no reason to warn a client.
    environment = {name: value for name, value in os.environ.items() if name != variable_name("port")}
    for warning in environment_warnings(environment, setting_descriptions()):
        click.echo(f"sessionary: {warning}", err=True)


@contextmanager
def open_client(address: ServerAddress) -> Iterator["sessionary.Client"]:
    """Open a client; a request that the client refuses to send is a usage error of the command."""
    with usage_errors(), sessionary.Client(address.url, **address.client_options()) as client:
        yield client


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a request that the client refuses to send into a usage error."""
    try:
        yield
    except (ConfigurationError, InvalidArgumentError) as error:
        if error.response is not None:
            raise
        raise click.UsageError(error.detail) from error
