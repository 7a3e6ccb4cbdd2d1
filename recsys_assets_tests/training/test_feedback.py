"""What users reported about answers becomes what a model learns from, but not what a bad model made them do.

Here: the join on small frames, and the room over tables that hold feedback. Not here: collecting (rollout tests).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import hypothesis
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.columns import EXPOSURE_ROWS, FEEDBACK_ROWS, INTERACTIONS, TRAINING_FEEDBACK, UTC_TIME
from recsys_assets.recommender.index import CandidateIndex
from recsys_assets.settings import PACKAGED_CONFIG, FeedbackUse, load_settings
from recsys_assets.training.feedback import REASONS, Learned, learned, with_feedback
from recsys_assets.training.pins import Pins
from recsys_assets_tests.training.house import AS_OF, NOON, House, interactions, said, shown

END = datetime(2024, 2, 1, tzinfo=UTC)


def join(
    exposures: list[dict[str, Any]],
    feedback: list[dict[str, Any]],
    known: Sequence[tuple[Any, ...]] = (),
    **wanted: Any,
) -> Learned:
    frames = {
        "exposures": pl.DataFrame(exposures, schema=EXPOSURE_ROWS),
        "feedback": pl.DataFrame(feedback, schema=FEEDBACK_ROWS),
        "interactions": pl.DataFrame(known, schema=INTERACTIONS, orient="row"),
    }
    made = learned(**{name: frame.clone for name, frame in frames.items()}, as_of=END, wanted=FeedbackUse(**wanted))
    assert made.events.schema == TRAINING_FEEDBACK
    assert made.events.height + sum(made.left_out.values()) == len(feedback)
    return made


def test_an_event_is_of_the_user_who_was_shown_the_item_and_keeps_where_it_stood() -> None:
    [row] = join([shown("r", "a", "b", "c")], [said("e", "r", "b")]).events.rows(named=True)
    assert row == {
        **{
            "user_id": "u",
            "item_id": "b",
            "event_time": NOON,
            "day": NOON.date(),
            "value": None,
            "event_type": "click",
        },
        **{"event_id": "e", "request_id": "r", "model_version": "2", "variant": "canary", "rung": "full"},
        **{"position": 2, "shown": 3, "score": 0.5, "rolled_back": False},
    }


@pytest.mark.parametrize(
    ("reason", "answers", "event", "known"),
    [
        ("after_as_of", [shown("r", "a")], said("e", "r", "a", at=END), []),
        ("of_other_type", [shown("r", "a")], said("e", "r", "a", kind="dislike"), []),
        ("not_shown", [shown("r", "a")], said("e", "r", "b"), []),
        ("not_shown", [shown("other", "a")], said("e", "r", "a"), []),
        ("not_shown", [shown("r")], said("e", "r", "a"), []),
        ("not_shown", [shown("r", "a", variant="shadow")], said("e", "r", "a"), []),
        ("of_several_users", [shown("r", "a"), shown("r", "a", user_id="w")], said("e", "r", "a"), []),
        ("rolled_back", [shown("r", "a", rolled_back=True)], said("e", "r", "a"), []),
        ("rolled_back", [shown("r", "a"), shown("r", "a", rolled_back=True)], said("e", "r", "a"), []),
        ("known_already", [shown("r", "a")], said("e", "r", "a"), [("u", "a", NOON, NOON.date(), None, None)]),
    ],
)
def test_what_is_left_out_is_counted_under_its_reason(
    reason: str, answers: list[dict[str, Any]], event: dict[str, Any], known: list[tuple[Any, ...]]
) -> None:
    beside = shown("good", "z", user_id="x")
    made = join([*answers, beside], [event, said("good", "good", "z")], known)
    assert made.events["event_id"].to_list() == ["good"]
    assert made.left_out == dict.fromkeys(REASONS, 0) | {reason: 1}


def test_the_last_moment_before_as_of_is_in() -> None:
    last = END - timedelta(microseconds=1)
    assert join([shown("r", "a")], [said("e", "r", "a", at=last)]).events["event_time"].to_list() == [last]


def test_the_same_item_on_another_day_or_of_another_user_is_no_repetition() -> None:
    other = [("u", "a", NOON, (NOON - timedelta(days=1)).date(), None, None), ("w", "a", NOON, NOON.date(), None, None)]
    assert join([shown("r", "a")], [said("e", "r", "a")], other).events.height == 1


def test_what_a_rolled_back_model_showed_is_learned_from_when_it_is_asked_for_and_says_so() -> None:
    made = join([shown("r", "a", rolled_back=True)], [said("e", "r", "a")], include_rolled_back=True)
    assert made.events["rolled_back"].to_list() == [True]
    assert made.left_out["rolled_back"] == 0


def test_the_shadows_copy_of_a_good_answer_does_not_make_it_a_bad_one() -> None:
    both = [shown("r", "a", variant="stable"), shown("r", "a", variant="shadow", rolled_back=True)]
    assert join(both, [said("e", "r", "a")]).events["variant"].to_list() == ["stable"]


def test_other_types_count_when_the_settings_name_them() -> None:
    events = [said("e", "r", "a", kind="like"), said("f", "r", "a")]
    assert join([shown("r", "a")], events, event_types=("like",)).events["event_id"].to_list() == ["e"]


def test_no_table_is_read_for_feedback_of_which_none_is_in_time() -> None:
    # As in the packaged example: its clicks are of today, its interactions of 1998.
    def never() -> NoReturn:
        raise AssertionError("read")

    late = pl.DataFrame([said("e", "r", "a", at=END + timedelta(days=9_000))], schema=FEEDBACK_ROWS)
    made = learned(never, late.clone, never, as_of=END, wanted=FeedbackUse())
    assert (made.events.height, made.left_out["after_as_of"]) == (0, 1)
    assert learned(never, FEEDBACK_ROWS.to_frame, never, as_of=END, wanted=FeedbackUse()).left_out == dict.fromkeys(
        REASONS, 0
    )


@hypothesis.settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("rs"), st.sampled_from("ab"), st.sampled_from("uw"), st.booleans(), st.booleans()),
        max_size=6,
    ),
    st.lists(
        st.tuples(st.sampled_from("rst"), st.sampled_from("abc"), st.integers(-1, 1), st.sampled_from(["click", "x"])),
        max_size=6,
    ),
)
def test_every_event_is_used_once_or_left_out_for_one_reason(
    answers: list[tuple[Any, ...]], events: list[tuple[Any, ...]]
) -> None:
    exposures = [
        shown(request, item, user_id=user, rolled_back=bad, variant="shadow" if copy else "canary")
        for request, item, user, bad, copy in answers
    ]
    feedback = [said(f"e{n}", r, i, at=END + timedelta(hours=h), kind=k) for n, (r, i, h, k) in enumerate(events)]
    made = join(exposures, feedback)  # which counts
    assert made.events["event_id"].is_unique().all()
    assert not made.events["rolled_back"].any()
    bad = {(a[0], a[1]) for a in answers if a[3] and not a[4]}
    assert not bad & set(made.events.select("request_id", "item_id").iter_rows())


def test_what_was_learned_stands_behind_the_interactions_in_their_columns() -> None:
    there = interactions().head(3)
    made = join([shown("r", "a")], [said("e", "r", "a")])
    assert with_feedback(there, None).equals(there)
    assert with_feedback(there, join([], [])).equals(there)
    both = with_feedback(there, made)
    assert both.schema == there.schema
    assert both["item_id"].to_list() == [*there["item_id"], "a"]


# --- the room ------------------------------------------------------------------------------------------------------

CLICKED = AS_OF - timedelta(days=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose users reported four clicks: two on good answers, one on a bad one's, one after the newest day."""
    settings = load_settings(home=tmp_path_factory.mktemp("feedback") / "home", config=PACKAGED_CONFIG)
    answers = [shown(name, f"new-{name}", at=CLICKED, user_id=f"u0{n}") for n, name in enumerate("abcd")]
    answers[2]["rolled_back"] = True
    clicks = [said(name, name, f"new-{name}", at=CLICKED) for name in "abc"]
    clicks.append(said("d", "d", "new-d", at=AS_OF))
    with dg.DagsterInstance.ephemeral() as instance:
        house = House(settings, instance).fill()
        house.tables.overwrite("items", pl.DataFrame({"item_id": sorted(set(interactions()["item_id"]))}))
        yield house.report(answers, clicks)


