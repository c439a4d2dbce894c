"""The entry point of the program: blocks SIGHUP for a server before anything slow is imported."""

import signal
import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        block_sighup()
    # The imports below take a few hundred milliseconds.
    from sessionary.cli.main import main as run  # noqa: PLC0415

    run()


def block_sighup() -> None:
    """Block SIGHUP until the server has installed its handler; the signal would end the process otherwise."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
