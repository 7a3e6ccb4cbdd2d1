"""The log of a program of ours: one line a record, its time in UTC.

Here: the format. Not here: where the lines go, which is up to whoever started the program.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

_FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(name)s %(levelname)s %(message)s"


class UtcFormatter(logging.Formatter):
    """The library's own writes local time and does not say which."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(_FORMAT, "%Y-%m-%dT%H:%M:%S")


def start_logging() -> None:
    """Everything from INFO on goes to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(UtcFormatter())
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)
