"""Feast on servers: its registry in Postgres, its online store in Redis.

Here: Feast's configuration of both, one writer of the registry at a time, and the names that our reader needs. Not
here: frames (feature_store.py), or the reader (features/online_redis.py).

The registry is in Postgres and not a file on S3: the file is read, changed and written back whole, so that the second
of two writers undoes the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from recsys_assets.store_settings import RedisAddress, redis_address

# An advisory lock of this number in the registry's database.
_APPLYING: Final = 7_241_990_003
_SECONDS: Final = 60


def redis_store(online: str, password: str | None) -> dict[str, Any]:
    """Feast's `online_store`. It stands over what is there, as the file does: a repaired day keeps its event time, and
    Feast by itself leaves a row alone whose time is not a later one."""
    address = redis_address(online)
    options: dict[str, Any] = {"db": address.db, "ssl": address.tls, "socket_connect_timeout": 5, "socket_timeout": 30}
    if password is not None:
        options["password"] = password
    words = [f"{address.host}:{address.port}", *(f"{name}={json.dumps(value)}" for name, value in options.items())]
    return {"type": "redis", "connection_string": ",".join(words), "skip_dedup": True}


def sql_registry(url: str, *, makes_tables: bool) -> dict[str, Any]:
    """Feast's `registry`. Only who holds the lock makes tables: two who find none would both make them."""
    driver = "postgresql+psycopg2://" + url.partition("://")[2]
    options = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    mode = "auto" if makes_tables else "skip"
    return {"registry_type": "sql", "path": driver, "schema_mode": mode, "sqlalchemy_config_kwargs": options}


@contextmanager
def alone(url: str) -> Iterator[None]:
    """One process at a time changes the registry; the lock falls with its connection."""
    import psycopg2  # type: ignore[import-untyped]

    connection = psycopg2.connect(url, connect_timeout=10, options=f"-c statement_timeout={_SECONDS * 1_000}")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (_APPLYING,))
        yield
    finally:
        connection.close()


def write_names(online: str, password: str | None, features: Mapping[str, Sequence[str]]) -> None:
    """Tell the model servers' reader which fields there are; Feast stores hashes of their names."""
    from feast.infra.online_stores.helpers import _mmh3

    from recsys_assets.features.online_redis import names_key, names_value

    client = _client(redis_address(online), password)
    try:
        for view, names in features.items():
            client.set(names_key(view), names_value({_mmh3(f"{view}:{name}"): name for name in names}))
    finally:
        client.close()


def _client(address: RedisAddress, password: str | None) -> Any:
    from redis import Redis

    return Redis(
        host=address.host,
        port=address.port,
        db=address.db,
        ssl=address.tls,
        password=password,
        socket_timeout=30,
        socket_connect_timeout=5,
    )
