"""The model registry: MLflow's model versions read and written as ModelVersion records, with aliases, never stages.

Here: registering, finding, aliases and verdicts. Not here: training, or deciding which version deserves an alias.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import dagster as dg
from pydantic import ValidationError

from recsys_assets.records import ModelVersion, Verdict
from recsys_assets.resources.mlflow_database import SCHEME, made_alone
from recsys_assets.resources.registry_errors import (
    DigestMismatch,
    RecordBroken,
    RegistryError,
    RegistryUnavailable,
    VersionMissing,
    VersionTaken,
)
from recsys_assets.signing import manifest_digest, public_key, verify_bundle

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

__all__ = [
    "DigestMismatch",
    "ModelRegistryResource",
    "RecordBroken",
    "RegistryError",
    "RegistryUnavailable",
    "VersionMissing",
    "VersionTaken",
]

Alias = Literal["champion", "challenger"]
ARTIFACT_PATH = "model"
RECORD_TAG = "recsys_assets.record"
RUN_TAG = "dagster.run_id"
CONTENTS_TAG = "recsys_assets.contents_digest"
VERDICT_TAG = "recsys_assets.verdict."


@dataclass(frozen=True)
class Artifact:
    """Where a file is within its run's artifacts, and which experiment the run is of."""

    path: str
    experiment_id: str


class ModelRegistryResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """MLflow's registry of one model. `tracking_uri` empty means SQLite below `home`; else the address of a server.

    A version is there once its record is: the record goes in with the creation itself, so that a training that
    died before or during it leaves no version that anybody can see.
    """

    home: str
    model_name: str
    tracking_uri: str = ""

    def register(
        self, bundle: Path, record: ModelVersion, *, dagster_run_id: str, contents_digest: str = ""
    ) -> ModelVersion:
        """Create the version that `record` names, or return the one this run already registered for this content.

        `contents_digest` is the digest of the bundle's files without the manifest: it stays the same when a retry
        writes the same model under the next number. Empty means: the manifest's own digest. Raises BundleRefused for a
        bundle that is not exactly the signed one.
        """
        digest = manifest_digest(bundle)
        if digest != record.bundle_digest:
            raise DigestMismatch(f"{bundle}: manifest has digest {digest}, the record says {record.bundle_digest}")
        verify_bundle(bundle, public_key(Path(self.home) / "keys"), digest=digest)
        contents = contents_digest or digest
        if (before := self.find(dagster_run_id=dagster_run_id, contents_digest=contents)) is not None:
            return before
        with _typed_errors():
            self._ensure_model()
            tags = {RECORD_TAG: record.model_dump_json(), RUN_TAG: dagster_run_id, CONTENTS_TAG: contents}
            created = self._client().create_model_version(
                self.model_name,
                source=f"{self._client().get_run(record.run_id).info.artifact_uri}/{ARTIFACT_PATH}",
                run_id=record.run_id,
                tags=tags | record.labels(),
            )
            if str(created.version) != record.version:
                self._client().delete_model_version(self.model_name, str(created.version))
                raise VersionTaken(record.version, str(int(created.version) + 1))
        return record

    def next_version(self) -> str:
        """The number that MLflow will probably give next; `register` refuses when it did not."""
        return str(1 + max((int(v.version) for v in self._search("")), default=0))

    def find(self, *, dagster_run_id: str, contents_digest: str) -> ModelVersion | None:
        """The version that this Dagster run registered for this content, if it did."""
        found = self._search(f" and tag.`{RUN_TAG}` = '{dagster_run_id}'")
        records = [_record(v) for v in found if v.tags.get(CONTENTS_TAG) == contents_digest]
        return next((r for r in records if r is not None), None)

    def get(self, version: str) -> ModelVersion:
        """The record of one version; VersionMissing where there is none."""
        record = _record(self._mlflow_version(version))
        if record is None:
            raise VersionMissing(self.model_name, version)
        return record

    def genuine(self, version: str, bundle: Path) -> ModelVersion:
        """The record of a version that shall be promoted, read beside the bundle on disk: BundleRefused unless that is
        the signed one, and this record's."""
        record = self.get(version)
        verify_bundle(bundle, public_key(Path(self.home) / "keys"), digest=record.bundle_digest)
        return record

    def versions(self) -> list[ModelVersion]:
        """All registered versions, oldest first."""
        records = [r for v in self._search("") if (r := _record(v)) is not None]
        return sorted(records, key=lambda r: int(r.version))

    def champion(self) -> ModelVersion | None:
        """The version that users get, or None before the first one."""
        return self._by_alias("champion")

    def challenger(self) -> ModelVersion | None:
        """The newest version that was trained and asks for a release, or None."""
        return self._by_alias("challenger")

    def set_alias(self, alias: Alias, version: str) -> None:
        """Point an alias at a version that exists."""
        self.get(version)
        with _typed_errors():
            self._client().set_registered_model_alias(self.model_name, alias, version)

    def drop_alias(self, alias: Alias) -> None:
        """Take an alias away; also fine when it is not there."""
        if alias not in self._aliases():
            return
        with _typed_errors():
            self._client().delete_registered_model_alias(self.model_name, alias)

    def write_verdict(self, version: str, verdict: Verdict) -> None:
        """Keep a gate's verdict with the version it judged; a later one of the same gate replaces it."""
        if verdict.model_version != version:
            raise RegistryError(f"verdict of {verdict.check} judged version {verdict.model_version}, not {version}")
        self.get(version)
        with _typed_errors():
            self._client().set_model_version_tag(
                self.model_name, version, VERDICT_TAG + verdict.check, verdict.model_dump_json()
            )

    def read_verdict(self, version: str, check: str) -> Verdict | None:
        """The verdict of one gate on one version, or None when that gate has not judged it."""
        stored = self._mlflow_version(version).tags.get(VERDICT_TAG + check)
        if stored is None:
            return None
        try:
            verdict = Verdict.model_validate_json(stored)
        except ValidationError as broken:
            raise RecordBroken(f"verdict {check} of version {version} cannot be read: {broken}") from broken
        if (verdict.check, verdict.model_version) != (check, version):
            raise RecordBroken(f"verdict {check} of version {version} is about another gate or version")
        return verdict

    def page(self, version: str, *, local_ui: str) -> str:
        """Address of the version's page in MLflow's UI: on the server, or on `local_ui` over the local database."""
        return f"{self.server(local_ui=local_ui)}/#/models/{self.model_name}/versions/{version}"

    def server(self, *, local_ui: str) -> str:
        """Address of MLflow's UI: the server's, or `local_ui` over the local database."""
        return (self.tracking_uri if self.tracking_uri.startswith("http") else local_ui).rstrip("/")

    def attach(self, run_id: str, file: Path, artifact_path: str) -> Artifact:
        """Keep a file with a run, ended or not; one of the same path is replaced."""
        folder, name = artifact_path.rpartition("/")[::2]
        if name != file.name:
            raise RegistryError(f"{file}: an artifact keeps the name of its file, and {artifact_path} is another")
        with _typed_errors():
            experiment = str(self._client().get_run(run_id).info.experiment_id)
            self._client().log_artifact(run_id, str(file), folder or None)
        return Artifact(artifact_path, experiment)

    def _by_alias(self, alias: Alias) -> ModelVersion | None:
        version = self._aliases().get(alias)
        return None if version is None else self.get(version)

    def _aliases(self) -> dict[str, str]:
        with _typed_errors():
            found = self._client().search_registered_models(f"name = '{self.model_name}'")
        return {alias: str(version) for model in found for alias, version in model.aliases.items()}

    def _mlflow_version(self, version: str) -> MlflowVersion:
        try:
            with _typed_errors():
                return self._client().get_model_version(self.model_name, version)
        except LookupError:
            raise VersionMissing(self.model_name, version) from None

    def _search(self, more: str) -> list[MlflowVersion]:
        found: list[MlflowVersion] = []
        token: str | None = None
        with _typed_errors():
            while token != "":
                page = self._client().search_model_versions(f"name = '{self.model_name}'{more}", page_token=token)
                found.extend(page)
                token = page.token or ""
        return found

    def _ensure_model(self) -> None:
        from mlflow.exceptions import MlflowException

        if self._client().search_registered_models(f"name = '{self.model_name}'"):
            return
        try:
            self._client().create_registered_model(self.model_name)
        except MlflowException as refused:
            # Another run was faster.
            if refused.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _client(self) -> MlflowClient:
        return mlflow_client(mlflow_uri(self.home, self.tracking_uri))


