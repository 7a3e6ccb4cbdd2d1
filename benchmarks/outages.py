"""The outages that ladder_outages.py forces, each begun and repaired: files, locks, limits, and the hooks of
faulty_server.py. Here: how each is done. Not here: what is measured meanwhile.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TABLE = "recsys_assets_user_features"
LOCKED_SECONDS = FREE_SECONDS = 0.15


@dataclass(frozen=True)
class Place:
    """What may break: the store's file, the file of the hooks, and the server's process with its exposure log."""

    store: Path
    hooks: Path
    pid: int
    log: Path


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Another process' exclusive lock, for ever."""
    holder = _lock(place.store)
    try:
        yield
    finally:
        holder.close()


def _lock(store: Path) -> sqlite3.Connection:
    deadline = time.monotonic() + 10
    while True:
        holder = sqlite3.connect(store, isolation_level=None, timeout=1, check_same_thread=False)
        holder.execute("PRAGMA locking_mode=EXCLUSIVE")  # a lock that readers of a write-ahead log meet, too
        try:
            holder.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # a reader was there first, and this lock does not wait for it
            holder.close()
            if time.monotonic() > deadline:
                raise
        else:
            return holder


@contextmanager
def locked_in_spells(place: Place) -> Iterator[None]:
    """The lock held for 0.15 s of each 0.3 s."""
    done = threading.Event()

    def hold() -> None:
        while not done.is_set():
            holder = _lock(place.store)
            done.wait(LOCKED_SECONDS)
            holder.close()
            done.wait(FREE_SECONDS)

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        yield
    finally:
        done.set()
        holding.join()


@contextmanager
def _instead(place: Place, make: Callable[[Path], object]) -> Iterator[None]:
    """Something else stands where the store's file was; its write-ahead log goes aside with it."""
    aside = place.store.parent / "aside"
    aside.mkdir()
    for path in place.store.parent.glob(f"{place.store.name}*"):
        path.rename(aside / path.name)
    make(place.store)
    try:
        yield
    finally:
        place.store.unlink(missing_ok=True)
        for path in aside.iterdir():
            path.rename(place.store.parent / path.name)
        aside.rmdir()


def _truncated(path: Path) -> None:
    whole = (path.parent / "aside" / path.name).read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.4)])


def _other_schema(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"CREATE TABLE {TABLE} (who TEXT, what TEXT)")
    db.close()


def _senseless_rows(path: Path) -> None:
    """Times that are no numbers and one item too few: lists of Feast's, with nonsense in them."""
    shutil.copyfile(path.parent / "aside" / path.name, path)
    nan = bytes([0x7A, 10, 0x0A, 8]) + b"\x00\x00\x00\x00\x00\x00\xf8\x7f"  # double_list_val: [nan]
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE {TABLE} SET value = ? WHERE feature_name = 'recent_times'", (nan,))
    db.close()


@contextmanager
def folder_gone(place: Place) -> Iterator[None]:
    """The whole folder of the store is gone."""
    folder = place.store.parent
    aside = folder.rename(folder.with_name("gone"))
    try:
        yield
    finally:
        aside.rename(folder)


@contextmanager
def disk_full(place: Place) -> Iterator[None]:
    """The exposure log may not grow: every append fails in the kernel."""
    before = resource.prlimit(place.pid, resource.RLIMIT_FSIZE)
    size = place.log.stat().st_size if place.log.exists() else 0
    resource.prlimit(place.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(place.pid, resource.RLIMIT_FSIZE, before)


def hook(name: str) -> Callable[[Place], object]:
    """A fault that only the server itself can have."""

    @contextmanager
    def planted(place: Place) -> Iterator[None]:
        place.hooks.write_text(name, encoding="utf-8")
        try:
            yield
        finally:
            place.hooks.unlink()

    return planted


def instead(make: Callable[[Path], object]) -> Callable[[Place], object]:
    return lambda place: _instead(place, make)


OUTAGES: Mapping[str, Callable[[Place], object]] = {
    "store_hanging_locked": locked,
    "store_hanging_pipe": instead(os.mkfifo),
    "store_hanging_reader": hook("reader_hanging"),
    "store_slow_locked_in_spells": locked_in_spells,
    "store_slow_reads": hook("reader_slow"),
    "store_garbage_bytes": instead(lambda path: path.write_bytes(random.Random(7).randbytes(200_000))),
    "store_garbage_truncated": instead(_truncated),
    "store_garbage_schema": instead(_other_schema),
    "store_garbage_rows": instead(_senseless_rows),
    "store_dead_deleted": instead(lambda path: None),
    "store_dead_folder": folder_gone,
    "ranker_failing": hook("ranker_failing"),
    "ranker_nan": hook("ranker_nan"),
    "ranker_slow": hook("ranker_slow"),
    "ranker_hanging": hook("ranker_hanging"),
    "log_disk_full": disk_full,
}
# Those that can be there before the server is.
AT_START = (
    "store_hanging_locked",
    "store_hanging_pipe",
    "store_hanging_reader",
    "store_slow_reads",
    "store_garbage_bytes",
    "store_garbage_truncated",
    "store_garbage_schema",
    "store_garbage_rows",
    "store_dead_deleted",
    "store_dead_folder",
)
