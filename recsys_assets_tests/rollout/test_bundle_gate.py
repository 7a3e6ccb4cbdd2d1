"""The bundle as the promoter asks for it: part of the offline gate, and once more before users see it.

Here: opening.py over a real attested bundle and a real Dagster instance. Not here: the tick (test_tick.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.recommender.bundle import write_bundle
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.rollout.opening import bundle_gate, offline_gate, open_desk
from recsys_assets.serving.assets import CHALLENGER_SERVICE, gate_names, gates, require_gates
from recsys_assets.serving.attestation import attest, attestation_path
from recsys_assets.serving.verdicts import CHECKS
from recsys_assets.settings import Settings, load_settings
from recsys_assets.signing import public_key, sign_bundle
from recsys_assets_tests.serving.bundles import AS_OF, fitted, record


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, ModelVersion, dg.DagsterInstance]:
    """Version 3 with every gate passed in Dagster, signed, and attested from those verdicts."""
    settings = load_settings(home=tmp_path_factory.mktemp("home"))
    bundle, keys = settings.path("bundles", "3"), settings.path("keys")
    model = record("3", write_bundle(fitted(), bundle, model_name="recommender", version="3"))
    sign_bundle(bundle, keys)
    instance = dg.DagsterInstance.ephemeral()
    dg.materialize(_told(settings), instance=instance)
    attest(
        model, require_gates(instance, settings, model), bundle=bundle, keys=keys, at=datetime(2024, 2, 1, tzinfo=UTC)
    )
    return settings, model, instance


def _told(settings: Settings) -> list[dg.AssetsDefinition]:
    def one(name: str, checks: tuple[str, ...]) -> dg.AssetsDefinition:
        @dg.asset(name=name, check_specs=[dg.AssetCheckSpec(c, asset=name, blocking=True) for c in checks])
        def told() -> dg.MaterializeResult:
            said = [Verdict(check=c, model_version="3", outcome=Outcome.PASS, reason="told") for c in checks]
            return dg.MaterializeResult(check_results=[check_result(verdict) for verdict in said])

        return told

    asked = gates(settings) | {CHALLENGER_SERVICE: tuple(CHECKS)}
    return [one(name, checks) for name, checks in asked.items()]


Town = tuple[Settings, ModelVersion, dg.DagsterInstance]


def test_a_bundle_that_is_signed_and_attested_by_every_gate_passes(town: Town) -> None:
    settings, model, instance = town
    assert offline_gate(settings, instance, model).outcome is Outcome.PASS
    assert bundle_gate(settings, model).outcome is Outcome.PASS


def test_without_a_bound_verdict_the_offline_gate_fails_although_dagster_says_pass(town: Town) -> None:
    settings, model, instance = town
    path = attestation_path(settings.path("bundles", "3"))
    kept = path.read_bytes()
    path.unlink()
    try:
        said = offline_gate(settings, instance, model)
    finally:
        path.write_bytes(kept)
    assert said.outcome is Outcome.FAIL
    assert "Unattested" in said.reason


@pytest.mark.parametrize("name", ["ranker.0.txt", "manifest.json", "bundle.sig"])
def test_a_bundle_that_was_touched_fails_by_name(town: Town, name: str) -> None:
    settings, model, _ = town
    path = settings.path("bundles", "3", name)
    kept = path.read_bytes()
    path.write_bytes(kept[:-1])
    try:
        said = bundle_gate(settings, model)
    finally:
        path.write_bytes(kept)
    assert said.outcome is Outcome.FAIL
    assert name in said.reason


def test_a_record_with_another_digest_fails(town: Town) -> None:
    settings, model, _ = town
    assert bundle_gate(settings, model.model_copy(update={"bundle_digest": "0" * 64})).outcome is Outcome.FAIL


def test_an_attestation_of_fewer_gates_than_are_asked_for_fails(town: Town) -> None:
    settings, model, _ = town
    more = settings.model_copy(update={"gate": settings.gate.model_copy(update={"metric": "recall_at_10"})})
    assert gate_names(more) != gate_names(settings)
    assert "says nothing of evaluation_report/recall_at_10" in bundle_gate(more, model).reason


def test_a_key_that_is_not_there_proves_nothing_either_way(town: Town) -> None:
    settings, model, _ = town
    key = public_key(settings.path("keys"))
    aside = key.rename(key.with_suffix(".aside"))
    try:
        assert bundle_gate(settings, model).outcome is Outcome.INCONCLUSIVE
    finally:
        aside.rename(key)


def test_the_desk_of_a_run_or_a_sensor_asks_for_the_bundle(town: Town, tmp_path: Path) -> None:
    settings, model, instance = town
    registry = ModelRegistryResource(home=str(tmp_path), model_name="recommender")
    desk = open_desk(settings, PlatformResource.from_settings(settings), registry, instance)
    assert desk.bundle is not None
    assert desk.bundle(model).passed
    assert model.as_of == AS_OF
