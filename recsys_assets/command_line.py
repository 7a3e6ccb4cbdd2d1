"""The edge of the command line: what a person can mend is one line and an exit code; a bug says that it is one.

Here: errors and signals turned into words and exit codes. Not here: commands (cli.py), or the errors themselves.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, NoReturn

from recsys_assets.errors import UserFacingError

WRONG_USE: Final = 2
# The machine says no: nothing of ours is broken, and its own words with the path are enough.
_WHAT_TO_DO: Final = {
    errno.ENOSPC: "the disk is full: make room, or let RECSYS_HOME name a folder on another one",
    errno.EDQUOT: "your share of the disk is used up: make room, or let RECSYS_HOME name a folder on another one",
    errno.EACCES: "you may not use it: change its owner or its mode, or let RECSYS_HOME name another folder",
    errno.EPERM: "you may not use it: change its owner or its mode, or let RECSYS_HOME name another folder",
    errno.EROFS: "it cannot be written to: let RECSYS_HOME name another folder",
    errno.ENOTDIR: "a file stands where a folder must be: move it, or let RECSYS_HOME name another folder",
    errno.ENAMETOOLONG: "the name is too long: let RECSYS_HOME name a shorter one",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n`)",
    errno.ENFILE: "too many files are open on this machine: stop something",
    errno.EIO: "the disk fails",
}
_BUG: Final = "recsys-assets: this is a bug. Please report it with the lines above and the command that you gave."


def run(command: Callable[[], object]) -> None:
    """Run a command to its end, with its exit code. A stack trace is shown for a bug and for nothing else."""
    sys.excepthook = _show_bug
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with plain_errors():
        _require_folder()
        command()


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with one line where the error is nobody's bug."""
    try:
        yield
    except UserFacingError as told:
        _refuse(str(told), told.exit_code)
    except KeyboardInterrupt:
        _refuse("interrupted", 128 + signal.SIGINT)
    except ModuleNotFoundError as absent:
        if (absent.name or "").partition(".")[0] == "recsys_assets":
            raise
        _refuse(f"{sys.executable} lacks {absent.name}: it is not the project's environment (`make install`)", 1)
    except OSError as refused:
        if refused.errno not in _WHAT_TO_DO:
            raise
        place = refused.filename or "a file"
        _refuse(f"{os.fsdecode(place)}: {refused.strerror}; {_WHAT_TO_DO[refused.errno]}", 1)


def _require_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - asked for its error
    except FileNotFoundError:
        _refuse("the folder that you stand in is gone: change into another one", WRONG_USE)


def _refuse(words: str, code: int) -> NoReturn:
    sys.stderr.write(f"{words}\n")
    raise SystemExit(code) from None


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """As an interrupt from the keyboard: what was begun is undone on the way out."""
    raise SystemExit(128 + number)


def _show_bug(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    traceback.print_exception(kind, error, at)
    sys.stderr.write(f"{_BUG}\n")
