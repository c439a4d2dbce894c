"""Chat models that reply in `sessionary chat`: an echo, or an OpenAI-compatible endpoint."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from sessionary import constants
from sessionary.cli.output import message_text
from sessionary.errors import InvalidArgumentError
from sessionary.models import JsonObject
from sessionary.server.setting_values import trim

if TYPE_CHECKING:
    from httpx2 import Response

_KNOWN_MEMBERS: Final = ("role", "content", "name", "tool_calls", "tool_call_id")
"""The members of a message that endpoints accept; some reject any other."""
_REASON_LENGTH_MAX: Final = 300
_RESPONSE_BYTES_MAX: Final = 8 * 1024 * 1024
_REJECTED_STATUSES: Final = frozenset({400, 404, 422, 501})
_STREAM_END: Final = b"[DONE]"
_LENGTH_LIMIT: Final = "length"
_STOP: Final = "stop"
_ONLY_TOOL_CALLS: Final = "the endpoint's response only calls tools, and this chat has none"
_NOT_A_COMPLETION: Final = "the endpoint's response is not a chat completion"
_TOO_LONG: Final = "the endpoint's response is longer than a message may be"


class LLMError(Exception):
    """The model did not reply; the text gives the reason."""


class Reply(NamedTuple):
    """A reply, the tokens used if the endpoint reports them, and whether a length limit cut it off."""

    text: str
    tokens: int | None
    truncated: bool = False


OnChunk = Callable[[str], None]
"""Receives the next chunk of a reply that is being streamed."""


class ChatModel(Protocol):
    """A model that replies to a conversation."""

    @property
    def name(self) -> str:
        """The name shown while waiting for a reply."""

    def reply(self, messages: list[JsonObject], on_chunk: OnChunk) -> Reply:
        """Reply to the last message and pass each chunk to ``on_chunk``; raises LLMError."""


class EchoModel:
    """Repeats the last message."""

    name = "the echo"

    def reply(self, messages: list[JsonObject], on_chunk: OnChunk) -> Reply:
        """Return the text of the last message."""
        text = message_text(messages[-1])
        on_chunk(text)
        return Reply(text, None)


class OpenAIEndpoint:
    """A server with OpenAI's Chat Completions API."""

    def __init__(self, url: str, model: str, key: str | None, seconds: float) -> None:
        """Use the endpoint at ``url``, with or without ``/chat/completions`` at its end; ``seconds`` is the timeout.

        Raises InvalidArgumentError for an unusable URL or key; the error contains neither.
        """
        import httpx2  # noqa: PLC0415 - the server's commands start without the client's HTTP library

        base_url = _checked_url(url).rstrip("/")
        self.name: Final = model
        self._url: Final = base_url if base_url.endswith("/chat/completions") else f"{base_url}/chat/completions"
        self._host: Final = base_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        key = _checked_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http: Final = httpx2.Client(headers=headers, timeout=seconds)
        self._streams = True

    def reply(self, messages: list[JsonObject], on_chunk: OnChunk) -> Reply:
        """Request a completion of the conversation, streamed if the endpoint supports it; raises LLMError."""
        import httpx2  # noqa: PLC0415 - as above

        sent = [{name: message[name] for name in _KNOWN_MEMBERS if name in message} for message in messages]
        body: JsonObject = {"model": self.name, "messages": sent}
        try:
            if self._streams:
                reply = self._request(body | {"stream": True, "stream_options": {"include_usage": True}}, on_chunk)
                if reply is not None:
                    return reply
                self._streams = False
            reply = self._request(body, on_chunk)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LLMError(
                f"the request to the endpoint at {self._host} failed: {str(error) or type(error).__name__}"
            ) from error
        if reply is None:
            raise LLMError("the endpoint rejects both streaming and plain requests")
        return reply

    def _request(self, body: JsonObject, on_chunk: OnChunk) -> Reply | None:
        """Send one request; None if the endpoint rejects streaming."""
        with self._http.stream("POST", self._url, json=body) as response:
            if response.is_success and response.headers.get("content-type", "").startswith("text/event-stream"):
                return _read_stream(response, on_chunk)
            content = _read_body(response)
        if not response.is_success:
            reason = _error_reason(content)
            if response.status_code in _REJECTED_STATUSES and "stream" in body and "stream" in reason:
                return None
            raise LLMError(f"the endpoint returned HTTP {response.status_code}: {reason}")
        reply = _parse_completion(content)
        on_chunk(reply.text)
        return reply


