"""One user's newest features out of Feast's Redis online store, before a deadline.

Here: the keys and values that Feast's Redis store writes, read without Feast, for the model server. Not here: writing
(resources/feature_store.py), or what is done without an answer. A parity test holds it to Feast's own SDK.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from recsys_assets.features.online import (
    KEYS,
    PROJECT,
    OnlineStoreUnavailable,
    decode_value,
    entity_key,
    message_class,
)
from recsys_assets.store_settings import RedisAddress

# A request that waits longer than this for the answer of a server nearby will not get one.
_LEAST_SECONDS: Final = 0.001


def names_key(view: str) -> str:
    """Where the writer keeps the names of a view's features: Feast's own fields are hashes of them.

    It names what is written now. A hash may hold fields of windows that no setting names any more, and they are old.
    """
    return f"{PROJECT}/{view}/names"


def names_value(fields: Mapping[bytes, str]) -> str:
    """From a field of Feast's to the feature's name, as it is kept under `names_key`."""
    return json.dumps({field.hex(): name for field, name in sorted(fields.items())})


class RedisReader:
    """Reads one entity's row in one round trip. Connections are kept, and made anew when the server was restarted."""

    def __init__(
        self,
        address: RedisAddress,
        *,
        password: str | None = None,
        view: Literal["user_features", "item_features"] = "user_features",
    ) -> None:
        self._address, self._password, self._view = address, password, view
        message_class()  # built now, as the first request would have to wait for it
        self._clients: dict[float, Any] = {}
        self._known: tuple[bytes, dict[bytes, str]] = (b"", {})

    def read_user(self, user_id: str, timeout_ms: float) -> dict[str, Any] | None:
        """The user's features by name, with `event_time` (UTC) up to which they know; None for an unknown user."""
        return self.read(user_id, timeout_ms)

    def read(self, entity: str, timeout_ms: float) -> dict[str, Any] | None:
        """The row of this view's entity; OnlineStoreUnavailable when there is no answer before the deadline."""
        from redis.exceptions import RedisError

        deadline = time.monotonic() + timeout_ms / 1_000
        key = entity_key(KEYS[self._view], entity) + PROJECT.encode()
        try:
            with self._client(timeout_ms).pipeline(transaction=False) as asked:
                asked.get(names_key(self._view))
                asked.hgetall(key)
                names, fields = asked.execute()
            row = self._row(names, fields)
        except (RedisError, LookupError, ValueError, TypeError, OverflowError, OSError) as broken:
            raise OnlineStoreUnavailable(f"online store: {type(broken).__name__}: {broken}") from broken
        if time.monotonic() > deadline:
            raise OnlineStoreUnavailable(f"online store: the answer took longer than {timeout_ms} ms")
        return row

    def _row(self, names: bytes | None, fields: dict[bytes, bytes]) -> dict[str, Any] | None:
        if names is None:
            # Emptied, or never filled: that nobody is known says nothing about this user.
            raise OnlineStoreUnavailable(f"online store: nobody wrote {self._view} yet")
        if self._known[0] != names:
            self._known = (names, {bytes.fromhex(field): name for field, name in json.loads(names).items()})
        if not fields:
            return None
        row = {name: decode_value(fields[field]) for field, name in self._known[1].items() if field in fields}
        row["event_time"] = _event_time(fields[f"_ts:{self._view}".encode()])
        return row

    def _client(self, timeout_ms: float) -> Any:
        """redis-py's, which keeps connections for many threads. Its own three retries would take the whole deadline."""
        found = self._clients.get(timeout_ms)
        if found is None:
            from redis import Redis
            from redis.backoff import NoBackoff
            from redis.exceptions import ConnectionError as Lost
            from redis.retry import Retry

            seconds = max(timeout_ms / 1_000, _LEAST_SECONDS)
            found = self._clients[timeout_ms] = Redis(
                host=self._address.host,
                port=self._address.port,
                db=self._address.db,
                ssl=self._address.tls,
                password=self._password,
                socket_timeout=seconds,
                socket_connect_timeout=seconds,
                # Once, for a connection that was kept over the server's restart.
                retry=Retry(NoBackoff(), 1, supported_errors=(Lost,)),
                protocol=2,
                driver_info=None,
            )
        return found


def _event_time(encoded: bytes) -> datetime:
    """A protobuf Timestamp, as Feast writes it beside the values."""
    from google.protobuf.message import DecodeError
    from google.protobuf.timestamp_pb2 import Timestamp

    stamp = Timestamp()
    try:
        stamp.ParseFromString(encoded)
    except DecodeError as broken:
        raise ValueError(f"a time is not Feast's: {broken}") from broken
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
