"""``python -m sessionary``."""

from sessionary.cli.entry import main

main()
