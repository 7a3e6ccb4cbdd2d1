"""A gated version becomes a service that answers, and one that is not gated or not genuine does not.

Here: deploy.py over the real manifest store and a real server; the gates over a real instance. Not here: Envoy.
"""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import httpx
import pytest

from recsys_assets.bundle_store import StoreUnavailable, open_bundles
from recsys_assets.evaluation import assets as evaluation
from recsys_assets.platform.interface import INFERENCE_SERVICE, RELEASE_ANNOTATION, Conflict, Manifest
from recsys_assets.platform.local.programs import model_program
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets.recommender.bundle import GOLDEN, bundle_digest
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import check_result
from recsys_assets.serving import assets, deploy, verdicts
from recsys_assets.serving.attestation import NotPassed, vouch
from recsys_assets.settings import Settings, load_settings
from recsys_assets.signing import TamperedBundle, WrongBundle
from recsys_assets.store_settings import StoreSettings
from recsys_assets.training import assets as training
from recsys_assets_tests.serving.bundles import passing, signed_bundle
from recsys_assets_tests.serving.processes import free_port
from recsys_assets_tests.waiting import HANG_SECONDS

GATES = {"evaluation_report/told": passing("3")}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    loaded = load_settings(home=tmp_path)
    quick = loaded.serving.model_copy(update={"ready_timeout_seconds": HANG_SECONDS, "latency_budget_ms": 30_000.0})
    return loaded.model_copy(update={"serving": quick})


def record(settings: Settings, version: str = "3") -> ModelVersion:
    folder = settings.path("bundles", version)
    digest = bundle_digest(folder) if folder.exists() else "0" * 64
    return ModelVersion(
        name="recommender",
        version=version,
        run_id="r",
        feature_service="ranker_v1",
        table_versions={},
        code_version="0.1.0",
        bundle_digest=digest,
        as_of=datetime(2024, 1, 31, tzinfo=UTC),
    )


class Kubelet:
    """Makes the store's one service real as the reconciler does, and reports it ready once it answers."""

    def __init__(self, settings: Settings, store: ManifestStore) -> None:
        self._settings, self._store, self._ended = settings, store, threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            for service in self._store.list(INFERENCE_SERVICE):
                self._start(service)
                return

    def _start(self, service: Manifest) -> None:
        metadata, port = service["metadata"], free_port()
        program = model_program(service, generation=metadata["generation"], port=port, settings=self._settings)
        self._process = subprocess.Popen(program.command)
        url = f"http://127.0.0.1:{port}"
        while not self._ended.wait(0.05):
            try:
                httpx.get(f"{url}/v2/health/ready", trust_env=False).raise_for_status()
            except httpx.HTTPError:
                continue
            said = {"ready": True, "observedGeneration": metadata["generation"], "url": url, "reason": "ready"}
            self._store.set_status(INFERENCE_SERVICE, metadata["name"], uid=metadata["uid"], status=said)
            return

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def store(settings: Settings) -> ManifestStore:
    return ManifestStore(settings.path("platform", "manifests.db"))


def test_a_genuine_version_is_deployed_and_every_question_passes(settings: Settings, store: ManifestStore) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    kubelet = Kubelet(settings, store)
    try:
        deployed = deploy.deploy(record(settings), settings, store, gates=GATES)
    finally:
        kubelet.close()
    assert {v.check: (v.outcome, v.reason) for v in deployed.verdicts if not v.passed} == {}
    assert [v.check for v in deployed.verdicts] == list(verdicts.CHECKS)
    assert deployed.observed.error is None
    assert not list(settings.path("logs", "exposures").glob("*.jsonl")) or not any(
        path.stat().st_size for path in settings.path("logs", "exposures").glob("*.jsonl")
    )


