"""The asset `evaluation_report` with real holdouts, a real registry and real Evidently.

Here: what Dagster, the registry and the folder show afterwards. Not here: the rules.
"""

import base64
from collections.abc import Iterator

import dagster as dg
import pytest

from recsys_assets.evaluation.check_names import check_names
from recsys_assets.recommender.recommender import Recommender
from recsys_assets.records import Outcome
from recsys_assets.resources.gates import read_gate
from recsys_assets.settings import PACKAGED_CONFIG, load_settings
from recsys_assets_tests.evaluation.house import House, events, fitted

CHECKS = check_names("ndcg_at_10")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(load_settings(home=tmp_path_factory.mktemp("evaluation"), config=PACKAGED_CONFIG))


@pytest.fixture(scope="module")
def sound() -> Recommender:
    return fitted(events())


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_aliases_left(house: House) -> Iterator[None]:
    yield
    for alias in ("champion", "challenger"):
        house.registry.drop_alias(alias)


def test_a_sound_first_release_passes_and_leaves_report_verdict_and_numbers(
    house: House, sound: Recommender, instance: dg.DagsterInstance
) -> None:
    version = house.register(sound)
    result = house.materialize(instance)
    assert result.success, [e.event_specific_data for e in result.get_asset_check_evaluations()]
    assert read_gate(instance, "evaluation_report", CHECKS, version).outcome is Outcome.PASS
    verdict = house.registry.read_verdict(version, "evaluation_report")
    assert verdict is not None
    assert verdict.outcome is Outcome.PASS
    made = result.asset_materializations_for_node("evaluation_report")[0].metadata
    assert made["model_version"].value == version
    assert made["report"].value == f"http://127.0.0.1:8082/reports/{version}/evaluation.html"
    page = house.settings.path("reports", version, "evaluation.html")
    assert page.stat().st_size > 100_000
    kept = house.settings.path("mlflow", "artifacts", house.run_id, "artifacts", "reports", version, "evaluation.html")
    assert kept.read_bytes() == page.read_bytes()
    picture = str(made["plot"].value).partition("base64,")[2].rstrip(")")
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    models = {record.data["model"] for record in made["metrics"].value.records}  # type: ignore[union-attr]
    assert models == {"challenger", "recent_popularity", "item_knn_decayed", "ease", "als"}


def test_a_spoiled_challenger_is_stopped_before_what_stands_below(
    house: House, sound: Recommender, instance: dg.DagsterInstance
) -> None:
    house.registry.set_alias("champion", house.register(sound))
    version = house.register(fitted(house.events, spoiled=True))
    result = house.materialize(instance)
    assert not result.success
    assert instance.get_latest_materialization_event(dg.AssetKey("below")) is None
    gate = read_gate(instance, "evaluation_report", CHECKS, version)
    assert gate.outcome is Outcome.FAIL
    assert "beyond the margin" in gate.reason
    verdict = house.registry.read_verdict(version, "evaluation_report")
    assert verdict is not None
    assert verdict.outcome is Outcome.FAIL


def test_an_evaluator_that_crashes_takes_back_an_earlier_pass(
    house: House, sound: Recommender, instance: dg.DagsterInstance
) -> None:
    version = house.register(sound)
    assert house.materialize(instance).success
    manifest = house.holdout(version) / "manifest.json"
    manifest.rename(manifest.with_suffix(".gone"))
    assert not house.materialize(instance).success
    assert read_gate(instance, "evaluation_report", CHECKS, version).outcome is Outcome.INCONCLUSIVE
    verdict = house.registry.read_verdict(version, "evaluation_report")
    assert verdict is not None
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_a_champion_whose_holdout_was_altered_blocks_as_inconclusive(
    house: House, sound: Recommender, instance: dg.DagsterInstance
) -> None:
    champion = house.register(sound)
    (house.holdout(champion) / "items.npy").write_bytes(b"altered")
    house.registry.set_alias("champion", champion)
    version = house.register(sound)
    assert not house.materialize(instance).success
    gate = read_gate(instance, "evaluation_report", CHECKS, version)
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert "not the signed content: items.npy" in gate.reason


def test_without_a_challenger_there_is_nothing_to_evaluate(house: House, instance: dg.DagsterInstance) -> None:
    assert not house.materialize(instance).success
    assert read_gate(instance, "evaluation_report", CHECKS, "1").outcome is Outcome.INCONCLUSIVE