def mlflow_uri(home: str, tracking_uri: str) -> str:
    """The configured address, or the SQLite file below the home folder."""
    return tracking_uri or f"sqlite:///{Path(home) / 'mlflow' / 'mlflow.db'}"


@cache
def mlflow_client(uri: str) -> MlflowClient:
    """One client for each address, with unpickling and telemetry switched off for the whole process."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # Read while mlflow is imported.
    # By itself it asks a server that is away for four minutes, and one that hangs for a quarter of an hour.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    from mlflow import MlflowClient
    from mlflow.environment_variables import MLFLOW_ALLOW_PICKLE_DESERIALIZATION

    MLFLOW_ALLOW_PICKLE_DESERIALIZATION.set(False)  # type: ignore[no-untyped-call]
    return made_alone(uri, lambda: _client_of_both(MlflowClient, uri))


def _client_of_both(make: type[MlflowClient], uri: str) -> MlflowClient:
    """Tracking makes the tables when the client is made, the registry when it is first asked."""
    client = make(tracking_uri=uri, registry_uri=uri)
    if uri.startswith(SCHEME):
        client.search_registered_models(max_results=1)
    return client


def _record(found: MlflowVersion) -> ModelVersion | None:
    """The record of a version, or None for one that was created by something else or under another number."""
    stored = found.tags.get(RECORD_TAG)
    if stored is None:
        return None
    try:
        record = ModelVersion.model_validate_json(stored)
    except ValidationError as broken:
        raise RecordBroken(f"record of version {found.version} cannot be read: {broken}") from broken
    return record if record.version == str(found.version) else None


@contextmanager
def _typed_errors() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as refused:
        if refused.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise VersionMissing("(of MLflow)", str(refused)) from refused
        if refused.error_code in {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}:
            raise RegistryUnavailable(str(refused)) from refused
        raise RegistryError(str(refused)) from refused
