"""Which server a command talks to, and as whom."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeVar

import click

import sessionary
from sessionary.errors import InvalidRequest

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
        type=click.FloatRange(min=0, min_open=True),
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
        if not organisation or not _is_text(organisation):
            raise click.UsageError("The organisation is empty, or no text.")
        return command(address=Address(url.rstrip("/"), organisation, token, timeout), **rest)

    for option in reversed(_OPTIONS):
        addressed = option(addressed)
    return addressed  # type: ignore[return-value]  # click asks for keyword arguments only


def _is_text(words: str) -> bool:
    # What the command line could not decode stands in a str as lone surrogates, which no URL can carry.
    return words.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in words)


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
    except InvalidRequest as error:
        if error.response is not None:
            raise
        raise click.UsageError(error.detail) from error
