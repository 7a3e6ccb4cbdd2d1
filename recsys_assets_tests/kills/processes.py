"""Real processes: forked from a warm parent, so that three thousand of them are affordable.

Here: fork, wait, kill. Not here: what they do.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


class ChildFailed(RuntimeError):  # noqa: N818
    """A process of the harness ended by itself with an error: that is a finding, too."""


def fork(work: Callable[[], Any], *, answer: Path | None = None, errors: Path) -> int:
    """A process that does this work, writes what came of it to `answer`, and is gone. Returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        # From here on nothing of the parent's may run: no test, no atexit.
        descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 2)
        os.dup2(descriptor, 1)
        result = work()
        if answer is not None:
            answer.write_text(json.dumps(result))
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and its parent reads why
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(code)
    raise AssertionError("unreachable")


def ended(pid: int, errors: Path) -> None:
    """Wait for the end of a process that nobody kills; raises ChildFailed with what it said."""
    _, status = os.waitpid(pid, 0)
    if status:
        said = errors.read_text(errors="replace")[-3_000:] if errors.exists() else ""
        raise ChildFailed(f"status {status}: {said}")


def failed_first(errors: Path) -> None:
    """Raise ChildFailed when a process that was to be killed failed by itself before."""
    said = errors.read_text(errors="replace") if errors.exists() else ""
    if "Traceback" in said:
        raise ChildFailed(said[-3_000:])


def asked(work: Callable[[], Any], *, folder: Path) -> Any:
    """What this work gives when it is done in a process of its own."""
    answer, errors = folder / f"answer.{os.getpid()}", folder / "errors"
    errors.unlink(missing_ok=True)
    ended(fork(work, answer=answer, errors=errors), errors)
    return json.loads(answer.read_text())


def died(pid: int) -> bool:
    """Wait; whether it was SIGKILL that ended it."""
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def halted(pid: int) -> bool:
    """Wait until it has stopped (True) or ended (False)."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def killed_after(pid: int, seconds: float) -> bool:
    """SIGKILL after this time; False where it was done before."""
    time.sleep(seconds)  # not a wait for anything: the moment of a random kill
    os.kill(pid, signal.SIGKILL)
    return died(pid)
