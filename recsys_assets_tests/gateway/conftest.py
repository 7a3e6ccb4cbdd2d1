"""One gateway for all files of this folder, which tell their requests apart by id; it is stopped whatever happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recsys_assets_tests.gateway.house import Gateway, running


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        yield started