def told(result: dg.ExecuteInProcessResult, asset: str = "training_rows") -> dict[str, Any]:
    assert result.success
    [made] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in made.metadata.items()}


def known_items(metadata: dict[str, Any], fit: str = "release") -> set[str]:
    """The items among those that were only reported on which the index of this fit has met."""
    index = CandidateIndex.load(Path(metadata["folder"]) / fit)
    return {item for item in index.item_ids if item.startswith("new-")}


def test_a_training_leaves_out_what_a_rolled_back_model_made_users_do_and_says_how_much(home: House) -> None:
    result = home.run("training_rows", "candidate_index")
    said_of_it = told(result)
    assert (said_of_it["feedback_used"], said_of_it["feedback_left_out_rolled_back"]) == (2, 1)
    assert said_of_it["feedback_left_out_after_as_of"] == 1
    index = told(result, "candidate_index")
    assert known_items(index) == {"new-a", "new-b"}
    assert known_items(index, "holdout") == set()  # they are of its test period
    pinned = said_of_it["table_versions"]
    assert {"exposures", "feedback", "training_feedback"} <= pinned.keys()
    kept = home.tables.read("training_feedback", version=pinned["training_feedback"])
    assert kept["event_id"].to_list() == ["a", "b"]


def test_it_learns_from_them_when_it_is_asked_to_and_from_none_when_it_is_not(home: House) -> None:
    asked = home.run("training_rows", feedback=FeedbackUse(include_rolled_back=True))
    assert (told(asked)["feedback_used"], told(asked)["feedback_left_out_rolled_back"]) == (3, 0)
    without = told(home.run("training_rows", "candidate_index", feedback=FeedbackUse(use=False)))
    assert without["feedback_used"] == 0
    assert not {"exposures", "feedback"} & without["table_versions"].keys()


