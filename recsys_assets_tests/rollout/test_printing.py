"""`status` and `show` on a narrow terminal, a wide one and through a pipe: what people really read."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from recsys_assets.platform.interface import ANY, Unavailable
from recsys_assets.records import Outcome, Phase
from recsys_assets.rollout.act import record
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.ledger import AUDIENCE
from recsys_assets.rollout.outcomes import WeightSince
from recsys_assets.rollout.people import pause
from recsys_assets.rollout.route import RouteState, opened, planned_split, virtual_service
from recsys_assets.rollout.shown.layout import Row, table, wrapped
from recsys_assets.rollout.shown.printing import RouteUnread, show_lines, status_lines
from recsys_assets_tests.rollout.build import desk, later, model, release, verdict

UI = "http://127.0.0.1:3000"
WHY = (
    "canary_has_no_more_errors FAIL: 39 of 64 on canary, 0 of 68 on stable: 61 timeouts within 5 s at 22:11:07, "
    "which is more than the plan's 0.02 allows"
)


def state(version: str, phase: Phase, *, champion: str | None, day: int, reason: str) -> RouteState:
    of = release(champion=champion).model_copy(
        update={
            "release_id": f"recommender-v{version}-2026010{day}t000000",
            "model": model(version),
            "opened_at": later(0) + timedelta(days=day - 1),
        }
    )
    made = opened(of, actor="dagster run 12ab34cd")
    return replace(
        made,
        phase=phase,
        split=planned_split(of, phase, 0),
        transition=3,
        reason=reason,
        entered_at=of.opened_at + timedelta(seconds=70),
        trail=(made.latest,),
    )


def town(tmp_path: Path) -> Desk:
    """Version 1 has been promoted, 2 was rolled back, 3 has a tenth of the users and is paused."""
    at, clock = desk(tmp_path)
    for made in (
        state("1", Phase.CHAMPION, champion=None, day=1, reason="there was no champion to compare with"),
        state("2", Phase.ROLLED_BACK, champion="1", day=2, reason=WHY),
        replace(
            state("3", Phase.CANARY, champion="1", day=3, reason="answers in the shadow as it should"),
            weights=(WeightSince(later(2 * 86_400), 1_000),),
        ),
    ):
        at.platform.apply(virtual_service(made), expected=ANY)
        record(
            at.ledger, made, verdicts=[verdict("canary_has_no_more_errors", Outcome.FAIL, "2").model_dump(mode="json")]
        )
    seen = [{"variant": "canary", "visitors": 1_234, "seconds": 61.0}]
    at.ledger.append(
        AUDIENCE,
        release_id="recommender-v2-20260102t000000",
        actor="guard",
        at=later(86_480),
        key="seen",
        body={"variants": seen},
    )
    clock.at = 2 * 86_400 + 90
    pause(at, "recommender-v3-20260103t000000", who="ann", why="the front page changes at noon")
    return at


STATUS_AT_80 = """\
release                         version  phase        share
recommender-v1-20260101t000000  1        champion     all users
    there was no champion to compare with
    seen: all users since 2026-01-01T00:01:10+00:00
recommender-v2-20260102t000000  2        rolled_back  0 %
    canary_has_no_more_errors FAIL: 39 of 64 on canary, 0 of 68 on stable: 61
    timeouts within 5 s at 22:11:07, which is more than the plan's 0.02 allows
    seen: canary: 1,234 visitors in 61 s
recommender-v3-20260103t000000  3        canary       10 %
    paused by ann since 2026-01-03T00:01:30+00:00: the front page changes at
    noon
    seen: nobody saw it
recommender-v3-20260103t000000 is paused by ann since 2026-01-03T00:01:30+00:00:
the front page changes at noon
  recsys-assets resume recommender-v3-20260103t000000 --why '...'
""".splitlines()

STATUS_AT_200 = """\
release                         version  phase        share      why
recommender-v1-20260101t000000  1        champion     all users  there was no champion to compare with
                                                                 seen: all users since 2026-01-01T00:01:10+00:00
""".splitlines()

SHOW_AT_80 = """\
recommender-v2-20260102t000000: version 2 asks to follow 1
  digest 2222222222222222222222222222222222222222222222222222222222222222
  opened at 2026-01-02T00:00:00+00:00 by dagster run 12ab34cd
  rolled_back since 2026-01-02T00:01:10+00:00, 0 %
    why: canary_has_no_more_errors FAIL: 39 of 64 on canary, 0 of 68 on stable:
         61 timeouts within 5 s at 22:11:07, which is more than the plan's 0.02
         allows
    seen: canary: 1,234 visitors in 61 s
