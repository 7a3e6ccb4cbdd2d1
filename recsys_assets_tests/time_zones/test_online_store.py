"""The online store is written in one time zone and read in another: every moment stays what it is.

Here: a process in each zone writes a store of its own, then all of them read all stores, on SQLite and on Valkey. Not
here: values other than moments (stores/), or a model server (serving/).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from recsys_assets_tests.stores.servers import Valkey
from recsys_assets_tests.time_zones import online
from recsys_assets_tests.time_zones.zones import ASCII_LOCALE, MOMENTS, ZONES, Run, offset_hours, process

pytestmark = pytest.mark.slow
EQUAL = "online_values_equal_offline_values"
RIGHT = [moment.isoformat() for moment in MOMENTS]


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, Run]]:
    """One in each zone; that of Havana has a locale that knows no UTF-8 as well."""
    with ExitStack() as stack:
        locale = {"America/Havana": ASCII_LOCALE}
        yield {zone: stack.enter_context(process({"TZ": zone} | locale.get(zone, {}))) for zone in ZONES}


@pytest.fixture(scope="module", params=["sqlite", "valkey"])
def homes(
    request: pytest.FixtureRequest,
    processes: dict[str, Run],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[str, str]]:
    """By zone: a home whose tables and online store were written there, and the address of the store."""
    made: dict[str, tuple[str, str]] = {}
    for number, (zone, run) in enumerate(processes.items()):
        address = ""
        if request.param == "valkey":
            server: Valkey = request.getfixturevalue("valkey_server")
            address = server.address(number + 8)
        home: Path = tmp_path_factory.mktemp("home")
        made[zone] = str(home), address
        run(online.write, *made[zone])
    return made


def test_the_zones_are_known_to_this_machine(processes: dict[str, Run]) -> None:
    """Else every process below would be in UTC, and show nothing."""
    hours = {zone: (run(offset_hours, 1), run(offset_hours, 7)) for zone, run in processes.items()}
    assert hours == {
        "UTC": (0, 0),
        "America/New_York": (-5, -4),
        "Asia/Kolkata": (5.5, 5.5),
        "America/Havana": (-5, -4),
        "Pacific/Apia": (13, 13),
    }


@pytest.mark.parametrize("there", ZONES)
def test_every_moment_that_any_zone_wrote_is_read_here(
    processes: dict[str, Run], homes: dict[str, tuple[str, str]], there: str
) -> None:
    for here, home in homes.items():
        found = processes[there](online.known_until, *home)
        assert found == dict.fromkeys(found, RIGHT), f"written with TZ={here}, read with TZ={there}"
        assert len(found) == 4


@pytest.mark.parametrize(("here", "there"), [*pairwise([*ZONES, "UTC"])])
def test_the_check_that_online_equals_offline_passes_in_the_same_zone_and_in_another(
    processes: dict[str, Run], homes: dict[str, tuple[str, str]], here: str, there: str
) -> None:
    assert processes[here](online.check, *homes[here]) == {EQUAL: True}
    assert processes[there](online.check, *homes[here]) == {EQUAL: True}