def test_a_mark_that_comes_later_changes_the_next_training_and_not_the_pinned_one(home: House) -> None:
    before = Pins.model_validate(told(home.run("training_rows", "candidate_index"))["pins"])
    home.tables.set_true("exposures", "rolled_back", where="request_id = 'b'")
    home.tables.compact("exposures", before=AS_OF.date())
    result = home.run("training_rows", "candidate_index")
    assert told(result)["feedback_left_out_rolled_back"] == 2
    assert known_items(told(result, "candidate_index")) == {"new-a"}
    again = before.learned(home.tables, home.settings.training)
    assert again is not None
    assert again.events["event_id"].to_list() == ["a", "b"]


def test_feedback_of_which_none_is_in_time_is_not_even_pinned(home: House) -> None:
    assert Pins.newest(home.tables, feedback=True).tables.keys() >= {"exposures", "feedback"}
    assert not Pins.newest(home.tables).tables.keys() & {"exposures", "feedback"}
    late = home.tables.read("feedback").filter(pl.col("received_at") >= AS_OF)
    before = home.tables.read("feedback")
    home.tables.overwrite("feedback", late)
    assert "feedback" not in Pins.newest(home.tables, feedback=True).tables
    home.tables.overwrite("feedback", before)


def test_the_tables_keep_the_types_of_the_rooms(home: House) -> None:
    kept = home.tables.read("training_feedback")
    assert kept.schema["event_time"] == UTC_TIME
    assert set(kept.columns) == set(TRAINING_FEEDBACK)
