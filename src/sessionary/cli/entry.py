"""Where the program begins: before anything slow is imported, SIGHUP is kept from ending a server."""

import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        hold_hangups()
    # The imports below take a few hundred milliseconds.
    from sessionary.cli.main import main as run  # noqa: PLC0415

    run()


def hold_hangups() -> None:
    """Let SIGHUP wait until the server has a handler for it, which unblocks it; it would end the process otherwise."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
