"""`sessionary chat`: a conversation in the terminal, kept by the server as it goes."""

import contextlib
import getpass
import importlib
import os
import sys
import uuid
from collections import deque
from typing import Any, Final, NamedTuple

import click

import sessionary
from sessionary import limits
from sessionary.cli.connecting import Address, connected, server_options
from sessionary.cli.exits import FAILED
from sessionary.cli.replying import Echo, NoReply, Replier
from sessionary.cli.sessions import example
from sessionary.cli.showing import plain, print_message
from sessionary.errors import InvalidRequest, SessionaryError, TooLarge
from sessionary.model import IDEMPOTENCY_KEY, JsonObject

_SHOWN_ON_RESUMING: Final = 20
_REPLY_SECONDS: Final = 120.0


class Unstored(NamedTuple):
    """A message that the server has not confirmed, and the key under which it takes it once at most."""

    message: JsonObject
    tokens: int | None
    key: str


class Chat:
    """The conversation: what is typed or replied is stored at once, and kept here until it is."""

    def __init__(
        self, client: "sessionary.Client", session_id: str, messages: list[JsonObject], replier: Replier
    ) -> None:
        """Go on after the messages that the session has."""
        self._client: Final = client
        self._session_id: Final = session_id
        self._messages: Final = messages
        self._replier: Final = replier
        self.unstored: Final[deque[Unstored]] = deque()

    def say(self, text: str) -> None:
        """Store what was typed and have it replied to; an empty text only catches up on what failed before."""
        if text.strip():
            self._keep({"role": "user", "content": text}, None)
        if self._store() and self._messages and self._messages[-1].get("role") == "user":
            self._reply()

    def _reply(self) -> None:
        try:
            reply = self._replier.reply(self._messages)
        except NoReply as error:
            _tell(f"No reply: {plain(str(error))}. Press Enter to ask again.")
            return
        except KeyboardInterrupt:
            _tell("Stopped. Press Enter to ask again.")
            return
        message = {"role": "assistant", "content": reply.text}
        print_message(message)
        self._keep(message, reply.tokens)
        self._store()

    def _keep(self, message: JsonObject, tokens: int | None) -> None:
        self.unstored.append(Unstored(message, tokens, str(uuid.uuid4())))

    def _store(self) -> bool:
        """Store what is not stored yet, in order; tells whether all of it is."""
        while self.unstored:
            message, tokens, key = self.unstored[0]
            headers = {IDEMPOTENCY_KEY: f'"{key}"'}
            try:
                self._client.update_session(
                    self._session_id, new_messages=[message], tokens_used=tokens, headers=headers
                )
            except (InvalidRequest, TooLarge) as error:
                self.unstored.popleft()
                _tell(f"The server refused the message: {error.detail}")
                return False
            except (SessionaryError, KeyboardInterrupt) as error:
                reason = error.detail if isinstance(error, SessionaryError) else "Stopped."
                _tell(f"Not stored yet: {reason} Nothing is lost: press Enter to store it again.")
                return False
            self.unstored.popleft()
            self._messages.append(message)
        return True


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
        messages: list[JsonObject] = []
        if session_id is None:
            session_id = _begin(client, messages, **beginning)
        else:
            messages += client.get_session(session_id).messages
        _tell(f"Session {session_id}; Ctrl-D ends.")
        for message in messages[-_SHOWN_ON_RESUMING:]:
            print_message(message)
        chat = Chat(client, session_id, messages, replier)
        _converse(chat)
    _tell(f"Go on with: sessionary chat --session {session_id} {'--echo' if echo else '…'}")
    if chat.unstored:
        _tell("Not stored:")
        for unstored in chat.unstored:
            print_message(unstored.message)
        sys.exit(FAILED)


def _replier(endpoint: str | None, model: str | None, key: str | None) -> Replier:
    if endpoint is None or model is None:
        return Echo()
    # It brings the client's HTTP library along, which the commands of the server do without.
    from sessionary.cli.endpoints import Endpoint  # noqa: PLC0415

    return Endpoint(endpoint, model, key, _REPLY_SECONDS)


def _begin(client: "sessionary.Client", messages: list[JsonObject], **beginning: Any) -> str:
    system, user_id = beginning.pop("system"), beginning.pop("user_id")
    if system:
        messages.append({"role": "system", "content": system})
    created = client.create_session(
        user_id or getpass.getuser(),
        initial_messages=messages or None,
        expiration_minutes=limits.EXPIRATION_MINUTES_MAX,
        **beginning,
    )
    return created.session_id


def _converse(chat: Chat) -> None:
    prompt, end = ("you> ", "\n") if sys.stdin.isatty() else ("", "")
    with contextlib.suppress(ImportError):
        # Once it is imported, input() lets its line be edited, and brings back earlier ones.
        importlib.import_module("readline")
    chat.say("")
    while True:
        try:
            text = input(prompt)
        except (EOFError, KeyboardInterrupt):
            click.echo(end, nl=False)
            return
        except UnicodeDecodeError:
            _tell("That was no text in this terminal's encoding.")
            continue
        chat.say(text)


def _tell(text: str) -> None:
    click.secho(text, dim=True, err=True)
