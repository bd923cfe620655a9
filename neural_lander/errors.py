"""Errors that a user can act on."""

from __future__ import annotations


class UserError(ValueError):
    """The input is at fault, not the program.

    The message is one line that names the field, its value and the remedy. The command line prints it
    without a traceback and exits with status 2.
    """


FOREIGN = (Exception, SystemExit)
"""What code that a user wrote may raise, ``sys.exit()`` included: it ends a flight, not the program."""


def why_unread(error: Exception) -> str:
    """Why a file cannot be read, in words that follow its name."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return getattr(error, "strerror", None) or str(error)


class NeuralLanderWarning(UserWarning):
    """Something was lost or doubtful, and the work went on without it."""
