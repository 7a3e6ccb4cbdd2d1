"""A fitted model becomes a registered version: both bundles on disk first, the registry last, all of it repeatable.

Here: numbering, folders, artifacts and the registration. Not here: fitting, aliases, or what was proven of it.

The version's number stands in the bundle's manifest, and so in its digest, but MLflow gives numbers only when a
version is created. So the next number is foreseen, everything is written with it, and the creation is the very last
act: a training that dies earlier leaves no version. Where MLflow gives another number, nothing was registered, and
both bundles are written again with the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from recsys_assets.recommender.bundle import check_bundle, write_bundle
from recsys_assets.recommender.recommender import Recommender
from recsys_assets.records import ModelVersion
from recsys_assets.resources.registry_errors import VersionTaken
from recsys_assets.signing import sign_bundle

ATTEMPTS = 5
BUNDLES, HOLDOUTS = "bundles", "holdouts"


class PublishingFailed(RuntimeError):  # noqa: N818
    """No version could be registered; nothing of this attempt is visible."""


class Run(Protocol):
    """What is used of the MLflow run."""

    @property
    def run_id(self) -> str: ...

    def log_bundle(self, bundle: Path, *, features: Sequence[str], digest: str) -> None: ...


class Bundles(Protocol):
    """What is used of the store that servers fetch from (bundle_store.py)."""

    def put(self, version: str, bundle: Path) -> None: ...


class Registry(Protocol):
    """What is used of the model registry."""

    @property
    def model_name(self) -> str: ...

    def next_version(self) -> str: ...

    def find(self, *, dagster_run_id: str, contents_digest: str) -> ModelVersion | None: ...

    def register(
        self, bundle: Path, record: ModelVersion, *, dagster_run_id: str, contents_digest: str = ""
    ) -> ModelVersion: ...


@dataclass(frozen=True)
class Facts:
    """What the version's record says beside number and digest. `attempt` is the Dagster run first asked for."""

    attempt: str
    feature_service: str
    table_versions: Mapping[str, int]
    code_version: str
    as_of: datetime
    drill: str | None = None


@dataclass(frozen=True)
class Fitted:
    """The two recommenders of one version: fitted before the test period, and on everything."""

    holdout: Recommender
    release: Recommender


def publish(
    fitted: Fitted, facts: Facts, *, home: Path, registry: Registry, run: Run, bundles: Bundles | None = None
) -> ModelVersion:
    """Write, check and register; return the version, or the one that an earlier attempt of this run registered.

    `bundles` gets it only then: before, the number may yet be another's, and there a version is written once.
    """
    model = _registered(fitted, facts, home=home, registry=registry, run=run)
    if bundles is not None:
        bundles.put(model.version, home / BUNDLES / model.version)
    return model


def _registered(fitted: Fitted, facts: Facts, *, home: Path, registry: Registry, run: Run) -> ModelVersion:
    with _one_at_a_time(home):
        version = registry.next_version()
        for _ in range(ATTEMPTS):
            record, contents = _write(fitted, facts, version, home=home, name=registry.model_name, run_id=run.run_id)
            if (before := registry.find(dagster_run_id=facts.attempt, contents_digest=contents)) is not None:
                _remove_drafts(home, run.run_id)
                return before
            bundle = _into_place(home, version, run.run_id)
            for kind in (HOLDOUTS, BUNDLES):  # the offline gate parses the one, the servers the other
                sign_bundle(home / kind / version, home / "keys")
            run.log_bundle(bundle, features=fitted.release.feature_names, digest=record.bundle_digest)
            try:
                return registry.register(bundle, record, dagster_run_id=facts.attempt, contents_digest=contents)
            except VersionTaken as taken:
                for kind in (BUNDLES, HOLDOUTS):
                    shutil.rmtree(home / kind / version)
                version = taken.next_version
    raise PublishingFailed(f"another number than the foreseen one came {ATTEMPTS} times, last foreseen {version}")


def contents_digest(files: Mapping[str, str]) -> str:
    """Digest of the files of a bundle without its manifest: it does not depend on the version's number."""
    return hashlib.sha256(json.dumps(dict(sorted(files.items()))).encode()).hexdigest()


def _write(
    fitted: Fitted, facts: Facts, version: str, *, home: Path, name: str, run_id: str
) -> tuple[ModelVersion, str]:
    extra: dict[str, Any] = {
        "table_versions": dict(facts.table_versions),
        "run_id": run_id,
        "feature_service": facts.feature_service,
        "code_version": facts.code_version,
        "drill": facts.drill,
    }
    _remove_drafts(home, run_id)
    write_bundle(fitted.holdout, _draft(home, HOLDOUTS, run_id), model_name=name, version=version, extra=extra)
    draft = _draft(home, BUNDLES, run_id)
    digest = write_bundle(fitted.release, draft, model_name=name, version=version, extra=extra)
    check_bundle(_draft(home, HOLDOUTS, run_id))
    record = ModelVersion(
        name=name,
        version=version,
        run_id=run_id,
        feature_service=facts.feature_service,
        table_versions=dict(facts.table_versions),
        code_version=facts.code_version,
        bundle_digest=digest,
        as_of=facts.as_of,
        drill=facts.drill,
    )
    return record, contents_digest(check_bundle(draft).files)


def _into_place(home: Path, version: str, run_id: str) -> Path:
    """Rename both drafts. What stands there belongs to no registered version; it is set aside, not deleted."""
    for kind in (HOLDOUTS, BUNDLES):
        target = home / kind / version
        if target.exists():
            aside = home / kind / f".orphan-{version}-{run_id}"
            target.rename(aside)
        _draft(home, kind, run_id).rename(target)
    return home / BUNDLES / version


def _draft(home: Path, kind: str, run_id: str) -> Path:
    return home / kind / f".draft-{run_id}"


def _remove_drafts(home: Path, run_id: str) -> None:
    for kind in (BUNDLES, HOLDOUTS):
        draft = _draft(home, kind, run_id)
        if draft.exists():
            shutil.rmtree(draft)


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Two trainings on one home would foresee the same number; the lock goes away with its process."""
    folder = home / BUNDLES
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
