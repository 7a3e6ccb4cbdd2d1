"""What was shown and clicked goes back into tables, each row once, and what a bad model showed is marked.

Here: the job `collect_feedback` and its schedule, over real logs, ledger and tables. Not here: the logs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets.columns import EXPOSURE_ROWS, FEEDBACK_ROWS, INTERACTIONS
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout import marks
from recsys_assets.rollout.jobs import COLLECT_JOB, EXPOSURE_MARKS, build_jobs
from recsys_assets.rollout.ledger import MARKED, OPENED, Ledger
from recsys_assets.rollout.schedules import build_schedules
from recsys_assets.serving import assets as serving
from recsys_assets.serving.exposures import exposure_line
from recsys_assets.serving.feedback_protocol import Event, feedback_line
from recsys_assets.serving.ladder import Answer
from recsys_assets.settings import FeedbackUse, Settings
from recsys_assets.training.feedback import learned

EVE = datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return EVE + timedelta(seconds=seconds)


class Place:
    """One home with its logs, its ledger and the job."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = settings, instance
        self.tables = TablesResource(root=str(settings.path("tables")))
        rooms = (serving, marks)
        wanted = {"exposures", "feedback", EXPOSURE_MARKS}
        assets = [asset for room in rooms for asset in room.build_assets(settings)]
        self.definitions = dg.Definitions(
            assets=[asset for asset in assets if asset.key.to_user_string() in wanted],
            jobs=[job for job in build_jobs(settings) if job.name == COLLECT_JOB],
            schedules=build_schedules(settings),
            resources={"tables": self.tables},
            executor=dg.in_process_executor,
        )

    def show(self, request: str, at: float, *, version: str = "2", variant: str = "canary", user: str = "u") -> None:
        line = exposure_line(
            Answer(user, ("a", "b"), (0.5, 0.25), "full"),
            request_id=request,
            served_at=later(at),
            visitor_id="v",
            model_version=version,
            variant=variant,
            latency_ms=1.5,
        )
        self.write("exposures", f"{variant}.jsonl", line)

    def click(self, event: str, at: float, request: str = "r1") -> None:
        row = Event(event_id=event, request_id=request, item_id="a", event_type="click")
        self.write("feedback", "feedback.jsonl", feedback_line(row, later(at)))

    def open(self, release: str, version: str, at: float) -> None:
        body = {"version": version, "digest": version, "phase": "gated", "reason": "opened"}
        self._append(OPENED, release, at, body)

    def roll_back(self, version: str, since: float, until: float, *, release: str = "rel-first") -> None:
        body = {"model_version": version, "since": later(since).isoformat(), "until": later(until).isoformat()}
        self._append(MARKED, release, until, body)

    def _append(self, kind: str, release: str, at: float, body: dict[str, str]) -> None:
        ledger = Ledger(self.settings.path("ledger.db"))
        assert ledger.append(kind, release_id=release, actor="test", at=later(at), key=f"{release}/{kind}", body=body)

    def write(self, kind: str, file: str, line: bytes) -> None:
        folder = self.settings.path("logs", kind)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / file).open("ab") as log:
            log.write(line)

    def collect(self) -> Any:
        job = self.definitions.resolve_job_def(COLLECT_JOB)
        return job.execute_in_process(instance=self.instance, raise_on_error=False)

    def exposures(self) -> dict[str, bool]:
        rows = self.tables.read("exposures").sort("served_at")
        return dict(rows.select("request_id", "rolled_back").iter_rows())


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Place(settings, instance)


def test_without_any_log_the_tables_are_empty_and_nothing_fails(place: Place) -> None:
    assert place.collect().success
    assert place.tables.read("exposures").schema == EXPOSURE_ROWS
    assert place.tables.read("feedback").schema == FEEDBACK_ROWS
    assert place.tables.read("exposures").is_empty()


def test_logged_rows_stand_in_their_day_with_their_very_values(place: Place) -> None:
    place.show("r1", 0)
    place.show("r2", 2)
    place.click("e1", 3)
    assert place.collect().success
    rows = place.tables.read("exposures").sort("served_at")
    assert rows["day"].to_list() == [date(2026, 1, 1), date(2026, 1, 2)]
    assert rows["served_at"].to_list() == [later(0), later(2)]
    assert rows["scores"].to_list()[0] == [0.5, 0.25]
    assert rows["flags"].to_list() == [[], []]
    assert place.tables.days("exposures") == [date(2026, 1, 1), date(2026, 1, 2)]
    assert place.tables.read("feedback").select("event_id", "day").rows() == [("e1", date(2026, 1, 2))]


