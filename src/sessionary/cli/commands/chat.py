"""`sessionary chat`: a conversation in the terminal, stored by the server message by message."""

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
from sessionary.cli.exit_codes import FAILED
from sessionary.cli.llm import ChatModel, EchoModel, LLMError, OpenAIEndpoint
from sessionary.cli.options import ServerAddress, example, open_client, server_options, usage_errors
from sessionary.cli.output import MessagePrinter, escape_controls, print_message
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


class PendingMessage(NamedTuple):
    """A message that the server has not confirmed yet, with the idempotency key of its request."""

    message: JsonObject
    tokens: int | None
    key: str


class NewSession(NamedTuple):
    """Arguments of the new session, which is created with its first message, so that none stays empty."""

    user_id: str
    system: str | None
    session_group: str | None
    model: str | None


class Chat:
    """The conversation. Each message is sent at once and queued here until the server has stored it."""

    def __init__(
        self, client: "sessionary.Client", model: ChatModel, new_session: NewSession, session_id: str | None = None
    ) -> None:
        """Continue a session, or create one with the first message."""
        self._client: Final = client
        self._model: Final = model
        self._new_session: Final = new_session
        self.session_id = session_id
        self.messages: list[JsonObject] = client.get_session(session_id).messages if session_id else []
        self.pending: Final[deque[PendingMessage]] = deque()
        self.failed: bool = False
        """Whether the last message got no reply or was rejected."""

    def say(self, text: str) -> None:
        """Store the text and request a reply; an empty text only retries what failed before."""
        if text.strip():
            self.failed = False
            self._enqueue({"role": "user", "content": text}, None)
        if self._store_pending() and self.messages and self.messages[-1].get("role") == "user":
            self._reply()

    def _reply(self) -> None:
        self.failed = True
        printer = MessagePrinter("assistant")
        try:
            with _waiting_for(self._model.name) as arrived:

                def show(chunk: str) -> None:
                    arrived()
                    printer.print_chunk(chunk)

                reply = self._model.reply(self.messages, show)
        except LLMError as error:
            printer.finish()
            _notify(f"No reply: {escape_controls(str(error))}. Press Enter to ask again.")
            return
        except KeyboardInterrupt:
            printer.finish()
            _notify("Stopped, and not stored. Press Enter to ask again.")
            return
        printer.finish()
        self.failed = False
        if reply.truncated:
            _notify("The reply was cut off at the endpoint's length limit.")
        self._enqueue({"role": "assistant", "content": reply.text}, reply.tokens)
        self._store_pending()

    def _enqueue(self, message: JsonObject, tokens: int | None) -> None:
        self.pending.append(PendingMessage(message, tokens, str(uuid.uuid4())))

    def _store_pending(self) -> bool:
        """Store the queued messages in order; returns whether all are stored."""
        while self.pending:
            try:
                self._send(self.pending[0])
            except (InvalidArgumentError, InvalidRequestError, RequestTooLargeError) as error:
                self.pending.popleft()
                self.failed = True
                _notify(f"The server rejected the message: {error.detail}")
                return False
            except (SessionaryError, KeyboardInterrupt) as error:
                reason = error.detail if isinstance(error, SessionaryError) else "Stopped."
                _notify(f"Not stored yet: {reason} Nothing is lost: press Enter to store it again.")
                return False
            self.pending.popleft()
        return True

    def _send(self, pending: PendingMessage) -> None:
        headers = {IDEMPOTENCY_KEY: f'"{pending.key}"'}
        if self.session_id is not None:
            self._client.update_session(
                self.session_id, new_messages=[pending.message], tokens_used=pending.tokens, headers=headers
            )
            self.messages.append(pending.message)
            return
        system = self._new_session.system
        first: list[JsonObject] = [{"role": "system", "content": system}] if system else []
        created = self._client.create_session(
            self._new_session.user_id,
            initial_messages=[*first, pending.message],
            session_group=self._new_session.session_group,
            model=self._new_session.model,
            expiration_minutes=constants.EXPIRATION_MINUTES_MAX,
            headers=headers,
        )
        self.session_id = created.session_id
        self.messages += [*first, pending.message]
        _notify(f"Session {self.session_id}")


