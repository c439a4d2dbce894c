"""What the server prints on a terminal when it has started: its address, and a first token."""

import logging
import secrets
from typing import Final, TextIO

from sessionary.server.config import Settings
from sessionary.server.operations.tokens import TokenIssuer, create_first_token
from sessionary.server.store.base import Clock, Store
from sessionary.server.store.opening import database_location

_FIRST_ORGANISATION: Final = "demo"
_WELCOME_MESSAGE: Final = """
A first token for the organisation {organisation} (shown only once; create others with: sessionary tokens create):

  {token}

Try it:

  curl -X POST {base_url}/api/v3/organizations/{organisation}/ai/sessions \\
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
    -d '{{"userId": "user-1", "initialMessages": [{{"role": "user", "content": "Hello"}}]}}'
"""

_logger: Final = logging.getLogger("sessionary.server")


async def print_welcome(settings: Settings, store: Store, clock: Clock, base_url: str, stream: TextIO) -> None:
    """Print the address, and a first token if the store has none; without a terminal only log that there is none."""
    # Output that is not on a terminal is usually stored, so it must not contain a secret.
    if not stream.isatty():
        if not await store.list_tokens(1):
            _logger.info("There is no token yet. Create one with: sessionary tokens create --organisation NAME")
        return
    location = database_location(settings.database)
    _print(f"sessionary listens on {base_url} and stores its data in {location}\n", stream)
    if not settings.first_token:
        return
    text = await create_first_token(TokenIssuer(store, clock, secrets.token_bytes, "server"), _FIRST_ORGANISATION)
    if text is not None:
        _print(_WELCOME_MESSAGE.format(base_url=base_url, token=text, organisation=_FIRST_ORGANISATION), stream)


def _print(text: str, stream: TextIO) -> None:
    # In one write, so that no log line comes in between.
    stream.write(text)
    stream.flush()
