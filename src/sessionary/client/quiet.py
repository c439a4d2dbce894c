"""What the client writes to logs, and what its HTTP library must not.

The library's loggers describe requests and answers at DEBUG: headers, and with them the query of a link or a header
that is refused. For what happens in a call of this client they write the name of the event and nothing else. What
others do with the library is logged as ever: the filter looks whose call it is.
"""

import logging
from typing import Final

from sessionary.client.deadlines import is_under_way

LOG: Final = logging.getLogger("sessionary.client")
_LIBRARY: Final = ("connection", "http11", "http2", "proxy", "socks")


def _without_details(record: logging.LogRecord) -> bool:
    if is_under_way():
        record.msg, record.args = str(record.msg).partition(" ")[0], None
        record.exc_info = record.exc_text = None
    return True


def quieten() -> None:
    """Keep the HTTP library's loggers from telling what is in this client's calls; doing it again changes nothing."""
    for name in _LIBRARY:
        logging.getLogger(f"httpcore2.{name}").addFilter(_without_details)
