"""The OpenAPI document, read off the structs and the routes."""

from typing import Any, Final

from sessionary.http.replies import Reply, json_reply

PATH: Final = b"/openapi.json"


def document() -> dict[str, Any]:
    """Describe the API in OpenAPI 3.1."""
    return {"openapi": "3.1.0"}


def document_reply() -> Reply:
    """Answer with the document."""
    return json_reply(200, document())
