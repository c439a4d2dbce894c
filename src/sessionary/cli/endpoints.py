"""A model that replies in a conversation, behind an OpenAI-compatible endpoint."""

from typing import Any, Final

import httpx2 as httpx
import msgspec

from sessionary.cli.replying import NoReply, Reply
from sessionary.model import JsonObject

_UNDERSTOOD: Final = ("role", "content", "name", "tool_calls", "tool_call_id")
"""The members of a message that an endpoint knows; some refuse any other."""
_REASON_LENGTH_MAX: Final = 300


class Endpoint:
    """A server that completes chats as OpenAI's does."""

    def __init__(self, url: str, model: str, key: str | None, seconds: float) -> None:
        """Ask ``url``, which may end before or after ``/chat/completions``."""
        bare = url.rstrip("/")
        self._url: Final = bare if bare.endswith("/chat/completions") else f"{bare}/chat/completions"
        self._model: Final = model
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http: Final = httpx.Client(headers=headers, timeout=seconds)

    def reply(self, messages: list[JsonObject]) -> Reply:
        """Have the whole conversation completed; raises NoReply."""
        told = [{name: message[name] for name in _UNDERSTOOD if name in message} for message in messages]
        try:
            response = self._http.post(self._url, json={"model": self._model, "messages": told})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoReply(f"the endpoint could not be asked: {str(error) or type(error).__name__}") from error
        if not response.is_success:
            raise NoReply(f"the endpoint answered HTTP {response.status_code}: {_reason(response)}")
        try:
            answer = msgspec.json.decode(response.content)
            return _read(answer)
        except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
            raise NoReply("the endpoint's answer is no chat completion") from error


def _read(answer: Any) -> Reply:
    content = answer["choices"][0]["message"]["content"]
    if not isinstance(content, str):
        raise TypeError("no text")
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return Reply(content, tokens if isinstance(tokens, int) and tokens >= 0 else None)


def _reason(response: httpx.Response) -> str:
    try:
        said = response.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        said = response.text
    return " ".join(str(said).split())[:_REASON_LENGTH_MAX]
