"""Whether the process lives, and whether it could serve."""

from sessionary.models import Health
from sessionary.server.http.responses import Reply, json_reply
from sessionary.server.store.base import Store

LIVE = b"/health/live"
READY = b"/health/ready"


def live() -> Reply:
    """Answer at once; the store is not asked."""
    return json_reply(200, Health("live"))


async def ready(store: Store) -> Reply:
    """Answer once the store has; raises UnavailableError."""
    await store.ready()
    return json_reply(200, Health("ready"))