def test_collecting_again_adds_what_is_new_and_nothing_twice(place: Place) -> None:
    place.show("r1", 0)
    place.click("e1", 1)
    place.collect()
    place.show("r2", 2)
    place.click("e1", 90_000)  # sent again a day later, by a client that got no answer
    place.click("e2", 3)
    again = place.collect()
    for table in ("exposures", "feedback"):
        assert again.asset_materializations_for_node(table)[0].metadata["new_rows"].value == 1
    place.collect()
    assert list(place.exposures()) == ["r1", "r2"]
    assert sorted(place.tables.read("feedback")["event_id"]) == ["e1", "e2"]


def test_the_shadows_answer_and_each_user_of_one_request_are_rows_of_their_own(place: Place) -> None:
    place.show("r1", 0, variant="stable", version="1")
    place.show("r1", 0, variant="shadow")
    place.show("r1", 0, variant="stable", version="1", user="w")
    place.collect()
    place.collect()
    assert place.tables.read("exposures").height == 3


def test_what_a_rolled_back_model_showed_is_marked_and_nothing_else(place: Place) -> None:
    place.show("before", 0)
    place.show("first", 10)
    place.show("stable", 15, version="1", variant="stable")
    place.collect()
    assert set(place.exposures().values()) == {False}
    place.roll_back("2", since=10, until=20)
    place.show("shadow", 12, variant="shadow")
    place.show("under way when the weight was taken", 20.5)
    for newly_marked in (3, 0):
        made = place.collect().asset_materializations_for_node("exposures")[0].metadata
        assert made["newly_marked"].value == newly_marked
    bad = {name for name, bad in place.exposures().items() if bad}
    assert bad == {"first", "shadow", "under way when the weight was taken"}


def test_what_it_shows_once_it_is_tried_again_is_not_marked(place: Place) -> None:
    place.open("rel-first", "2", 10)
    place.roll_back("2", since=10, until=20)
    place.open("rel-other", "3", 25)
    place.open("rel-again", "2", 30)
    for at in (10, 29, 30, 31):
        place.show(f"at {at}", at)
    place.collect()
    assert place.exposures() == {"at 10": True, "at 29": True, "at 30": False, "at 31": False}


def test_a_training_learns_again_from_a_version_that_a_person_let_be_tried_once_more(place: Place) -> None:
    place.open("rel-first", "2", 10)
    place.roll_back("2", since=10, until=20)
    place.open("rel-again", "2", 30)
    for at in (5, 10, 29, 30):
        place.show(f"at {at}", at)
        place.click(f"click {at}", at, request=f"at {at}")
    place.collect()
    frames = {name: partial(place.tables.read, name) for name in ("exposures", "feedback")}
    taken = learned(**frames, interactions=INTERACTIONS.to_frame, as_of=later(60), wanted=FeedbackUse())
    assert taken.events["event_id"].to_list() == ["click 5", "click 30"]
    assert taken.left_out["rolled_back"] == 2


def test_the_small_files_of_a_day_that_is_over_become_one_and_lose_no_row(place: Place) -> None:
    place.show("r0", 0)
    place.collect()
    [first] = place.tables.read("exposures").rows(named=True)
    for number in range(1, 9):
        place.tables.append("exposures", pl.DataFrame([first | {"request_id": f"r{number}"}], schema=EXPOSURE_ROWS))
    made = place.collect().asset_materializations_for_node("exposures")[0].metadata
    assert (made["compacted_files"].value, made["new_rows"].value) == (9, 0)
    assert sorted(place.exposures()) == [f"r{number}" for number in range(9)]


def test_two_rolled_back_releases_of_one_version_mark_both_their_times(place: Place) -> None:
    for name, opened in (("rel-first", 10), ("rel-again", 30)):
        place.open(name, "2", opened)
        place.roll_back("2", since=opened, until=opened + 5, release=name)
    for at in (5, 12, 36):
        place.show(f"at {at}", at)
    place.collect()
    assert place.exposures() == {"at 5": False, "at 12": True, "at 36": True}


def test_a_broken_line_stops_the_collection_and_is_named(place: Place) -> None:
    place.show("r1", 0)
    place.write("exposures", "canary.jsonl", b"garbage\n")
    result = place.collect()
    assert not result.success
    [failure] = [e for e in result.all_events if e.is_step_failure]
    assert "line 2" in str(failure.step_failure_data)
    assert not place.tables.exists("exposures")


def test_the_schedule_runs_by_itself_once_anything_was_served(place: Place) -> None:
    [schedule] = build_schedules(place.settings)
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    with dg.build_schedule_context(instance=place.instance, scheduled_execution_time=EVE) as context:
        assert schedule.evaluate_tick(context).run_requests == []
        place.show("r1", 0)
        assert len(schedule.evaluate_tick(context).run_requests or []) == 1


def test_the_home_folder_is_the_only_place_it_writes(place: Place, tmp_path: Path) -> None:
    place.collect()
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
