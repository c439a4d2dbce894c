"""A chat bot for the terminal that remembers every conversation.

Start a server (see the README) and run it with:

    export SESSIONARY_URL=http://127.0.0.1:8080 SESSIONARY_ORGANISATION=demo SESSIONARY_TOKEN=sny_...
    export OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=llama3.2
    python examples/command_line_bot.py ada          # continues ada's newest conversation
    python examples/command_line_bot.py ada --new    # starts a new one

Ctrl-D ends the program, not the conversation. Any OpenAI-compatible endpoint works; without one, run fake_model.py.
"""

import os
import sys
from typing import Any

import httpx2

from sessionary import Client

DAY = 24 * 60
"""Minutes of a day: the longest that a session lives unless it is extended."""


def complete(messages: list[dict[str, Any]]) -> tuple[str, int]:
    """Return the model's reply to a conversation, and the number of tokens used."""
    response = httpx2.post(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        headers={"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"},
        json={"model": os.environ.get("OPENAI_MODEL", "llama3.2"), "messages": messages},
        timeout=120,
    )
    completion = response.raise_for_status().json()
    return completion["choices"][0]["message"]["content"], completion["usage"]["total_tokens"]


def newest_session(client: Client, user_id: str) -> str | None:
    """Return the id of a user's newest active session, if there is one."""
    return next((session.id for session in client.list_sessions(user_id=user_id, status="active", limit=1)), None)


def main(user_id: str, *, new: bool) -> None:
    """Talk until the end of the input."""
    with Client() as client:
        session_id = None if new else newest_session(client, user_id)
        session_id = session_id or client.create_session(user_id=user_id, expiration_minutes=DAY).session_id
        with client.session(session_id=session_id) as chat:
            for message in chat.messages:
                print(f"{message['role']}: {message['content']}")
            while True:
                try:
                    text = input("> ")
                except EOFError:
                    break
                chat.say("user", text)
                reply, tokens = complete(chat.messages)
                chat.say("assistant", reply, tokens_used=tokens)
                chat.extend(DAY)
                print(reply)
            print(f"\nsession {chat.id}: {chat.total_messages} messages, {chat.total_tokens} tokens")


if __name__ == "__main__":
    main(sys.argv[1], new="--new" in sys.argv[2:])
