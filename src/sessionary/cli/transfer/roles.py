"""Maps the speaker names that programs and data sets use to the roles of messages."""

from collections.abc import Mapping
from typing import Any, Final

FALLBACK_ROLE: Final = "assistant"
"""The role for unknown speakers. As user or system, text of unknown origin could instruct a model."""

_NAMES: Final[Mapping[str, str]] = {
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
_ROLES: Final = {name: role for role, names in _NAMES.items() for name in names.split()}
TOOL_CALL_NAMES: Final = frozenset({"function_call", "function_calls", "tool_call", "tool_calls", "tool_use"})
"""Speakers whose content is a tool call."""


def normalise_role(speaker: Any) -> str | None:
    """Normalise a speaker's name for lookup."""
    if not isinstance(speaker, str):
        return None
    return speaker.strip().strip("<|>").lower().replace("-", "_").replace(" ", "_")


def find_role(speaker: Any) -> str | None:
    """Return a speaker's role; None if the speaker is unknown."""
    name = normalise_role(speaker)
    return None if name is None else _ROLES.get(name)
