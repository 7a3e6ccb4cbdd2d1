"""One interaction, followed through every room up to the decision that put a model before all users.

Here: claims about the played story. Not here: sensors (test_sensors_by_themselves.py), the shell (test_headless_ci.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl
import pytest

from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.records import ModelVersion, Phase
from recsys_assets.rollout.ledger import ReleaseRow
from recsys_assets_tests.journeys import town
from recsys_assets_tests.journeys.house import Story, ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3_600)]
RECORD_ANNOTATION = "recsys-assets.dev/model-version"


@dataclass(frozen=True)
class Followed:
    """The interaction that is followed: a user took an item, and a training row says so."""

    user: str
    item: str
    at: datetime

    @property
    def day(self) -> date:
        return self.at.date()


@pytest.fixture(scope="module")
def model(story: Story) -> ModelVersion:
    """The challenger of the second release."""
    assert story.second.success, story.second
    return ModelVersion.model_validate(story.metadata("ranker_model", story.second.run_id)["model"])


@pytest.fixture(scope="module")
def followed(story: Story, model: ModelVersion) -> Followed:
    """The newest event that became a label of the second release's training rows."""
    rows = story.tables.read("training_rows", version=model.table_versions["training_rows"])
    labels = rows.filter(pl.col("label") > 0).select("user_id", "item_id", "cut")
    events = story.tables.read("interactions").select("user_id", "item_id", "event_time")
    both = labels.join(events, on=["user_id", "item_id"]).filter(pl.col("event_time") >= pl.col("cut"))
    user, item, _, at = both.sort("event_time", "user_id").row(-1)
    return Followed(user, item, at)


@pytest.fixture(scope="module")
def release(story: Story, model: ModelVersion) -> ReleaseRow:
    [row] = [r for r in story.ledger.releases() if r.version == model.version]
    return row


def landed(day: date) -> pl.DataFrame:
    return town.events().filter(pl.col("day") == day)


def exposures(story: Story, model: ModelVersion) -> pl.DataFrame:
    """What the servers wrote of this version, line by line."""
    lines = [pl.read_ndjson(path) for path in story.settings.path("logs", "exposures").glob("*.jsonl")]
    rows = pl.concat([frame for frame in lines if frame.height], how="diagonal_relaxed")
    return rows.filter(pl.col("model_version") == model.version)


def test_the_event_stands_in_the_table_as_it_was_landed(story: Story, followed: Followed) -> None:
    me = (pl.col("user_id") == followed.user) & (pl.col("item_id") == followed.item)
    [stored] = story.tables.read("interactions").filter(me).rows(named=True)
    [given] = town.events().filter(me).rows(named=True)
    assert stored["event_time"] == datetime.fromtimestamp(given["timestamp"], UTC)
    assert (stored["day"], stored["value"]) == (given["day"], given["rating"])


def test_it_is_counted_in_its_users_features_from_the_midnight_after(story: Story, followed: Followed) -> None:
    mine = (pl.col("user_id") == followed.user) & (pl.col("day") == followed.day)
    [row] = story.tables.read("user_features").filter(mine).rows(named=True)
    assert row["event_time"] == datetime.combine(followed.day + timedelta(days=1), time(), UTC)
    assert row["events_1d"] == landed(followed.day).filter(pl.col("user_id") == followed.user).height
    assert row["recent_items"][-1] == followed.item
    assert row["recent_times"][-1] == followed.at.timestamp()


def test_it_is_counted_in_its_items_features(story: Story, followed: Followed) -> None:
    its = (pl.col("item_id") == followed.item) & (pl.col("day") == followed.day)
    [row] = story.tables.read("item_features").filter(its).rows(named=True)
    takers = landed(followed.day).filter(pl.col("item_id") == followed.item)
    assert (row["events_1d"], row["users_1d"]) == (takers.height, takers["user_id"].n_unique())


def test_it_is_the_label_of_a_row_that_did_not_know_it(story: Story, model: ModelVersion, followed: Followed) -> None:
    rows = story.tables.read("training_rows", version=model.table_versions["training_rows"])
    me = (pl.col("user_id") == followed.user) & (pl.col("item_id") == followed.item)
    cuts = rows.filter(me & (pl.col("label") > 0))["cut"].to_list()
    assert cuts
    assert all(cut <= followed.at < cut + timedelta(days=5) for cut in cuts)
    assert rows.filter(me & (pl.col("cut") > followed.at)).is_empty()


def records(story: Story) -> Iterator[tuple[str, Any]]:
    for asset in ("challenger_service", "shadow_comparison", "canary", "champion"):
        yield asset, story.metadata(asset, story.second.run_id)["record"]


def test_one_record_stands_in_every_asset_after_the_training(story: Story, model: ModelVersion) -> None:
    assert {asset: ModelVersion.model_validate(record) for asset, record in records(story)} == {
        asset: model for asset, _ in records(story)
    }
    judged = story.metadata("evaluation_report", story.second.run_id)
    assert (judged["model_version"], judged["outcome"]) == (model.version, "PASS")


