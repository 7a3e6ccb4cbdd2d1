"""What a person can mend: one class for all errors whose message is enough.

Here: the base class. Not here: the errors, which stand where they arise, or how they are shown (command_line.py).
"""

from __future__ import annotations


class UserFacingError(Exception):
    """Its message says what is wrong, where, and what to do. Nobody needs a stack trace of it."""

    exit_code = 1
