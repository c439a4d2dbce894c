"""The entry point of the program: blocks SIGHUP for a server before anything slow is imported."""

import sys

from sessionary.cli.blocked_signals import block_sighup


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["serve"]:
        block_sighup()
    # The imports below take a few hundred milliseconds.
    from sessionary.cli.main import main as run  # noqa: PLC0415

    run()
