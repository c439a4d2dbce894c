"""What is said in the sessions: the same words for everyone who is measured."""

from __future__ import annotations

import random
from typing import TypeAlias

Message: TypeAlias = dict[str, str]

MESSAGE_BYTES = 500
MESSAGES_PER_APPEND = 2
TOKENS_PER_APPEND = 250
METADATA = {"source": "bench", "topic": "speed", "modelId": "anthropic.claude-sonnet"}
# As in real chats: a few characters need escaping in JSON and a few are no ASCII.
WORDS = [
    "the",
    "session",
    "keeps",
    "every",
    "message",
    "in",
    "order",
    "and",
    "“nothing”",
    "is",
    "lost",
    "between",
    "a",
    "restart",
    "and",
    "the",
    "next",
    "question",
    "so",
    "the",
    "assistant",
    "answers",
    "with",
    "code",
    "like",
    'print("hello")',
    "or",
    "a",
    "list\n-",
    "one\n-",
    "deux",
    "é\n",
    "and",
    "then",
    "more",
]


def text(seed: int, size: int = MESSAGE_BYTES) -> str:
    """Return text of exactly `size` bytes in UTF-8, always the same for a seed."""
    words = random.Random(seed)  # noqa: S311 - reproducible, not secret
    line = " ".join(words.choice(WORDS) for _ in range(size // 2))
    cut = line.encode()[:size].decode(errors="ignore")
    return cut.ljust(len(cut) + size - len(cut.encode()), ".")


def turn(seed: int) -> list[Message]:
    """Return what one append carries: a question and an answer."""
    return [{"role": "user", "content": text(2 * seed)}, {"role": "assistant", "content": text(2 * seed + 1)}]


def conversation(messages: int) -> list[Message]:
    """Return a conversation of so many messages."""
    turns = [message for number in range((messages + 1) // MESSAGES_PER_APPEND) for message in turn(number)]
    return turns[:messages]
