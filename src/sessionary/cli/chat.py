"""`sessionary chat`: a conversation in the terminal, kept by the server as it goes."""

import contextlib
import getpass
import importlib
import os
import re
import shlex
import sys
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import click
from click.core import ParameterSource

import sessionary
from sessionary import constants
from sessionary.cli.connecting import Address, connected, server_options, usage_checked
from sessionary.cli.exits import FAILED
from sessionary.cli.replying import Echo, NoReplyError, Replier
from sessionary.cli.sessions import example
from sessionary.cli.showing import MessagePrinter, plain, print_message
from sessionary.errors import (
    InvalidArgumentError,
    InvalidRequestError,
    MissingScopeError,
    RequestTooLargeError,
    SessionaryError,
)
from sessionary.models import IDEMPOTENCY_KEY, JsonObject

_SHOWN_ON_RESUMING: Final = 20
_REPLY_SECONDS: Final = 120.0
_LOGIN: Final = re.compile(r"(?<=//).*@")


class Unstored(NamedTuple):
    """A message that the server has not confirmed, and the key under which it takes it once at most."""

    message: JsonObject
    tokens: int | None
    key: str


class Beginning(NamedTuple):
    """What a session begins with, once there is a first message: one without messages is not left behind."""

    user_id: str
    system: str | None
    session_group: str | None
    model: str | None


class Chat:
    """The conversation: what is typed or replied is stored at once, and kept here until it is."""

    def __init__(
        self, client: "sessionary.Client", replier: Replier, beginning: Beginning, session_id: str | None = None
    ) -> None:
        """Go on with a session, or begin one with the first message."""
        self._client: Final = client
        self._replier: Final = replier
        self._beginning: Final = beginning
        self.session_id = session_id
        self.messages: list[JsonObject] = client.get_session(session_id).messages if session_id else []
        self.unstored: Final[deque[Unstored]] = deque()
        self.failed: bool = False
        """Whether what was said last got no reply, or was not taken."""

    def say(self, text: str) -> None:
        """Store what was typed and have it replied to; an empty text only catches up on what failed before."""
        if text.strip():
            self.failed = False
            self._keep({"role": "user", "content": text}, None)
        if self._store() and self.messages and self.messages[-1].get("role") == "user":
            self._reply()

    def _reply(self) -> None:
        self.failed = True
        printer = MessagePrinter("assistant")
        try:
            with _waiting_for(self._replier.name) as arrived:

                def show(piece: str) -> None:
                    arrived()
                    printer.show(piece)

                reply = self._replier.reply(self.messages, show)
        except NoReplyError as error:
            printer.end()
            _tell(f"No reply: {plain(str(error))}. Press Enter to ask again.")
            return
        except KeyboardInterrupt:
            printer.end()
            _tell("Stopped, and not stored. Press Enter to ask again.")
            return
        printer.end()
        self.failed = False
        if reply.cut:
            _tell("The reply was cut at the endpoint's limit.")
        self._keep({"role": "assistant", "content": reply.text}, reply.tokens)
        self._store()

    def _keep(self, message: JsonObject, tokens: int | None) -> None:
        self.unstored.append(Unstored(message, tokens, str(uuid.uuid4())))

    def _store(self) -> bool:
        """Store what is not stored yet, in order; tells whether all of it is."""
        while self.unstored:
            try:
                self._send(self.unstored[0])
            except (InvalidArgumentError, InvalidRequestError, RequestTooLargeError) as error:
                self.unstored.popleft()
                self.failed = True
                _tell(f"The server refused the message: {error.detail}")
                return False
            except (SessionaryError, KeyboardInterrupt) as error:
                reason = error.detail if isinstance(error, SessionaryError) else "Stopped."
                _tell(f"Not stored yet: {reason} Nothing is lost: press Enter to store it again.")
                return False
            self.unstored.popleft()
        return True

    def _send(self, unstored: Unstored) -> None:
        headers = {IDEMPOTENCY_KEY: f'"{unstored.key}"'}
        if self.session_id is not None:
            self._client.update_session(
                self.session_id, new_messages=[unstored.message], tokens_used=unstored.tokens, headers=headers
            )
            self.messages.append(unstored.message)
            return
        system = self._beginning.system
        first: list[JsonObject] = [{"role": "system", "content": system}] if system else []
        created = self._client.create_session(
            self._beginning.user_id,
            initial_messages=[*first, unstored.message],
            session_group=self._beginning.session_group,
            model=self._beginning.model,
            expiration_minutes=constants.EXPIRATION_MINUTES_MAX,
            headers=headers,
        )
        self.session_id = created.session_id
        self.messages += [*first, unstored.message]
        _tell(f"Session {self.session_id}")


