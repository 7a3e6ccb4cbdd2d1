"""One user's newest features out of Feast's SQLite online store, read-only and before a deadline.

Here: a reader that imports neither Feast (five seconds) nor pandas, for the model server, and the choice between it and
that of Redis (online_redis.py). Not here: writing, or what to do when the store does not answer. A parity test holds
both to Feast's own SDK, value by value.
"""

from __future__ import annotations

import sqlite3
import stat
import struct
import time
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from recsys_assets.errors import UserFacingError
from recsys_assets.store_settings import redis_address

# Feast's ValueType.STRING, as its serialized entity keys (version 3) carry it.
_STRING: Final = 2
# As in feature_store.yaml and features/views.py, which a test compares; importing these would bring Polars into every
# model server.
PROJECT: Final = "recsys_assets"
KEYS: Final = {"user_features": "user_id", "item_features": "item_id"}
# Number, name and protobuf type of the fields of Feast's Value that our views use.
_SCALARS: Final = ((2, "string_val", 9), (4, "int64_val", 3), (5, "double_val", 1))
_LISTS: Final = ((12, "string_list_val", "StringList", 9), (15, "double_list_val", "DoubleList", 1))


class OnlineStoreUnavailable(UserFacingError, RuntimeError):  # noqa: N818 - the name says which rung of the ladder comes next
    """The online store is missing, locked, too slow or not readable; the message says which."""


View = Literal["user_features", "item_features"]


class ReadsRows(Protocol):
    """What the readers of all stores have in common."""

    def read_user(self, user_id: str, timeout_ms: float) -> dict[str, Any] | None:
        """The user's features by name, with `event_time` (UTC) up to which they know; None for an unknown user."""

    def read(self, entity: str, timeout_ms: float) -> dict[str, Any] | None:
        """The row of this view's entity; OnlineStoreUnavailable when there is no answer before the deadline."""


def open_reader(place: Path | str, *, password: str | None = None, view: View = "user_features") -> ReadsRows:
    """The reader of a store: `redis://host:port/db`, or a file of SQLite. Nothing is connected yet."""
    if isinstance(place, str) and "://" in place:
        from recsys_assets.features.online_redis import RedisReader

        return RedisReader(redis_address(place), password=password, view=view)
    return OnlineReader(place, view=view)


class OnlineReader:
    """Reads one user's row. It keeps no connection: a store that was moved or removed is seen at once.

    The deadline covers waiting for locks and the query's own work; a disk that hangs inside one read is not covered.
    """

    def __init__(self, path: Path | str, *, view: View = "user_features") -> None:
        self._path = Path(path).absolute()
        self._uri = self._path.as_uri() + "?mode=ro"
        message_class()  # built now, as the first request would have to wait for it
        self._key = KEYS[view]
        # One of our own two names, never a caller's; SQLite takes no parameter in the place of a table.
        self._query = f'SELECT feature_name, value, event_ts FROM "{PROJECT}_{view}" WHERE entity_key = ?'  # noqa: S608

    def read_user(self, user_id: str, timeout_ms: float) -> dict[str, Any] | None:
        """The user's features by name, with `event_time` (UTC) up to which they know; None for an unknown user."""
        return self.read(user_id, timeout_ms)

    def read(self, entity: str, timeout_ms: float) -> dict[str, Any] | None:
        """The row of this view's entity; OnlineStoreUnavailable when there is no answer before the deadline."""
        deadline = time.monotonic() + timeout_ms / 1000
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):
                # Opening a pipe or a device could wait for ever, and no deadline of SQLite's covers that.
                raise OSError(f"{self._path} is no file")
            with closing(sqlite3.connect(self._uri, uri=True, timeout=timeout_ms / 1000)) as connection:
                connection.set_progress_handler(lambda: time.monotonic() > deadline, 200)
                rows = connection.execute(self._query, (entity_key(self._key, entity),)).fetchall()
            row = _decode(rows)
        except (sqlite3.Error, ValueError, TypeError, OverflowError, OSError) as broken:
            raise OnlineStoreUnavailable(f"online store: {type(broken).__name__}: {broken}") from broken
        if time.monotonic() > deadline:
            raise OnlineStoreUnavailable(f"online store: the answer took longer than {timeout_ms} ms")
        return row


def entity_key(name: str, value: str) -> bytes:
    """The key under which Feast (entity key serialization 3) stores the entity with this one join key."""
    key, text = name.encode(), value.encode()
    parts = (struct.pack("<3I", 1, _STRING, len(key)), key, struct.pack("<2I", _STRING, len(text)), text)
    return b"".join(parts)


def _decode(rows: Iterable[tuple[str, bytes, float]]) -> dict[str, Any] | None:
    values: dict[str, Any] = {}
    for name, encoded, stamp in rows:
        values[name] = decode_value(encoded)
        values["event_time"] = datetime.fromtimestamp(int(stamp), UTC)
    return values or None


def decode_value(encoded: bytes) -> Any:
    from google.protobuf.message import DecodeError

    message = message_class()()
    try:
        message.ParseFromString(encoded)
    except DecodeError as broken:
        raise ValueError(f"a value is not Feast's: {broken}") from broken
    kind = message.WhichOneof("val")
    if kind is None:
        return None
    value = getattr(message, kind)
    return list(value.val) if kind.endswith("_list_val") else value


@cache
def message_class() -> Any:
    """The part of Feast's `Value` that our views use, in a pool of its own so that it never meets Feast's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="value.proto", package="recsys", syntax="proto3")
    message = file.message_type.add(name="Value")
    message.oneof_decl.add(name="val")
    for number, name, kind in _SCALARS:
        message.field.add(name=name, number=number, type=kind, label=1, oneof_index=0)
    for number, name, type_name, kind in _LISTS:
        holder = file.message_type.add(name=type_name)
        holder.field.add(name="val", number=1, type=kind, label=3)
        message.field.add(name=name, number=number, type=11, label=1, type_name=f".recsys.{type_name}", oneof_index=0)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("recsys.Value"))
