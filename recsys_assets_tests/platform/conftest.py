"""One running stack for the live tests of this room; it is stopped whatever happens.

Here: fixtures. Not here: what they are made of (`homes.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recsys_assets.platform.local import stack
from recsys_assets.platform.local.programs import ENVOY, RECONCILER
from recsys_assets_tests.platform.homes import Client, Home, make_settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Versions 1, 2 and 3 of films are served; the routes are each test's own affair."""
    settings = make_settings(tmp_path_factory.mktemp("platform") / "home")
    try:
        stack.start(settings, (RECONCILER, ENVOY))
        running = Home(settings)
        running.serve("1", "2", "3")
        yield running
    finally:
        stack.stop(settings)


@pytest.fixture
def client(home: Home) -> Iterator[Client]:
    asking = home.client()
    yield asking
    asking.close()