def test_the_record_pins_what_it_was_trained_on(story: Story, model: ModelVersion) -> None:
    assert model.as_of == datetime.combine(town.SECOND_AS_OF, time(), UTC)
    pinned = story.tables.read("interactions", version=model.table_versions["interactions"])
    assert pinned.height == town.events().filter(pl.col("day") < town.SECOND_AS_OF).height


def test_the_registry_holds_the_same_record_its_tags_and_the_gates_verdict(story: Story, model: ModelVersion) -> None:
    from mlflow import MlflowClient

    assert story.registry.get(model.version) == model
    tags = MlflowClient(f"sqlite:///{story.settings.path('mlflow', 'mlflow.db')}").get_model_version(
        model.name, model.version
    )
    assert model.labels().items() <= tags.tags.items()
    verdict = story.registry.read_verdict(model.version, "evaluation_report")
    assert verdict is not None
    assert verdict.passed


def test_the_deployed_bundle_is_the_one_of_the_record_and_signed(story: Story, model: ModelVersion) -> None:
    from recsys_assets.recommender.bundle import bundle_digest, check_bundle
    from recsys_assets.signing import public_key, verify_bundle

    folder = story.settings.path("bundles", model.version)
    assert check_bundle(folder).version == model.version
    assert bundle_digest(folder) == model.bundle_digest
    verify_bundle(folder, public_key(story.settings.path("keys")), digest=model.bundle_digest)


def test_the_services_manifest_carries_the_record_and_its_labels(story: Story, model: ModelVersion) -> None:
    manifest = story.stage.platform.get("InferenceService", model.service_name)
    assert manifest is not None
    about = manifest["metadata"]
    assert ModelVersion.model_validate_json(about["annotations"][RECORD_ANNOTATION]) == model
    assert model.labels().items() <= about["labels"].items()


def test_copies_some_users_and_then_all_saw_this_version(story: Story, model: ModelVersion) -> None:
    seen = exposures(story, model)
    assert {"shadow", "canary"} <= set(seen["variant"])
    # A machine that stands still makes an answer go without the online store; such an answer says so.
    by_the_model = seen.filter(pl.col("rung").is_in(["full", "popular"]))
    others = seen.filter(~pl.col("rung").is_in(["full", "popular"]))
    assert by_the_model.height > others.height
    assert others["flags"].list.join(" ").str.contains("slow|paused").all()
    first = seen.group_by("variant").agg(pl.col("served_at").min()).sort("served_at")["variant"].to_list()
    assert first[:2] == ["shadow", "canary"]


def test_the_gateway_answers_with_this_version_and_with_nothing_that_the_user_has_seen(
    story: Story, model: ModelVersion
) -> None:
    assert story.answer["model_version"] == model.version
    assert story.answer["rung"] == "full"
    mine = town.events().filter((pl.col("user_id") == story.answer["user_id"]) & (pl.col("day") < town.SECOND_AS_OF))
    shown = [item["item_id"] for item in story.answer["items"]]
    assert len(shown) == 5
    assert not set(shown) & set(mine["item_id"])


def test_the_ledger_says_what_was_decided_on_which_digest_and_why(
    story: Story, model: ModelVersion, release: ReleaseRow
) -> None:
    assert (release.phase, release.digest) == (Phase.CHAMPION, model.bundle_digest)
    assert release.why
    kinds = [event.kind for event in story.ledger.events(release.release_id)]
    steps = [kind for kind in kinds if kind in {"opened", "shadow", "canary", "baking", "champion"}]
    assert steps == ["opened", "shadow", "canary", "baking", "champion"]
    assert {seen.variant for seen in story.ledger.audience(release.release_id)} == {"stable", "canary"}


def test_it_is_the_champion_and_has_all_of_the_traffic(story: Story, model: ModelVersion) -> None:
    assert story.registry.champion() == model
    route = story.stage.platform.get("VirtualService", story.settings.model_name)
    assert route is not None
    given = {r["destination"]["host"]: r["weight"] for r in route["spec"]["http"][0]["route"] if r["weight"]}
    assert given == {model.service_name: 10_000}


def test_a_poisoned_day_is_quarantined_whole_and_nothing_was_trained_on_it(story: Story) -> None:
    poisoned = story.poisoned
    assert not poisoned.run.success
    assert {check.asset for check in poisoned.run.failed_checks} == {"interactions"}
    assert poisoned.rows_stored == 0
    assert poisoned.versions == ("1",)
    [found] = read_quarantine(story.settings.home)
    assert found.days == (poisoned.day,)
    assert {"null", "future", "duplicate", "range"} <= {str(each["rule"]) for each in found.violations}


def test_the_repaired_file_of_that_day_was_taken(story: Story) -> None:
    stored = story.tables.read("interactions").filter(pl.col("day") == story.poisoned.day)
    assert stored.height == landed(story.poisoned.day).height > 0


def test_the_gateway_still_answers(story: Story) -> None:
    assert ask(story.settings)["items"]