def test_a_service_that_never_gets_ready_passes_nothing_but_its_signature(
    settings: Settings, store: ManifestStore
) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    impatient = settings.serving.model_copy(update={"ready_timeout_seconds": 0.1})
    hasty = settings.model_copy(update={"serving": impatient})
    said = deploy.deploy(record(settings), hasty, store, gates=GATES).verdicts
    assert {v.check for v in said if v.passed} == {verdicts.SIGNATURE}
    assert {v.outcome for v in said if not v.passed} == {Outcome.INCONCLUSIVE}


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Settings that wait for no server, with a genuine bundle."""
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    impatient = settings.serving.model_copy(update={"ready_timeout_seconds": 0.1})
    return settings.model_copy(update={"serving": impatient})


def test_a_service_that_did_not_pass_is_taken_away_again(hasty: Settings, store: ManifestStore) -> None:
    deploy.deploy(record(hasty), hasty, store, gates=GATES)
    assert store.list(INFERENCE_SERVICE) == []


def test_a_service_that_a_release_has_claimed_stays_whatever_a_later_look_at_it_says(
    hasty: Settings, store: ManifestStore
) -> None:
    standing = deploy.apply(record(hasty), hasty, store, hasty.path("bundles", "3"))
    standing["metadata"]["annotations"][RELEASE_ANNOTATION] = "recommender-v3-1"
    store.apply(standing, expected=standing["metadata"]["resourceVersion"])
    deploy.deploy(record(hasty), hasty, store, gates=GATES)
    (still,) = store.list(INFERENCE_SERVICE)
    assert deploy.claimed_by(still) == "recommender-v3-1"


def test_a_service_that_is_claimed_while_it_is_taken_away_stays(hasty: Settings, store: ManifestStore) -> None:
    standing = deploy.apply(record(hasty), hasty, store, hasty.path("bundles", "3"))

    class Late:
        """A platform on which a release claims the service after it was read."""

        def get(self, kind: str, name: str) -> Manifest | None:
            found = store.get(kind, name)
            claimed = {**standing["metadata"]["annotations"], RELEASE_ANNOTATION: "recommender-v3-1"}
            store.apply(
                {**standing, "metadata": {**standing["metadata"], "annotations": claimed}},
                expected=standing["metadata"]["resourceVersion"],
            )
            return found

        def delete(self, kind: str, name: str, *, expected: str) -> bool:
            return store.delete(kind, name, expected=expected)

    assert deploy.withdraw(Late(), "recommender-v3") is False  # type: ignore[arg-type]
    assert len(store.list(INFERENCE_SERVICE)) == 1


def test_taking_away_what_is_not_there_takes_nothing_away(store: ManifestStore) -> None:
    assert deploy.withdraw(store, "recommender-v3") is False


def test_deploying_again_changes_nothing_that_stands(settings: Settings, store: ManifestStore) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    model, bundle = record(settings), settings.path("bundles", "3")
    first = deploy.apply(model, settings, store, bundle)
    again = deploy.apply(model, settings, store, bundle)
    assert again["metadata"] == first["metadata"]


def test_an_edit_by_somebody_else_in_between_is_a_conflict(settings: Settings, store: ManifestStore) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    standing = deploy.apply(record(settings), settings, store, settings.path("bundles", "3"))
    edited = {**standing, "metadata": {**standing["metadata"], "labels": {"edited": "by-hand"}}}
    store.apply(edited, expected=standing["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        store.apply(standing, expected=standing["metadata"]["resourceVersion"])


def test_nothing_is_applied_of_a_bundle_that_is_not_exactly_the_registered_one(
    settings: Settings, store: ManifestStore
) -> None:
    bundle = settings.path("bundles", "3")
    signed_bundle(bundle, settings.path("keys"))
    model = record(settings)
    with pytest.raises(WrongBundle, match="was asked for"):
        deploy.deploy(model.model_copy(update={"bundle_digest": "0" * 64}), settings, store, gates=GATES)
    (bundle / GOLDEN).write_text("[]")
    with pytest.raises(TamperedBundle, match=r"golden\.json"):
        deploy.deploy(model, settings, store, gates=GATES)
    assert store.list(INFERENCE_SERVICE) == []


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE, None])
def test_nothing_is_applied_where_a_gate_did_not_pass_or_there_is_none(
    settings: Settings, store: ManifestStore, outcome: Outcome | None
) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    said = {} if outcome is None else {**GATES, "b/c": passing("3").model_copy(update={"outcome": outcome})}
    with pytest.raises(NotPassed):
        deploy.deploy(record(settings), settings, store, gates=said)
    assert store.list(INFERENCE_SERVICE) == []


def storing(settings: Settings, place: str) -> Settings:
    """Settings that name a store of bundles, and wait for no server."""
    impatient = settings.serving.model_copy(update={"ready_timeout_seconds": 0.1})
    stores = StoreSettings.model_validate({"bundles": place})
    return settings.model_copy(update={"serving": impatient, "stores": stores})


def test_bundle_and_attestation_are_in_the_store_before_the_service_is_applied(
    settings: Settings, store: ManifestStore, bucket: str, tmp_path: Path
) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    named = storing(settings, f"{bucket}/bundles")
    for _ in range(2):  # again changes nothing
        deploy.deploy(record(named), named, store, gates=GATES)
    bundles = open_bundles(named.stores)
    assert bundles.versions() == ["3"]
    fetched = bundles.get("3", tmp_path / "into")
    vouch(record(named), bundle=fetched, keys=settings.path("keys"), checks=GATES)


def test_nothing_is_applied_where_the_store_does_not_keep_the_bundle(
    settings: Settings, store: ManifestStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed_bundle(settings.path("bundles", "3"), settings.path("keys"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    named = storing(settings, f"{bucket}/bundles")
    with pytest.raises(StoreUnavailable):
        deploy.deploy(record(named), named, store, gates=GATES)
    assert store.list(INFERENCE_SERVICE) == []


def upstream(settings: Settings, outcomes: dict[str, str], version: str) -> list[dg.AssetsDefinition]:
    """Assets with the names and checks of the rooms before, which say what the test wants."""

    def one(name: str, checks: tuple[str, ...]) -> dg.AssetsDefinition:
        @dg.asset(name=name, check_specs=[dg.AssetCheckSpec(c, asset=name, blocking=True) for c in checks])
        def told() -> dg.MaterializeResult:
            said = [
                Verdict(check=c, model_version=version, outcome=Outcome(outcomes.get(c, "PASS")), reason="told")
                for c in checks
            ]
            return dg.MaterializeResult(check_results=[check_result(verdict) for verdict in said])

        return told

    return [one(name, checks) for name, checks in assets.gates(settings).items()]


@pytest.mark.parametrize(
    ("outcomes", "judged", "stops"),
    [
        ({}, "3", False),
        ({}, "2", True),
        ({"no_slice_lost": "FAIL"}, "3", True),
        ({"no_slice_lost": "INCONCLUSIVE"}, "3", True),
        ({"scores_are_not_degenerate": "FAIL"}, "3", True),
    ],
)
def test_nothing_is_deployed_unless_every_gate_passed_for_this_very_version(
    settings: Settings, outcomes: dict[str, str], judged: str, stops: bool
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(upstream(settings, outcomes, judged), instance=instance, raise_on_error=False)
        if not stops:
            passed = assets.require_gates(instance, settings, record(settings))
            assert tuple(passed) == assets.gate_names(settings)
            assert all(verdict.passed for verdict in passed.values())
            return
        with pytest.raises(dg.Failure, match="version 3 is not deployed"):
            assets.require_gates(instance, settings, record(settings))


def test_without_any_evaluation_nothing_is_deployed(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(dg.Failure):
        assets.require_gates(instance, settings, record(settings))


def test_the_gates_are_all_the_blocking_checks_of_the_rooms_before(settings: Settings) -> None:
    found = {
        spec.asset_key.to_user_string(): []
        for made in [*training.build_assets(settings), *evaluation.build_assets(settings)]
        for spec in made.check_specs
    }
    for made in [*training.build_assets(settings), *evaluation.build_assets(settings)]:
        for spec in made.check_specs:
            if spec.blocking:
                found[spec.asset_key.to_user_string()].append(spec.name)
    expected = {name: sorted(checks) for name, checks in assets.gates(settings).items()}
    assert {name: sorted(found[name]) for name in expected} == expected


def test_the_asset_declares_its_five_blocking_checks(settings: Settings) -> None:
    (asset,) = (a for a in assets.build_assets(settings) if a.key.to_user_string() == assets.CHALLENGER_SERVICE)
    assert {spec.name for spec in asset.check_specs} == set(verdicts.CHECKS)
    assert all(spec.blocking for spec in asset.check_specs)
