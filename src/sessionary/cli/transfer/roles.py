"""Who speaks: the words that programs and data sets use, and the role that each means."""

from collections.abc import Mapping
from typing import Any, Final

FALLBACK: Final = "assistant"
"""The role of a speaker whom nothing here names: a model that goes on with the session gives its words no authority."""

_WORDS: Final[Mapping[str, str]] = {
    "user": "user human prompter customer client question instruction prompt",
    "assistant": (
        "assistant gpt chatgpt bard bing ai model bot claude gemini llm llama assistant_response answer response "
        "output completion agent function_call tool_call tool_calls function_calls tool_use"
    ),
    "tool": (
        "tool function observation function_response tool_response tool_result function_result tool_output ipython "
        "environment tool_results observations"
    ),
    "system": "system system_prompt context",
    "developer": "developer",
}
_ROLES: Final = {word: role for role, words in _WORDS.items() for word in words.split()}
CALLS: Final = frozenset({"function_call", "function_calls", "tool_call", "tool_calls", "tool_use"})
"""Speakers whose words are calls of tools."""


def word_of(speaker: Any) -> str | None:
    """Reduce a speaker's name to the word it is known by."""
    if not isinstance(speaker, str):
        return None
    return speaker.strip().strip("<|>").lower().replace("-", "_").replace(" ", "_")


def role_of(speaker: Any) -> str | None:
    """Find a speaker's role; None if nobody knows them."""
    word = word_of(speaker)
    return None if word is None else _ROLES.get(word)
