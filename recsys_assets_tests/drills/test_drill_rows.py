"""What a drill came to, told by hand-made rows of the ledger and the logs.

Here: reading.py, records.py, verdicts.py and the asset that reports without playing. Not here: a drill for real
(benchmarks/drills.py).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.drills.assets import build_assets
from recsys_assets.drills.jobs import build_jobs
from recsys_assets.drills.kinds import KINDS
from recsys_assets.drills.reading import DrillRow, drills_in, row_of
from recsys_assets.drills.records import collect, kept
from recsys_assets.drills.schedules import build_schedules
from recsys_assets.drills.verdicts import CHECK, judge_drills
from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.ledger import Event, Ledger
from recsys_assets.rollout.outcomes import Logs
from recsys_assets.settings import Settings
from recsys_assets_tests.rollout.build import Rows, later, model, verdict

ERRORS = "canary_has_no_more_errors"


def events(
    kind: str | None, end: Phase | None, *failed: str, actor: str = "dagster run 1", at: float = 20
) -> list[Event]:
    """Opened at 0 s, ended at `at` by the checks that failed."""
    told = model().model_copy(update={"drill": kind}).model_dump(mode="json")
    found = [event(1, "opened", 0, "a", {"model": told, "phase": "gated"})]
    if end:
        verdicts = [verdict(name, Outcome.FAIL).model_dump(mode="json") for name in failed]
        found.append(event(2, end.value, 20, actor, {"reason": "so", "verdicts": verdicts, "weight_bp": 0}))
    return found


def event(seq: int, kind: str, at: float, actor: str, body: dict[str, Any]) -> Event:
    return Event(
        seq, later(at), "rel-2", kind, actor, f"rel-2/{seq}", {"version": "2", "digest": "d", "reason": "", **body}
    )


def read(kind: str, rows: Rows, *failed: str, end: Phase = Phase.ROLLED_BACK, actor: str = "guard") -> DrillRow:
    [(opened, ended)] = drills_in(events(kind, end, *failed, actor=actor)).values()
    assert ended is not None
    found = row_of(opened, ended, rows.logs())
    assert found is not None
    return found


def test_a_failing_drill_hurts_from_the_first_error_that_a_user_got() -> None:
    rows = Rows()
    rows.ask("early", "stable", 5, status=500)
    rows.ask("fine", "canary", 10)
    rows.ask("hurt", "canary", 12, status=500)
    rows.ask("hurt", "canary", 20.5, status=503)
    rows.ask("later", "stable", 30)
    found = read("failing", rows, ERRORS)
    assert (found.injected_at, found.detected_at, found.last_bad_answer_at) == (later(12), later(20), later(20.5))
    assert (found.detection_seconds, found.rollback_seconds, found.users_exposed) == (8, 0.5, 2)
    assert (found.caught, found.caught_by, found.by) == (True, (ERRORS,), "guard")


def test_a_slow_drill_that_the_shadow_found_hurt_nobody() -> None:
    rows = Rows()
    rows.ask("someone", "stable", 3)
    rows.exposures.append(rows.exposures[0] | {"variant": "shadow", "model_version": "2", "served_at": later(4)})
    found = read("slow", rows, "shadow_answers_as_it_should", end=Phase.REJECTED, actor="dagster run 9")
    assert (found.injected_at, found.last_bad_answer_at, found.users_exposed) == (later(4), None, 0)
    assert (found.detection_seconds, found.rollback_seconds, found.by) == (16, 0, "tick")


def test_a_drill_stopped_only_for_being_one_was_not_caught() -> None:
    assert not read("worse", Rows()).caught
    assert not read("worse", Rows(), "x", end=Phase.HELD).caught


def test_a_log_that_cannot_be_read_is_no_finding() -> None:
    [(opened, ended)] = drills_in(events("slow", Phase.REJECTED)).values()
    assert ended is not None
    assert row_of(opened, ended, Logs(None, None, None)) is None


def test_a_release_that_is_no_drill_is_none() -> None:
    assert drills_in(events(None, Phase.CHAMPION)) == {}


def played(kind: str, at: float, *failed: str) -> DrillRow:
    moment: datetime = later(at)
    before = moment - timedelta(seconds=2)
    return DrillRow(kind, f"rel-{at}", "2", before, moment, moment, 3, "rolled_back", failed, "guard", "so")


def test_the_check_passes_when_the_latest_of_each_kind_was_caught() -> None:
    found = judge_drills([played("slow", 1), played("slow", 2, "a"), played("worse", 1, "b")])
    assert (found.outcome, found.reason) == (Outcome.PASS, "caught: slow, worse")
    assert {m.name: m.value for m in found.measurements}["slow_detection"] == 2.0


def test_the_check_fails_when_one_was_missed_and_says_which() -> None:
    found = judge_drills([played("slow", 1, "a"), played("slow", 2), played("worse", 1, "b")])
    assert found.outcome is Outcome.FAIL
    assert "slow (rel-2" in found.reason


def test_the_check_without_any_drill_has_no_data() -> None:
    assert judge_drills([]).outcome is Outcome.INCONCLUSIVE


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    return Ledger(settings.path("ledger.db"))


def write(ledger: Ledger, rows: list[Event]) -> None:
    for row in rows:
        ledger.append(row.kind, release_id=row.release_id, actor=row.actor, at=row.at, key=row.key, body=row.body)


def test_a_drill_is_read_once_it_ended_and_kept_when_the_logs_are_gone(settings: Settings, ledger: Ledger) -> None:
    write(ledger, events("slow", None))
    assert collect(settings, now=later(100)) == []
    write(ledger, events("slow", Phase.REJECTED, "x")[1:])
    assert collect(settings, now=later(21)) == []  # the last answers may not be in the log yet
    [row] = collect(settings, now=later(100))
    assert (row.kind, row.caught, row.detected_at) == ("slow", True, later(20))
    settings.path("ledger.db").unlink()
    assert kept(settings) == [row]


def test_the_asset_reports_without_playing(settings: Settings, ledger: Ledger) -> None:
    write(ledger, events("failing", Phase.ROLLED_BACK, ERRORS, actor="guard"))
    result = dg.materialize([*build_assets(settings), dg.AssetSpec("canary")], selection=["drill_report"])
    [made] = result.asset_materializations_for_node("drill_report")
    assert made.metadata["dagster/row_count"].value == 1
    assert made.metadata["drills"].records[0].data["caught_by"] == ERRORS
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (CHECK, True)


def test_the_folder_of_rows_is_below_the_home(settings: Settings, ledger: Ledger, tmp_path: Path) -> None:
    write(ledger, events("slow", Phase.REJECTED, "x"))
    collect(settings, now=later(100))
    assert [path.name for path in settings.path("drills", "records").iterdir()] == ["rel-2.json"]


def test_the_weekly_drill_is_off_and_would_play_each_kind_in_turn(settings: Settings) -> None:
    [schedule] = build_schedules(settings)
    weeks = [datetime(2026, 1, 6, 10, tzinfo=UTC) + timedelta(weeks=n) for n in range(4)]
    ticks = [schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=week)) for week in weeks]
    configs = [request.run_config for tick in ticks for request in tick.run_requests or []]
    assert {config["ops"]["drill_report"]["config"]["play"] for config in configs} == set(KINDS)
    job = dg.Definitions(assets=build_assets(settings), jobs=build_jobs(settings)).resolve_job_def("drill")
    assert all(dg.validate_run_config(job, config) for config in configs)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
