"""Health checks: whether the process is running, and whether it can serve requests."""

from sessionary.models import Health
from sessionary.server.http.responses import Response, json_response
from sessionary.server.store.base import Store

LIVE = b"/health/live"
READY = b"/health/ready"


def live() -> Response:
    """Respond at once, without the store."""
    return json_response(200, Health("live"))


async def ready(store: Store) -> Response:
    """Respond when the store is ready; raises UnavailableError if it is not."""
    await store.ready()
    return json_response(200, Health("ready"))
