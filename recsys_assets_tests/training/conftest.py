"""One trained house for the tests that only look, and settings of its own for it. Not here: data (house.py)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.settings import PACKAGED_CONFIG, load_settings
from recsys_assets_tests.training.house import ROOM, House, said, shown


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Filled tables, nothing trained yet; tests that write into it name what they change."""
    home: Path = tmp_path_factory.mktemp("training") / "home"
    with dg.DagsterInstance.ephemeral() as instance:
        filled = House(load_settings(home=home, config=PACKAGED_CONFIG), instance).fill()
        yield filled.report([shown("r", "i000", user_id="u00")], [said("e", "r", "i000")])


@pytest.fixture(scope="package")
def trained(house: House) -> tuple[House, Any]:
    """The room materialized once, and the run's result."""
    return house, house.run(*ROOM)
