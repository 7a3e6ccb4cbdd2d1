"""From a gated model version to a service that answers: attest, verify, apply, wait, ask.

Here: the steps and the observations they give. Not here: Dagster, the verdicts' rules, any traffic.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recsys_assets.bundle_store import open_bundles
from recsys_assets.platform.interface import (
    INFERENCE_SERVICE,
    RELEASE_ANNOTATION,
    Conflict,
    Manifest,
    NotFound,
    Platform,
    ServiceStatus,
)
from recsys_assets.recommender.bundle import read_golden
from recsys_assets.records import ModelVersion, Verdict
from recsys_assets.serving import verdicts
from recsys_assets.serving.attestation import attest, attestation_path, vouch
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.pods import pod_of
from recsys_assets.serving.probe import Observed, observe
from recsys_assets.settings import Settings
from recsys_assets.signing import BundleRefused, KeyMissing

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Deployed:
    """What deploying one version gave. `status` is the platform's last word before the deadline."""

    manifest: Manifest
    generation: int
    status: ServiceStatus | None
    observed: Observed
    verdicts: tuple[Verdict, ...]


def deploy(model: ModelVersion, settings: Settings, platform: Platform, *, gates: Mapping[str, Verdict]) -> Deployed:
    """Make the service of this version real and look at it. Running it again changes nothing that already stands.

    A service that does not pass is taken away again, unless a release has claimed it: nobody would look after it.

    `gates` is every offline verdict by its name. Raises BundleRefused before anything is applied where one did not pass
    or where the bundle is not exactly the one that was registered, and StoreError where the store that the settings
    name does not keep it.
    """
    bundle, keys = settings.path("bundles", model.version), settings.path("keys")
    attest(model, gates, bundle=bundle, keys=keys, at=datetime.now(UTC))
    vouch(model, bundle=bundle, keys=keys, checks=gates)
    keep(model, settings, bundle)
    applied = apply(model, settings, platform, bundle)
    generation = int(applied["metadata"]["generation"])
    deadline = time.monotonic() + settings.serving.ready_timeout_seconds
    status = wait(platform, model.service_name, generation, overdue=lambda: time.monotonic() > deadline)
    golden = read_golden(bundle)
    is_ready = status is not None and status.ready
    url = status.url if status is not None and is_ready else None
    observed = observe(url, name=model.name, golden=golden, k=settings.serving.top_k)
    expected = [verdicts.Ranked(request.items, request.scores) for request in golden]
    said = (
        verdicts.ready(model.version, status, generation=generation),
        verdicts.echoed(model.version, observed.versions),
        verdicts.golden(model.version, expected, observed.golden),
        verdicts.latency(model.version, observed.timed_ms, budget_ms=settings.serving.latency_budget_ms),
        signature_verdict(model, bundle, keys, checks=gates),
    )
    if not all(verdict.passed for verdict in said):
        withdraw(platform, model.service_name)
    return Deployed(applied, generation, status, observed, said)


def keep(model: ModelVersion, settings: Settings, bundle: Path) -> None:
    """Put bundle and attestation where servers fetch them; on a shared disk they stand already."""
    if settings.stores.bundles is None:
        return
    store = open_bundles(settings.stores)
    store.put(model.version, bundle)
    store.put_attestation(model.version, attestation_path(bundle))


def apply(model: ModelVersion, settings: Settings, platform: Platform, bundle: Path) -> Manifest:
    """Store the manifest over exactly the one that stands there now."""
    place = open_bundles(settings.stores).uri(model.version) if settings.stores.bundles else str(bundle)
    manifest = inference_service(
        model,
        role="challenger",
        bundle_path=bundle,
        home=settings.home,
        python=sys.executable,
        online_timeout_ms=settings.serving.online_store_timeout_ms,
        min_timeout_ms=settings.serving.min_timeout_ms,
        deadline_ms=settings.serving.latency_budget_ms * 0.8,
        drills=settings.serving.drills,
        pod=pod_of(model, settings, bundle=place),
    )
    standing = platform.get(INFERENCE_SERVICE, model.service_name)
    if standing is None:
        return platform.apply(manifest, expected=None)
    if release := claimed_by(standing):
        manifest["metadata"]["annotations"][RELEASE_ANNOTATION] = release
    return platform.apply(manifest, expected=str(standing["metadata"]["resourceVersion"]))


def claimed_by(service: Manifest) -> str | None:
    """The release that this service was put to use by, if one was."""
    found = (service["metadata"].get("annotations") or {}).get(RELEASE_ANNOTATION)
    return None if found is None else str(found)


def withdraw(platform: Platform, name: str) -> bool:
    """Delete a service that no release has claimed; False where there is nothing that may be deleted.

    A release that claims it at this moment changes its resourceVersion, which the delete names.
    """
    standing = platform.get(INFERENCE_SERVICE, name)
    if standing is None or claimed_by(standing):
        return False
    try:
        return platform.delete(INFERENCE_SERVICE, name, expected=standing["metadata"]["resourceVersion"])
    except Conflict:
        return False


def wait(platform: Platform, name: str, generation: int, *, overdue: Callable[[], bool]) -> ServiceStatus | None:
    """Poll until this generation is ready, or the deadline; the last status either way, None if the service is gone."""
    while True:
        try:
            status = platform.status(INFERENCE_SERVICE, name)
        except NotFound:
            return None
        if (status.ready and status.observed_generation == generation) or overdue():
            return status
        time.sleep(POLL_SECONDS)


def signature_verdict(model: ModelVersion, bundle: Path, keys: Path, *, checks: Collection[str]) -> Verdict:
    """Verify signature, digest and attestation against the registry's record, as they stand on the disk now."""
    try:
        vouch(model, bundle=bundle, keys=keys, checks=checks)
    except KeyMissing as missing:
        return verdicts.signature(model.version, str(missing), checked=False)
    except BundleRefused as refused:
        return verdicts.signature(model.version, str(refused), checked=True)
    return verdicts.signature(model.version, None, checked=True)
