"""One signed bundle for the room's tests, and one model server for each module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.serving.processes import Running, running


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with keys and the signed bundle of version 3."""
    made = tmp_path_factory.mktemp("home")
    signed_bundle(made / "bundles" / "3", made / "keys")
    return made


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Running]:
    """A model server without an online store."""
    with running("server", "--bundle", home / "bundles" / "3", "--home", home) as started:
        yield started
