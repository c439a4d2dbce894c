"""Which server a command talks to, and as whom."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

import click

import sessionary
from sessionary.cli.numbers import Seconds
from sessionary.constants import ORGANISATION_LENGTH_MAX
from sessionary.errors import ConfigurationError, InvalidArgumentError
from sessionary.server.config import setting_descriptions, variable_name
from sessionary.server.environment import environment_warnings
from sessionary.server.setting_values import InvalidValueError, clean_text

Command = TypeVar("Command", bound=Callable[..., Any])

TIMEOUT_SECONDS_DEFAULT: Final = 30.0


class Address(NamedTuple):
    """A server and an organisation on it, and the token that opens them."""

    url: str
    organisation: str
    token: str | None
    timeout: float

    def options(self) -> dict[str, Any]:
        """Spell what either client takes, besides the URL."""
        return {"token": self.token, "organisation": self.organisation, "timeout": self.timeout}


_OPTIONS: Final = (
    click.option("--url", envvar="SESSIONARY_URL", show_envvar=True, required=True, help="The server's address."),
    click.option(
        "--organisation",
        envvar="SESSIONARY_ORGANISATION",
        show_envvar=True,
        required=True,
        metavar="NAME",
        help="Whose sessions.",
    ),
    click.option(
        "--token",
        envvar="SESSIONARY_TOKEN",
        show_envvar=True,
        help="The bearer token; best given as a variable, for other users of a machine can read flags.",
    ),
    click.option(
        "--timeout",
        type=Seconds(),
        default=TIMEOUT_SECONDS_DEFAULT,
        show_default=True,
        metavar="SECONDS",
        help="How long one call may take, its repetitions included.",
    ),
)


def server_options(command: Command) -> Command:
    """Add the flags that name a server; the command gets them as one ``address``."""

    @functools.wraps(command)
    def addressed(*, url: str, organisation: str, token: str | None, timeout: float, **rest: Any) -> Any:
        _warn_of_variables()
        return command(address=Address(url.rstrip("/"), _organisation(organisation), token, timeout), **rest)

    for option in reversed(_OPTIONS):
        addressed = option(addressed)
    return addressed  # type: ignore[return-value]  # click asks for keyword arguments only


def _organisation(given: str) -> str:
    try:
        # Variables that are read from a file bring the end of its line along.
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
    # Kubernetes sets the variable of the server's port for any pod beside it: that is nothing to tell a client.
    environment = {name: value for name, value in os.environ.items() if name != variable_name("port")}
    for warning in environment_warnings(environment, setting_descriptions()):
        click.echo(f"sessionary: {warning}", err=True)


@contextmanager
def connected(address: Address) -> Iterator["sessionary.Client"]:
    """Talk to the server; a call that could not even be sent is a wrong call of the command."""
    with usage_checked(), sessionary.Client(address.url, **address.options()) as client:
        yield client


@contextmanager
def usage_checked() -> Iterator[None]:
    """Turn what the client refuses to send into a usage error."""
    try:
        yield
    except (ConfigurationError, InvalidArgumentError) as error:
        raise click.UsageError(error.detail) from error