""".splitlines()

PLAN_AT_80 = """\
power                       none              how probably a release without
                                              loss passes; one that no longer
                                              can is stopped
""".splitlines()

HISTORY_AT_80 = """\
at                         what         canary  by
2026-01-02T00:00:00+00:00  opened       0 %     dagster run 12ab34cd
    version 2 asks to follow 1
2026-01-02T00:01:10+00:00  rolled_back  0 %     dagster run 12ab34cd
    canary_has_no_more_errors FAIL: 39 of 64 on canary, 0 of 68 on stable: 61
    timeouts within 5 s at 22:11:07, which is more than the plan's 0.02 allows
2026-01-02T00:01:20+00:00  audience     0 %     guard
    canary: 1,234 visitors

outcome  check                      reason
FAIL     canary_has_no_more_errors  canary_has_no_more_errors is FAIL
""".splitlines()


def test_status_at_80_columns_breaks_no_word_and_splits_no_id(tmp_path: Path) -> None:
    assert status_lines(town(tmp_path), ui_url=UI, width=80) == STATUS_AT_80


def test_status_at_200_columns_has_the_reasons_in_a_column_of_their_own(tmp_path: Path) -> None:
    assert status_lines(town(tmp_path), ui_url=UI, width=200)[:3] == STATUS_AT_200


def test_show_at_80_columns_tells_where_it_is_its_plan_its_history_and_its_verdicts(tmp_path: Path) -> None:
    lines = show_lines(town(tmp_path), "recommender-v2-20260102t000000", width=80)
    assert lines[:8] == SHOW_AT_80
    power = next(place for place, line in enumerate(lines) if line.startswith("power"))
    assert lines[power : power + 3] == PLAN_AT_80
    assert lines[-len(HISTORY_AT_80) :] == HISTORY_AT_80


def test_through_a_pipe_a_reason_is_one_line(tmp_path: Path) -> None:
    assert any(line.endswith(WHY) for line in status_lines(town(tmp_path), ui_url=UI, width=None))


@pytest.mark.parametrize("command", [("status",), ("show", "recommender-v2-20260102t000000")])
@pytest.mark.parametrize("columns", ["80", None])
def test_the_commands_print_as_wide_as_the_terminal_and_through_a_pipe_unbroken(
    tmp_path: Path, command: tuple[str, ...], columns: str | None
) -> None:
    (tmp_path / "platform").mkdir()
    town(tmp_path)
    (tmp_path / "manifests.db").rename(tmp_path / "platform" / "manifests.db")
    environment = {"RECSYS_HOME": str(tmp_path), "PATH": os.environ["PATH"]} | ({"COLUMNS": columns} if columns else {})
    said = subprocess.run(
        [sys.executable, "-m", "recsys_assets.cli", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    longest = max(len(line) for line in said.stdout.splitlines())
    assert (longest <= 80) == (columns == "80")


def test_a_route_that_cannot_be_read_is_an_error_and_what_the_ledger_has_is_told(tmp_path: Path) -> None:
    at = town(tmp_path)

    class Away:
        def get(self, kind: str, name: str) -> None:
            raise Unavailable(kind, name, "the server does not answer")

    with pytest.raises(RouteUnread, match="the server does not answer") as unread:
        status_lines(replace(at, platform=Away()), ui_url=UI, width=80)  # type: ignore[arg-type]
    assert "recommender-v3-20260103t000000  3        canary       10 %" in unread.value.lines


@given(text=st.text(), indent=st.integers(0, 10), width=st.integers(20, 200))
def test_wrapping_keeps_every_word_whole_and_every_line_within_the_width(text: str, indent: int, width: int) -> None:
    lines = wrapped(text, indent=indent, width=width)
    assert [word for line in lines for word in line.split()] == text.split()
    for line in lines:
        assert cell_len(line) <= width or len(line.split()) == 1


def test_columns_are_as_wide_as_what_is_in_them_also_where_a_character_takes_two_cells() -> None:
    rows = [Row(("推荐", "1"), ("x",)), Row(("abc", "2"), ("y",))]
    assert table(["name", "n", "why"], rows, width=80) == ["name  n  why", "推荐  1  x", "abc   2  y"]