def _checked_url(url: str) -> str:
    from sessionary.client.urls import parse_url  # noqa: PLC0415 - it imports httpx2

    address = parse_url(url, "endpoint's URL")
    if address.scheme not in {"http", "https"} or not address.host:
        raise InvalidArgumentError("The endpoint's URL must be http://… or https://…")
    return url.strip()


def _checked_key(key: str | None) -> str:
    # A key that is read from a file often ends in a newline.
    trimmed_key = trim(key or "")
    if not (trimmed_key.isascii() and trimmed_key.isprintable()) or " " in trimmed_key:
        raise InvalidArgumentError("The endpoint's key contains characters that keys cannot contain.")
    return trimmed_key


def _read_stream(response: "Response", on_chunk: OnChunk) -> Reply:
    text, tokens, finish, calls = "", None, None, False
    for event in _events(response):
        if event == _STREAM_END:
            finish = finish or _STOP
            break
        try:
            chunk = msgspec.json.decode(event)
            if error := chunk.get("error"):
                raise LLMError(f"the endpoint stopped with an error: {_shortened(_error_message(error))}")
            for choice in (chunk.get("choices") or [])[:1]:
                delta = choice.get("delta") or {}
                content = delta.get("content")
                finish = _finish_reason(choice) or finish
                calls = calls or bool(delta.get("tool_calls"))
                if isinstance(content, str) and content:
                    text += content
                    on_chunk(content)
            tokens = _tokens_used(chunk) or tokens
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise LLMError(_NOT_A_COMPLETION) from error
        if len(text) > constants.MESSAGE_BYTES_MAX:
            raise LLMError(_TOO_LONG)
    if finish is None:
        # The connection was closed normally, but without a finish reason or an end marker.
        raise LLMError("the endpoint closed the connection before the end of the reply")
    if not text:
        raise LLMError(_ONLY_TOOL_CALLS if calls else "the endpoint's response has no text")
    return Reply(text, tokens, truncated=finish == _LENGTH_LIMIT)


def _finish_reason(choice: Any) -> str | None:
    finish = choice.get("finish_reason")
    return finish if isinstance(finish, str) and finish else None


def _events(response: "Response") -> Iterator[bytes]:
    """Yield the data of server-sent events."""
    pending = b""
    for received in response.iter_bytes():
        *lines, pending = (pending + received).split(b"\n")
        if len(pending) > constants.MESSAGE_BYTES_MAX:
            raise LLMError(_TOO_LONG)
        for line in lines:
            name, _, data = line.rstrip(b"\r").partition(b":")
            if name == b"data" and data.strip():
                yield data.strip()
    # The last line may lack its newline.
    name, _, data = pending.strip().partition(b":")
    if name == b"data" and data.strip():
        yield data.strip()


def _read_body(response: "Response") -> bytes:
    content = b""
    for received in response.iter_bytes():
        content += received
        if len(content) > _RESPONSE_BYTES_MAX:
            raise LLMError(_TOO_LONG)
    return content


def _parse_completion(content: bytes) -> Reply:
    try:
        completion = msgspec.json.decode(content)
        choice = completion["choices"][0]
        message, finish = choice["message"], _finish_reason(choice)
        text, calls = message.get("content"), message.get("tool_calls")
        tokens = _tokens_used(completion)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise LLMError(_NOT_A_COMPLETION) from error
    if not text and calls:
        raise LLMError(_ONLY_TOOL_CALLS)
    if not isinstance(text, str):
        raise LLMError(_NOT_A_COMPLETION)
    return Reply(text, tokens, truncated=finish == _LENGTH_LIMIT)


def _tokens_used(completion: Any) -> int | None:
    usage = completion.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and 0 <= tokens <= constants.INT32_MAX else None


def _error_reason(content: bytes) -> str:
    try:
        text = _error_message(msgspec.json.decode(content)["error"])
    except (msgspec.DecodeError, ValueError, LookupError, TypeError):
        text = content.decode(errors="replace")
    return _shortened(text)


def _error_message(error: Any) -> str:
    return str(error["message"] if isinstance(error, dict) else error)


def _shortened(text: str) -> str:
    return " ".join(text.split())[:_REASON_LENGTH_MAX]
