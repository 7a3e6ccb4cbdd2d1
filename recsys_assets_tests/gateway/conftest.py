"""One gateway for each file of this folder; it is stopped whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recsys_assets_tests.gateway.house import Gateway, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        yield started
