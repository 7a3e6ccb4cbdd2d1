"""The whole room over real tables, LightGBM and MLflow: one training seen from all sides, and those that must not be.

Here: journeys through the assets. Not here: verdicts, numbers and registry rules, which have tests of their own.
"""

from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets.recommender.bundle import check_bundle
from recsys_assets.recommender.recommender import Recommender
from recsys_assets.records import ModelVersion
from recsys_assets.resources.gates import read_gate
from recsys_assets.resources.registry import mlflow_client, mlflow_uri
from recsys_assets_tests.training.house import AS_OF, ROOM, House, checks, failure

Trained = tuple[House, Any]


def version_of(house: House) -> ModelVersion:
    found = house.registry.challenger()
    assert found is not None
    return found


def test_one_run_makes_the_challenger_with_two_bundles_that_check(trained: Trained) -> None:
    house, result = trained
    assert result.success
    model = version_of(house)
    assert (model.version, model.as_of, model.drill) == ("1", AS_OF, None)
    release, holdout = (check_bundle(house.home / kind / "1") for kind in ("bundles", "holdouts"))
    assert (release.version, release.as_of, release.extra["run_id"]) == ("1", AS_OF, model.run_id)
    assert holdout.as_of == AS_OF - timedelta(days=house.settings.gate.test_days)
    assert release.table_versions == model.table_versions == holdout.table_versions


def test_the_deployed_bundle_recommends_what_the_user_has_not_seen(trained: Trained) -> None:
    house, _ = trained
    recommender = Recommender.load(house.home / "bundles" / "1")
    profile = recommender.profile("u00")
    assert profile is not None
    ranking = recommender.recommend(profile, k=5)
    assert len(ranking.items) == 5
    assert not set(ranking.items) & set(profile.recent_items)


def test_the_holdout_bundle_knows_no_event_of_the_test_period(trained: Trained) -> None:
    house, _ = trained
    holdout = Recommender.load(house.home / "holdouts" / "1")
    newest = max(max(holdout.profile(user).recent_times, default=0.0) for user in holdout.users())  # type: ignore[union-attr]
    assert newest < holdout.as_of.timestamp()


def test_a_model_names_the_feedback_it_learned_from(trained: Trained) -> None:
    house, result = trained
    pinned = version_of(house).table_versions
    assert {"exposures", "feedback", "training_feedback"} <= pinned.keys()
    assert house.tables.read("training_feedback", version=pinned["training_feedback"])["event_id"].to_list() == ["e"]
    [made] = result.asset_materializations_for_node("training_rows")
    assert made.metadata["feedback_used"].value == 1


