"""Locks between processes: the kernel lets go of them whatever ends their holder, even kill -9.

Here: holding one, and asking whether somebody does. Not here: what they protect.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold this lock; exit when another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if not _taken(file):
            raise SystemExit(f"another {path.stem} holds {path}")
        yield


@contextmanager
def turn(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold this lock, after whoever came before. `waiting` is called where somebody did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        if not _taken(file):
            waiting()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def turn_if_free(path: Path) -> Iterator[bool]:
    """Hold this lock where nobody else does; tells whether it is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        yield _taken(file)


def _taken(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
