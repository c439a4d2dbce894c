"""A model that replies in a conversation, behind an OpenAI-compatible endpoint."""

from collections.abc import Iterator
from typing import Any, Final

import httpx2
import msgspec

from sessionary import constants
from sessionary.cli.replying import NoReplyError, Reply, Show
from sessionary.client.urls import parse_url
from sessionary.errors import InvalidArgumentError
from sessionary.models import JsonObject
from sessionary.server.setting_values import trim

_UNDERSTOOD: Final = ("role", "content", "name", "tool_calls", "tool_call_id")
"""The members of a message that an endpoint knows; some refuse any other."""
_REASON_LENGTH_MAX: Final = 300
_ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
_REFUSALS: Final = frozenset({400, 404, 422, 501})
_END: Final = b"[DONE]"
_CUT: Final = "length"
_STOPPED: Final = "stop"
_ONLY_CALLS: Final = "the endpoint's answer only calls tools, and this chat has none"
_NO_COMPLETION: Final = "the endpoint's answer is no chat completion"
_TOO_LONG: Final = "the endpoint's answer is longer than a message may be"


class Endpoint:
    """A server that completes chats as OpenAI's does."""

    def __init__(self, url: str, model: str, key: str | None, seconds: float) -> None:
        """Ask ``url``, which may end before or after ``/chat/completions``; wait so long for each piece of a reply.

        Raises InvalidArgumentError for a URL or a key that cannot be used, and never repeats either.
        """
        bare = _checked_url(url).rstrip("/")
        self.name: Final = model
        self._url: Final = bare if bare.endswith("/chat/completions") else f"{bare}/chat/completions"
        self._place: Final = bare.partition("://")[2].partition("/")[0].rpartition("@")[2]
        key = _checked_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http: Final = httpx2.Client(headers=headers, timeout=seconds)
        self._streams = True

    def reply(self, messages: list[JsonObject], show: Show) -> Reply:
        """Have the whole conversation completed, streamed where the endpoint can; raises NoReplyError."""
        told = [{name: message[name] for name in _UNDERSTOOD if name in message} for message in messages]
        asked: JsonObject = {"model": self.name, "messages": told}
        try:
            if self._streams:
                reply = self._ask(asked | {"stream": True, "stream_options": {"include_usage": True}}, show)
                if reply is not None:
                    return reply
                self._streams = False
            reply = self._ask(asked, show)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise NoReplyError(
                f"the endpoint at {self._place} could not be asked: {str(error) or type(error).__name__}"
            ) from error
        if reply is None:
            raise NoReplyError("the endpoint refuses to answer without streaming, and with it")
        return reply

    def _ask(self, asked: JsonObject, show: Show) -> Reply | None:
        """Ask once; None if the endpoint does not stream the way it was asked to."""
        with self._http.stream("POST", self._url, json=asked) as response:
            if response.is_success and response.headers.get("content-type", "").startswith("text/event-stream"):
                return _read_stream(response, show)
            content = _content_of(response)
        if not response.is_success:
            reason = _reason(content)
            if response.status_code in _REFUSALS and "stream" in asked and "stream" in reason:
                return None
            raise NoReplyError(f"the endpoint answered HTTP {response.status_code}: {reason}")
        reply = _read(content)
        show(reply.text)
        return reply


def _checked_url(url: str) -> str:
    address = parse_url(url, "endpoint's URL")
    if address.scheme not in {"http", "https"} or not address.host:
        raise InvalidArgumentError("The endpoint's URL must be http://… or https://…")
    return url.strip()


def _checked_key(key: str | None) -> str:
    # A key that is read from a file often brings the end of its line along.
    bare = trim(key or "")
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise InvalidArgumentError("The endpoint's key holds characters that no key has.")
    return bare


def _read_stream(response: httpx2.Response, show: Show) -> Reply:
    text, tokens, finish, calls = "", None, None, False
    for event in _events(response):
        if event == _END:
            finish = finish or _STOPPED
            break
        try:
            chunk = msgspec.json.decode(event)
            if error := chunk.get("error"):
                raise NoReplyError(f"the endpoint broke off: {_shortened(_message_of(error))}")
            for choice in (chunk.get("choices") or [])[:1]:
                delta = choice.get("delta") or {}
                piece = delta.get("content")
                finish = _finish_of(choice) or finish
                calls = calls or bool(delta.get("tool_calls"))
                if isinstance(piece, str) and piece:
                    text += piece
                    show(piece)
            tokens = _tokens_of(chunk) or tokens
        except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise NoReplyError(_NO_COMPLETION) from error
        if len(text) > constants.MESSAGE_BYTES_MAX:
            raise NoReplyError(_TOO_LONG)
    if finish is None:
        # The connection was closed in good order, but nothing said that this was the end.
        raise NoReplyError("the endpoint broke off before the reply's end")
    if not text:
        raise NoReplyError(_ONLY_CALLS if calls else "the endpoint's answer has no text")
    return Reply(text, tokens, cut=finish == _CUT)


def _finish_of(choice: Any) -> str | None:
    finish = choice.get("finish_reason")
    return finish if isinstance(finish, str) and finish else None


def _events(response: httpx2.Response) -> Iterator[bytes]:
    """Read the data of server-sent events."""
    pending = b""
    for received in response.iter_bytes():
        *lines, pending = (pending + received).split(b"\n")
        if len(pending) > constants.MESSAGE_BYTES_MAX:
            raise NoReplyError(_TOO_LONG)
        for line in lines:
            name, _, data = line.rstrip(b"\r").partition(b":")
            if name == b"data" and data.strip():
                yield data.strip()
    # The last line may come without its end.
    name, _, data = pending.strip().partition(b":")
    if name == b"data" and data.strip():
        yield data.strip()


def _content_of(response: httpx2.Response) -> bytes:
    content = b""
    for received in response.iter_bytes():
        content += received
        if len(content) > _ANSWER_BYTES_MAX:
            raise NoReplyError(_TOO_LONG)
    return content


def _read(content: bytes) -> Reply:
    try:
        answer = msgspec.json.decode(content)
        choice = answer["choices"][0]
        message, finish = choice["message"], _finish_of(choice)
        text, calls = message.get("content"), message.get("tool_calls")
        tokens = _tokens_of(answer)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise NoReplyError(_NO_COMPLETION) from error
    if not text and calls:
        raise NoReplyError(_ONLY_CALLS)
    if not isinstance(text, str):
        raise NoReplyError(_NO_COMPLETION)
    return Reply(text, tokens, cut=finish == _CUT)


def _tokens_of(answer: Any) -> int | None:
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and 0 <= tokens <= constants.INT32_MAX else None


def _reason(content: bytes) -> str:
    try:
        said = _message_of(msgspec.json.decode(content)["error"])
    except (msgspec.DecodeError, ValueError, LookupError, TypeError):
        said = content.decode(errors="replace")
    return _shortened(said)


def _message_of(error: Any) -> str:
    return str(error["message"] if isinstance(error, dict) else error)


def _shortened(said: str) -> str:
    return " ".join(said.split())[:_REASON_LENGTH_MAX]