def test_the_model_version_stands_in_the_metadata_and_in_mlflow(trained: Trained) -> None:
    house, result = trained
    model = version_of(house)
    [event] = [m for m in result.get_asset_materialization_events() if m.asset_key == dg.AssetKey("ranker_model")]
    metadata = event.materialization.metadata
    assert ModelVersion.model_validate(metadata["model"].value) == model
    assert "data:image/png;base64," in str(metadata["feature_importance"].value)
    client = mlflow_client(mlflow_uri(str(house.home), ""))
    run = client.get_run(model.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["dagster.asset_key"] == "ranker_model"
    assert run.data.tags["dagster.run_id"] == result.run_id
    assert 0 < run.data.metrics["ndcg_at_10"] <= 1
    assert {d.dataset.name: d.dataset.digest for d in run.inputs.dataset_inputs} == {
        name: str(version) for name, version in model.table_versions.items()
    }


def test_mlflow_holds_the_bundle_beside_a_signature_and_no_pickle(trained: Trained) -> None:
    house, _ = trained
    client = mlflow_client(mlflow_uri(str(house.home), ""))
    model = version_of(house)
    assert {a.path for a in client.list_artifacts(model.run_id, "model")} == {"model/MLmodel", "model/bundle"}
    files = [a.path for a in client.list_artifacts(model.run_id, "model/bundle")]
    assert "model/bundle/manifest.json" in files
    assert not [path for path in files if path.endswith((".pkl", ".pickle", ".joblib"))]
    described = client.download_artifacts(model.run_id, "model/MLmodel")
    from mlflow.models import Model

    loaded = Model.load(described)
    assert loaded.signature.inputs.input_names() == list(check_bundle(house.home / "bundles" / "1").feature_names)
    assert list(loaded.flavors) == ["recsys_assets_bundle"]


def test_every_check_passed_and_can_be_read_again_for_its_exact_version(trained: Trained) -> None:
    house, result = trained
    assert {name: found.passed for name, found in checks(result).items()} == {
        "training_rows_do_not_leak": True,
        "training_rows_are_enough": True,
        "scores_are_not_degenerate": True,
    }
    assert read_gate(house.instance, "ranker_model", ["scores_are_not_degenerate"], "1").passed
    assert not read_gate(house.instance, "ranker_model", ["scores_are_not_degenerate"], "2").passed


def test_a_search_starts_at_the_defaults_and_the_next_ranker_takes_its_result(trained: Trained) -> None:
    house, _ = trained
    assert house.run("hyperparameters", config={"hyperparameters": {"trials": 2}}).success
    result = house.run("ranker_model", config={"ranker_model": {"drill": "slow"}})
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["tuned"].value is True
    assert version_of(house).drill == "slow"


def test_degenerate_scores_register_nothing_and_fail_the_check(trained: Trained) -> None:
    house, _ = trained
    before = (house.registry.versions(), sorted((house.home / "bundles").glob("*")))
    # No leaf may be smaller than all the rows, so that no tree can split and every score is the same.
    result = house.run(*ROOM, config={"ranker_model": {"use_tuned": False}}, min_data_in_leaf=1_000_000)
    assert not result.success
    assert not checks(result)["scores_are_not_degenerate"].passed
    assert "all" in failure(result, "ranker_model")
    assert (house.registry.versions(), sorted((house.home / "bundles").glob("*"))) == before


def test_rows_that_failed_their_gate_are_refused_in_a_later_run_too(trained: Trained) -> None:
    house, _ = trained
    before = house.registry.versions()
    result = house.run("training_rows", "candidate_index", min_rows=10**6)
    assert not result.success
    assert "training.min_rows asks for 1000000" in failure(result, "training_rows")
    result = house.run("training_rows", "candidate_index", max_single_feature_auc=0.51)
    assert not checks(result)["training_rows_do_not_leak"].passed
    refused = house.run("ranker_model")
    assert "may not be trained on: FAIL" in failure(refused, "ranker_model")
    assert house.registry.versions() == before


def test_rows_and_index_of_different_tables_are_not_mixed(trained: Trained) -> None:
    house, _ = trained
    assert house.run("training_rows", "candidate_index").success
    house.tables.overwrite("items", house.tables.read("items"))
    assert house.run("candidate_index").success
    assert "materialize both in one run" in failure(house.run("ranker_model"), "ranker_model")


def test_an_index_of_other_settings_is_not_taken(trained: Trained) -> None:
    house, _ = trained
    assert house.run("training_rows", "candidate_index").success
    result = house.run("ranker_model", lookback_days=20)
    assert "no candidate index of these tables and settings" in failure(result, "ranker_model")


@pytest.mark.parametrize("missing", ["no tables", "no features of the newest day"])
def test_training_without_complete_data_is_refused_with_the_reason(
    missing: str, settings: Any, trained: Trained
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        other = House(settings, instance)
        if missing != "no tables":
            other.fill()
            newest = other.tables.read("user_features").filter(pl.col("event_time") < AS_OF)
            other.tables.overwrite("user_features", newest)
        result = other.run("training_rows")
    told = failure(result, "training_rows")
    assert ("no table interactions" in told) if missing == "no tables" else ("user_features ends on" in told)


def test_a_ranker_without_rows_is_refused(settings: Any) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = House(settings, instance).run("ranker_model")
    assert "training_rows has not been materialized yet" in failure(result, "ranker_model")


def test_the_train_job_holds_the_three_assets_and_no_search(settings: Any) -> None:
    from recsys_assets.training.assets import build_assets, build_jobs

    defs = dg.Definitions(
        assets=build_assets(settings),
        jobs=build_jobs(settings),
        resources={"tables": None, "registry": None, "tracking": None},
    )
    job = defs.resolve_job_def("train")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(ROOM)
