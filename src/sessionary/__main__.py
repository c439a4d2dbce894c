"""``python -m sessionary``."""

from sessionary.cli.main import main

main()