@click.command(
    "chat",
    epilog=example(
        "sessionary chat --echo",
        "sessionary chat --endpoint http://127.0.0.1:11434/v1 --model llama3.2",
        "sessionary chat --session 0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11 --echo",
    ),
)
@click.option("--session", "session_id", metavar="ID", help="Continue this session instead of creating one.")
@click.option("--user-id", metavar="ID", help="The user of a new session; default: your user name.")
@click.option("--session-group", metavar="NAME", help="The group of a new session.")
@click.option("--system", metavar="TEXT", help="The system message of a new session.")
@click.option("--echo", is_flag=True, help="Reply by repeating the message; needs no model.")
@click.option("--endpoint", metavar="URL", help="The OpenAI-compatible endpoint that replies.")
@click.option("--model", metavar="NAME", help="The model to request from the endpoint.")
@click.option(
    "--key-variable",
    metavar="VARIABLE",
    default="OPENAI_API_KEY",
    show_default=True,
    help="The environment variable with the endpoint's key; may be unset.",
)
@server_options
def chat_command(
    address: ServerAddress,
    *,
    session_id: str | None,
    echo: bool,
    endpoint: str | None,
    key_variable: str,
    **new_session: Any,
) -> None:
    """Chat in the terminal, in a session on the server. Ctrl-D ends the conversation and keeps the session.

    Each message is stored before a reply is requested. If the server or the endpoint fails, nothing is lost: press
    Enter to try again.
    """
    if echo == (endpoint is not None):
        raise click.UsageError("Give either --endpoint URL or --echo.")
    if endpoint and not new_session["model"]:
        raise click.UsageError("--endpoint needs --model NAME.")
    chat_model = _chat_model(endpoint, new_session["model"], os.environ.get(key_variable))
    with open_client(address) as client:
        user_id = new_session.pop("user_id") or getpass.getuser()
        if session_id is None:
            _check_access(client, user_id)
        chat = Chat(client, chat_model, NewSession(user_id, **new_session), session_id)
        _notify(
            f"Session {session_id}; Ctrl-D ends."
            if session_id
            else "The session starts with your first message; Ctrl-D ends."
        )
        for message in chat.messages[-_SHOWN_ON_RESUMING:]:
            print_message(message)
        undecodable = _run_conversation(chat)
    if chat.session_id is not None:
        command = _command_for(chat.session_id)
        _notify(f"Continue with: {command}" + ("  (replace *** with the login)" if "***@" in command else ""))
    if chat.pending:
        _notify("Not stored:")
        for pending in chat.pending:
            print_message(pending.message)
    # Scripts need the exit code; in a terminal the user has seen the message.
    if chat.pending or undecodable or (chat.failed and not sys.stdin.isatty()):
        sys.exit(FAILED)


def _check_access(client: "sessionary.Client", user_id: str) -> None:
    """Fail early if the server cannot be reached or rejects the token."""
    # A token with only the write scope is enough for a conversation.
    with contextlib.suppress(MissingScopeError):
        client.list_sessions(user_id=user_id, limit=1)


def _command_for(session_id: str) -> str:
    """Return the shell command that continues a session: with every flag that was given, except the token."""
    context = click.get_current_context()
    words = ["sessionary", "chat", "--session", session_id]
    for name in ("endpoint", "model", "key_variable", "url", "organisation", "timeout"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += [f"--{name.replace('_', '-')}", _LOGIN.sub("***@", str(context.params[name]))]
    return shlex.join([*words, "--echo"] if context.params["echo"] else words)


@contextlib.contextmanager
def _waiting_for(name: str) -> Iterator[Callable[[], None]]:
    """Show a waiting note on a terminal; call the yielded function when the reply arrives, to remove it."""
    shown = sys.stderr.isatty()

    def arrived() -> None:
        nonlocal shown
        if shown:
            shown = False
            click.echo("\r\x1b[K", nl=False, err=True)

    if shown:
        click.secho(f"Waiting for {escape_controls(name)} … (Ctrl-C stops)", dim=True, nl=False, err=True)
    try:
        yield arrived
    finally:
        arrived()


def _chat_model(endpoint: str | None, model: str | None, key: str | None) -> ChatModel:
    if endpoint is None or model is None:
        return EchoModel()
    with usage_errors():
        return OpenAIEndpoint(endpoint, model, key, _REPLY_SECONDS)


def _run_conversation(chat: Chat) -> bool:
    """Run the conversation; returns whether a line of piped input could not be decoded."""
    prompt, end = ("you> ", "\n") if sys.stdin.isatty() else ("", "")
    with contextlib.suppress(ImportError):
        # Importing it gives input() line editing and history.
        importlib.import_module("readline")
    undecodable = False
    chat.say("")
    while True:
        try:
            text = _next_line(prompt)
        except (EOFError, KeyboardInterrupt):
            click.echo(end, nl=False)
            return undecodable
        except UnicodeDecodeError:
            undecodable = not sys.stdin.isatty()
            _notify("That line is not valid in this terminal's encoding and was skipped.")
            continue
        chat.say(text)


def _next_line(prompt: str) -> str:
    if sys.stdin.isatty():
        return input(prompt)
    # Decoded line by line, so that an invalid byte affects its own line only.
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode(sys.stdin.encoding).removesuffix("\n").removesuffix("\r")


def _notify(text: str) -> None:
    click.secho(text, dim=True, err=True)
