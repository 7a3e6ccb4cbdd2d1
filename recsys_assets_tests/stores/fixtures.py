"""The real servers as fixtures: each is started once in a session, when a test first asks for it.

Here: fixtures, which conftest.py imports for every room. Not here: how a server is started (servers.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from recsys_assets_tests.stores.servers import S3, Postgres, Valkey

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    from recsys_assets_tests.stores.servers import postgres

    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    from recsys_assets_tests.stores.servers import s3

    with s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    from recsys_assets_tests.stores.servers import valkey

    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres, s3_server: S3) -> Iterator[str]:
    """The address of an MLflow server on Postgres and S3."""
    from recsys_assets_tests.stores.servers import mlflow

    with mlflow(tmp_path_factory.mktemp("mlflow"), postgres_server, s3_server) as address:
        yield address


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    """The address of a database of the test's own."""
    return postgres_server.make(f"test_{next(_NUMBERS)}")


@pytest.fixture
def bucket(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own, and the environment in which every AWS library finds it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.make(f"bucket-{next(_NUMBERS)}")