@click.command(
    "chat",
    epilog=example(
        "sessionary chat --echo",
        "sessionary chat --endpoint http://127.0.0.1:11434/v1 --model llama3.2",
        "sessionary chat --session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11 --echo",
    ),
)
@click.option("--session", "session_id", metavar="ID", help="Go on with this session instead of beginning one.")
@click.option("--user-id", metavar="ID", help="Who talks in a new session; default: your user name.")
@click.option("--session-group", metavar="NAME", help="The group of a new session.")
@click.option("--system", metavar="TEXT", help="The system message of a new session.")
@click.option("--echo", is_flag=True, help="Reply by repeating what was said: no model is needed.")
@click.option("--endpoint", metavar="URL", help="An OpenAI-compatible endpoint that replies.")
@click.option("--model", metavar="NAME", help="The model to ask for there.")
@click.option(
    "--key-variable",
    metavar="VARIABLE",
    default="OPENAI_API_KEY",
    show_default=True,
    help="The environment variable with the endpoint's key; may be unset.",
)
@server_options
def chat_command(
    address: Address, *, session_id: str | None, echo: bool, endpoint: str | None, key_variable: str, **beginning: Any
) -> None:
    """Talk in the terminal, in a session that the server keeps; Ctrl-D ends the conversation, not the session.

    What is typed is stored before anyone replies. If the server or the endpoint fails, nothing that was typed is lost:
    Enter tries again.
    """
    if echo == (endpoint is not None):
        raise click.UsageError("Give either --endpoint URL or --echo.")
    if endpoint and not beginning["model"]:
        raise click.UsageError("--endpoint needs --model NAME.")
    replier = _replier(endpoint, beginning["model"], os.environ.get(key_variable))
    with connected(address) as client:
        user_id = beginning.pop("user_id") or getpass.getuser()
        if session_id is None:
            _check_access(client, user_id)
        chat = Chat(client, replier, Beginning(user_id, **beginning), session_id)
        _tell(f"Session {session_id}; Ctrl-D ends." if session_id else "A session begins with a message; Ctrl-D ends.")
        for message in chat.messages[-_SHOWN_ON_RESUMING:]:
            print_message(message)
        unread = _converse(chat)
    if chat.session_id is not None:
        command = _command_for(chat.session_id)
        _tell(f"Go on with: {command}" + ("  (put in the login again for ***)" if "***@" in command else ""))
    if chat.unstored:
        _tell("Not stored:")
        for unstored in chat.unstored:
            print_message(unstored.message)
    # A script wants to know; who sits at a terminal has seen it.
    if chat.unstored or unread or (chat.failed and not sys.stdin.isatty()):
        sys.exit(FAILED)


def _check_access(client: "sessionary.Client", user_id: str) -> None:
    """Fail before anything is typed if the server cannot be reached or does not let us in."""
    # A token that may only write is good enough for a conversation.
    with contextlib.suppress(MissingScopeError):
        client.list_sessions(user_id=user_id, limit=1)


def _command_for(session_id: str) -> str:
    """Write the command that goes on with a session, as it can be pasted: with every flag given but the token."""
    context = click.get_current_context()
    words = ["sessionary", "chat", "--session", session_id]
    for name in ("endpoint", "model", "key_variable", "url", "organisation", "timeout"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += [f"--{name.replace('_', '-')}", _LOGIN.sub("***@", str(context.params[name]))]
    return shlex.join([*words, "--echo"] if context.params["echo"] else words)


@contextlib.contextmanager
def _waiting_for(name: str) -> Iterator[Callable[[], None]]:
    """Show on a terminal that a reply is waited for, until it arrives: call what this yields then."""
    shown = sys.stderr.isatty()

    def arrived() -> None:
        nonlocal shown
        if shown:
            shown = False
            click.echo("\r\x1b[K", nl=False, err=True)

    if shown:
        click.secho(f"Waiting for {plain(name)} … (Ctrl-C stops)", dim=True, nl=False, err=True)
    try:
        yield arrived
    finally:
        arrived()


def _replier(endpoint: str | None, model: str | None, key: str | None) -> Replier:
    if endpoint is None or model is None:
        return Echo()
    # It brings the client's HTTP library along, which the commands of the server do without.
    from sessionary.cli.endpoints import Endpoint  # noqa: PLC0415

    with usage_checked():
        return Endpoint(endpoint, model, key, _REPLY_SECONDS)


def _converse(chat: Chat) -> bool:
    """Have the conversation; tells whether there was a line in a pipe that is no text."""
    prompt, end = ("you> ", "\n") if sys.stdin.isatty() else ("", "")
    with contextlib.suppress(ImportError):
        # Once it is imported, input() lets its line be edited, and brings back earlier ones.
        importlib.import_module("readline")
    unread = False
    chat.say("")
    while True:
        try:
            text = _next_line(prompt)
        except (EOFError, KeyboardInterrupt):
            click.echo(end, nl=False)
            return unread
        except UnicodeDecodeError:
            unread = not sys.stdin.isatty()
            _tell("That line is no text in this terminal's encoding, and was left out.")
            continue
        chat.say(text)


def _next_line(prompt: str) -> str:
    if sys.stdin.isatty():
        return input(prompt)
    # Line by line: a byte that is no text must not take the lines around it along.
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode(sys.stdin.encoding).removesuffix("\n").removesuffix("\r")


def _tell(text: str) -> None:
    click.secho(text, dim=True, err=True)
