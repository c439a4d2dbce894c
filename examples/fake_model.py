"""A stand-in for a language model: a small OpenAI-compatible server, for trying the examples without a model.

Run it with:

    python examples/fake_model.py 11434

and set OPENAI_BASE_URL=http://127.0.0.1:11434/v1. Its replies depend on the messages it is sent: it knows a name only
if an earlier message of the same conversation contains "My name is ...".
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 11434


def reply_to(messages: list[dict[str, Any]]) -> str:
    """Return the reply to a conversation."""
    said = [str(message["content"]) for message in messages if message["role"] == "user"]
    names = re.findall(r"[Mm]y name is (\w+)", "\n".join(said))
    if "what is my name" in said[-1].lower():
        return f"Your name is {names[-1]}." if names else "I do not know your name."
    if "my name is" in said[-1].lower():
        return f"Nice to meet you, {names[-1]}."
    return f"This is message {len(messages)} of our conversation."


class Handler(BaseHTTPRequestHandler):
    """Handles `POST /v1/chat/completions`."""

    def do_POST(self) -> None:
        """Complete the conversation in the body, as a stream if that is requested."""
        if self.path != "/v1/chat/completions":
            self.send_error(404)
            return
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = reply_to(request["messages"])
        usage = {"total_tokens": sum(len(str(message["content"]).split()) for message in request["messages"]) + 5}
        if request.get("stream"):
            chunks = [{"choices": [{"delta": {"content": text}}]}, {"choices": [], "usage": usage}]
            events = [*(json.dumps(chunk) for chunk in chunks), "[DONE]"]
            self._send("text/event-stream", "".join(f"data: {event}\n\n" for event in events))
        else:
            message = {"role": "assistant", "content": text}
            self._send("application/json", json.dumps({"choices": [{"message": message}], "usage": usage}))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Log nothing."""

    def _send(self, media_type: str, body: str) -> None:
        content = body.encode()
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve on 127.0.0.1 until interrupted."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        print(f"OPENAI_BASE_URL=http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
