"""The client's logger, and a filter that keeps the HTTP library from logging the content of this client's calls.

The library's loggers write requests and responses at DEBUG, headers included. For calls of this client they write
only the name of the event. Other uses of the library are logged as usual: the filter checks whose call is running.
"""

import logging
from typing import Final

from sessionary.client.deadlines import is_call_running

LOG: Final = logging.getLogger("sessionary")
_LIBRARY_LOGGERS: Final = ("connection", "http11", "http2", "proxy", "socks")


def _remove_details(record: logging.LogRecord) -> bool:
    if is_call_running():
        record.msg, record.args = str(record.msg).partition(" ")[0], None
        record.exc_info = record.exc_text = None
    return True


def install_log_filter() -> None:
    """Add the filter to the HTTP library's loggers; calling it again changes nothing."""
    for name in _LIBRARY_LOGGERS:
        logging.getLogger(f"httpcore2.{name}").addFilter(_remove_details)
