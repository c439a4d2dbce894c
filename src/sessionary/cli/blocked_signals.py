"""Blocking SIGHUP while a server starts; imports nothing slow, because it runs first."""

import signal


def block_sighup() -> None:
    """Block SIGHUP until the server has installed its handler; the signal would end the process otherwise."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
