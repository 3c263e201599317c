"""The person's failures, told apart from ours."""

from collections.abc import Sequence


class UserError(Exception):
    """Something a person can mend: says what was found, where, and what to do; shown as it is.

    ``details`` holds one line per finding (for example one per broken row of a file).
    """

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = list(details)

    def __str__(self) -> str:
        return "\n".join([self.message, *self.details])


class InvalidTransition(UserError):
    """A status can't change the way it was asked to."""
