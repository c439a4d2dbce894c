"""The table of routes: the whole API at a glance, one line per operation."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from msgspec import Struct

from sessionary.errors import MethodNotAllowedError
from sessionary.models import (
    CreatedSession,
    CreateSession,
    DeletedSession,
    ExtendedSession,
    ExtendSession,
    ListedSession,
    ListParameters,
    Session,
    UpdatedSession,
    UpdateSession,
    WindowParameters,
)
from sessionary.server.http import handlers
from sessionary.server.http.handlers import Request
from sessionary.server.http.paths import COLLECTION, EXTENSION, SESSION
from sessionary.server.http.responses import Response
from sessionary.server.operations.context import Context
from sessionary.server.operations.tokens import READ, WRITE

_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT"})

Handler = Callable[[Context, Request], Awaitable[Response]]


class Route(Struct, frozen=True):
    """One operation of the API: its names, method and path template, and the types of its input and output.

    ``request_type`` declares the body, or the query parameters where there is no body; ``response_type`` declares the body
    of a successful response.
    """

    operation_id: str
    method: str
    path: str
    scope: str
    status: int
    request_type: Any
    response_type: Any
    handler: Handler

    @property
    def name(self) -> str:
        """The operation's name in the log, such as ``create_session``."""
        return self.handler.__name__

    @property
    def has_body(self) -> bool:
        """Whether a request has a body."""
        return self.method in _METHODS_WITH_BODY


# fmt: off
# ruff: noqa: E501 - a table is read by column
ROUTES: Final = (
    Route("createAISession", "POST",   COLLECTION, WRITE, 201, CreateSession,    CreatedSession,      handlers.create_session),
    Route("listAISessions",  "GET",    COLLECTION, READ,  200, ListParameters,   list[ListedSession], handlers.list_sessions),
    Route("getAISession",    "GET",    SESSION,    READ,  200, WindowParameters, Session,             handlers.get_session),
    Route("updateAISession", "PUT",    SESSION,    WRITE, 200, UpdateSession,    UpdatedSession,      handlers.update_session),
    Route("extendAISession", "PUT",    EXTENSION,  WRITE, 200, ExtendSession,    ExtendedSession,     handlers.extend_session),
    Route("deleteAISession", "DELETE", SESSION,    WRITE, 200, None,             DeletedSession,      handlers.delete_session),
)
# fmt: on

_BY_PATH_AND_METHOD: Final = {(route.path, route.method): route for route in ROUTES} | {
    (route.path, "HEAD"): route for route in ROUTES if route.method == "GET"
}


def find_route(template: str, method: str) -> Route:
    """Find the route of a path template and a method; raises MethodNotAllowedError."""
    route = _BY_PATH_AND_METHOD.get((template, method))
    if route is None:
        allowed = sorted(served for path, served in _BY_PATH_AND_METHOD if path == template)
        raise MethodNotAllowedError(", ".join(allowed))
    return route
