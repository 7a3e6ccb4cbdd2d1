"""Short form of the drill: every write of a roll-back and its settling, a late writer, random kills, planted bugs.

The long form is `python -m benchmarks.kill_drill`; the protocol stands in docs/state.md. `KILL_SEED` is the seed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from recsys_assets_tests.kills.schedule import scenarios

# Six seconds of work on a free core, with a wide margin for a machine that is busy.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]
SEED = os.environ.get("KILL_SEED", "7")
Found = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    command = [sys.executable, "-m", "recsys_assets_tests.kills.short", str(tmp_path_factory.mktemp("kills")), SEED]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"POLARS_MAX_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    findings: Found = json.loads(done.stdout[done.stdout.index("{") :])
    return findings


def test_a_roll_back_killed_at_any_write_of_it_or_of_its_settling_leaves_nothing_half_done(found: Found) -> None:
    assert len(found["ending"]) >= 14
    assert [f for f in found["ending"] if f["problems"] or not f["killed"] or not f["same_end"]] == []


def test_a_writer_that_wakes_up_after_a_whole_further_release_changes_nothing(found: Found) -> None:
    assert [f["problems"] for f in found["late"]] == [[]]


def test_random_and_double_kills_end_cleanly(found: Found) -> None:
    assert [f for f in found["random"] if f["problems"]] == [], f"seed {SEED}"


@pytest.mark.parametrize("bug", ["ledger_before_route", "settling_without_fences", "no_row_afterwards"])
def test_a_planted_bug_is_found(found: Found, bug: str) -> None:
    (finding,) = found[bug]
    assert finding["problems"] != []


def test_every_process_that_writes_state_has_its_turn_in_some_scenario() -> None:
    processes = {turn.process for scenario in scenarios().values() for turn in scenario.turns}
    controllers = {"sensor", "run", "guard", "platform", "server", "collector"}
    said = {"deploy", "open", "open_asking", "approve", "pause", "resume", "roll_back", "override"}
    assert controllers | said <= processes
