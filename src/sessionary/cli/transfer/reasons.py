"""Why a record was left out."""


class Unreadable(Exception):
    """A record cannot become a session; the others can."""

    def __init__(self, reason: str) -> None:
        """Say why, in one sentence."""
        super().__init__(reason)
        self.reason = reason


class UserMissing(Unreadable):
    """Nobody said whose conversation it is."""

    def __init__(self) -> None:
        """Say how to tell."""
        super().__init__("It names no user: give --user-id.")
