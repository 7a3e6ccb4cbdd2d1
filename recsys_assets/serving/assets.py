"""The assets `challenger_service`, with its blocking checks, and `exposures` and `feedback`: what came of serving.

Here: the gate read again, deployment and collection called, metadata. Not here: a step (deploy.py), a rule
(verdicts.py), or the logs (logs.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.evaluation.check_names import EVALUATION_REPORT, check_names
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import check_result, read_checks, read_gate
from recsys_assets.resources.one_writer import one_writer
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.serving.verdicts import CHECKS
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.serving.deploy import Deployed

CHALLENGER_SERVICE = "challenger_service"
EXPOSURES, FEEDBACK, EXPOSURE_MARKS = "exposures", "feedback", "exposure_marks"
OWNERS = ["team:recommender"]
RANKER_CHECKS = ("scores_are_not_degenerate",)


def gates(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Every blocking check upstream that a version must have passed. A test holds it to the assets' own specs."""
    return {"ranker_model": RANKER_CHECKS, EVALUATION_REPORT: check_names(settings.gate.metric)}


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's three assets."""
    return [_challenger_service(settings), _exposures(settings), _feedback(settings)]


def _challenger_service(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=CHALLENGER_SERVICE,
        group_name="serving",
        deps=[EVALUATION_REPORT, "online_features"],
        check_specs=[
            dg.AssetCheckSpec(name, asset=CHALLENGER_SERVICE, blocking=True, description=asserts)
            for name, asserts in CHECKS.items()
        ],
        kinds={"kserve", "fastapi"},
        owners=OWNERS,
    )
    @one_writer(settings, CHALLENGER_SERVICE)
    def challenger_service(
        context: dg.AssetExecutionContext, registry: ModelRegistryResource, platform: PlatformResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """The deployed InferenceService of the challenger: signed, attested, ready and proven on its golden requests.

        One object for each model version; it gets no traffic here. As fresh as the challenger: a version whose gates
        did not all pass, for whatever reason, is not deployed.
        """
        challenger = registry.challenger()
        if challenger is None:
            raise dg.Failure("no challenger is registered, so there is nothing to deploy: materialize ranker_model")
        passed = require_gates(context.instance, settings, challenger)
        deployed = _deployed(challenger, settings, platform, registry, passed)
        for verdict in deployed.verdicts:
            context.log.info(f"{verdict.check}: {verdict.outcome}: {verdict.reason}")
        return dg.MaterializeResult(
            metadata=_metadata(challenger, deployed),
            check_results=[check_result(verdict) for verdict in deployed.verdicts],
        )

    return challenger_service


def _exposures(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=EXPOSURES,
        group_name="serving",
        deps=[CHALLENGER_SERVICE, EXPOSURE_MARKS],
        kinds={"deltalake", "polars"},
        owners=OWNERS,
    )
    @one_writer(settings, EXPOSURES)
    def exposures(tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one answer that a model server gave: to whom, by which version, on which rung, with which scores.

        Grain: request, variant (the shadow's answers are among them) and user; kept by UTC day of the answer. Fresh:
        every ten minutes the schedule adds what the servers have logged since; each row counts once, however often it
        is collected. `rolled_back` marks answers of a model that was rolled back, which a training can leave out.
        """
        from recsys_assets.serving.collecting import EXPOSURE_KEYS, exposure_rows, marked
        from recsys_assets.serving.logs import read_exposures

        with _readable():
            logged = read_exposures(settings.path("logs", "exposures"))
        new = tables.append_new(EXPOSURES, exposure_rows(logged), keys=EXPOSURE_KEYS)
        marks = tables.read(EXPOSURE_MARKS).rows(named=True) if tables.exists(EXPOSURE_MARKS) else []
        conditions = [marked(mark["model_version"], mark["since"], mark["until"]) for mark in marks]
        newly_marked = sum(tables.set_true(EXPOSURES, "rolled_back", where=each) for each in conditions)
        metadata = _collected(tables, EXPOSURES, new) | {"newly_marked": newly_marked}
        return dg.MaterializeResult(metadata=metadata | _compacted(tables, EXPOSURES))

    return exposures


def _feedback(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        name=FEEDBACK,
        group_name="serving",
        deps=[CHALLENGER_SERVICE],
        kinds={"deltalake", "polars"},
        owners=OWNERS,
    )
    @one_writer(settings, FEEDBACK)
    def feedback(tables: TablesResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """One row is one event that a client reported about an answer, such as a click on one of its items.

        Grain: event_id, which counts once however often it was sent or collected; kept by UTC day of the receipt.
        Fresh: every ten minutes the schedule adds what the collector has acknowledged since.
        """
        from recsys_assets.serving.collecting import FEEDBACK_KEYS, feedback_rows
        from recsys_assets.serving.logs import read_feedback

        with _readable():
            logged = read_feedback(settings.path("logs", "feedback"))
        new = tables.append_new(FEEDBACK, feedback_rows(logged), keys=FEEDBACK_KEYS)
        return dg.MaterializeResult(metadata=_collected(tables, FEEDBACK, new) | _compacted(tables, FEEDBACK))

    return feedback


@contextmanager
def _readable() -> Iterator[None]:
    """A log with a broken line is not read past it: a person must look, and the run says where."""
    from recsys_assets.serving.logs import LogCorrupt

    try:
        yield
    except LogCorrupt as broken:
        raise dg.Failure(f"nothing was collected: {broken}", allow_retries=False) from broken


def _collected(tables: TablesResource, name: str, new: int) -> dict[str, Any]:
    import polars as pl

    total = tables.scan(name).select(pl.len()).collect().item()
    return {"new_rows": new, "dagster/row_count": int(total), "table_version": tables.version(name)}


def gate_names(settings: Settings) -> tuple[str, ...]:
    """Every gate as attestations call it: asset/check."""
    return tuple(f"{asset}/{name}" for asset, names in gates(settings).items() for name in names)


def _compacted(tables: TablesResource, name: str) -> dict[str, Any]:
    """Every collection adds a small file to its day; once the day is over they become one."""
    from datetime import UTC, datetime

    return {"compacted_files": tables.compact(name, before=datetime.now(UTC).date())}


def require_gates(instance: dg.DagsterInstance, settings: Settings, model: ModelVersion) -> dict[str, Verdict]:
    """Every upstream gate's verdict by its name; Failure unless all passed for this exact version, in whichever run."""
    read = [read_gate(instance, asset, names, model.version) for asset, names in gates(settings).items()]
    open_gates = [verdict for verdict in read if verdict.outcome is not Outcome.PASS]
    if open_gates:
        raise dg.Failure(
            f"version {model.version} is not deployed: " + "; ".join(f"{v.check} {v.outcome}" for v in open_gates),
            metadata={"model_version": model.version, **{v.check: v.reason for v in open_gates}},
            allow_retries=False,
        )
    return {
        f"{asset}/{verdict.check}": verdict
        for asset, names in gates(settings).items()
        for verdict in read_checks(instance, asset, names, model.version)
    }


def _deployed(
    challenger: ModelVersion,
    settings: Settings,
    platform: PlatformResource,
    registry: ModelRegistryResource,
    passed: dict[str, Verdict],
) -> "Deployed":
    from recsys_assets.bundle_store import StoreError
    from recsys_assets.platform.interface import PlatformError
    from recsys_assets.serving.deploy import deploy
    from recsys_assets.signing import BundleRefused

    try:
        genuine = registry.genuine(challenger.version, settings.path("bundles", challenger.version))
        platform.ensure_running()
        return deploy(genuine, settings, platform, gates=passed)
    except BundleRefused as refused:
        raise dg.Failure(f"bundle refused: {refused}", allow_retries=False) from refused
    except StoreError as failed:
        raise dg.Failure(f"bundle store: {type(failed).__name__}: {failed}") from failed
    except PlatformError as refused:
        raise dg.Failure(f"platform: {type(refused).__name__}: {refused}") from refused


def _metadata(model: ModelVersion, deployed: "Deployed") -> dict[str, Any]:
    status = deployed.status
    url = status.url if status else None
    numbers = [m for verdict in deployed.verdicts for m in verdict.measurements if m.value is not None]
    return {
        "model_version": model.version,
        "record": dg.MetadataValue.json(model.model_dump(mode="json")),
        "service": model.service_name,
        "url": dg.MetadataValue.url(url) if url else "none",
        "generation": deployed.generation,
        "platform_says": status.reason if status else "no status",
        "probe_error": deployed.observed.error or "none",
        "verdicts": _table(deployed.verdicts),
        "manifest": dg.MetadataValue.json(deployed.manifest),
        **{f"{m.name}_{m.unit}" if m.unit else m.name: float(m.value or 0.0) for m in numbers},
    }


def _table(verdicts: tuple[Verdict, ...]) -> dg.MetadataValue:
    records = [dg.TableRecord({"check": v.check, "outcome": v.outcome.value, "reason": v.reason}) for v in verdicts]
    return dg.MetadataValue.table(records)
