"""The asset `challenger_service` with its blocking checks.

Here: the gate read again, the deployment called, metadata. Not here: a step of it (deploy.py) or a rule (verdicts.py).
"""

from typing import TYPE_CHECKING, Any

import dagster as dg

from recsys_assets.evaluation.check_names import EVALUATION_REPORT, check_names
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.gates import check_result, read_gate
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.serving.verdicts import CHECKS
from recsys_assets.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.serving.deploy import Deployed

CHALLENGER_SERVICE = "challenger_service"
RANKER_CHECKS = ("scores_are_not_degenerate",)


def gates(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Every blocking check upstream that a version must have passed. A test holds it to the assets' own specs."""
    return {"ranker_model": RANKER_CHECKS, EVALUATION_REPORT: check_names(settings.gate.metric)}


def build_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The room's one asset."""

    @dg.asset(
        name=CHALLENGER_SERVICE,
        group_name="serving",
        deps=[EVALUATION_REPORT, "online_features"],
        check_specs=[
            dg.AssetCheckSpec(name, asset=CHALLENGER_SERVICE, blocking=True, description=asserts)
            for name, asserts in CHECKS.items()
        ],
        kinds={"kserve", "fastapi"},
        owners=["team:recommender"],
    )
    def challenger_service(
        context: dg.AssetExecutionContext, registry: ModelRegistryResource, platform: PlatformResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]
        """The deployed InferenceService of the challenger: signed, ready and proven on its golden requests.

        One object for each model version; it gets no traffic here. As fresh as the challenger: a version whose gates
        did not all pass, for whatever reason, is not deployed.
        """
        challenger = registry.challenger()
        if challenger is None:
            raise dg.Failure("no challenger is registered, so there is nothing to deploy: materialize ranker_model")
        require_gates(context.instance, settings, challenger)
        deployed = _deployed(challenger, settings, platform)
        for verdict in deployed.verdicts:
            context.log.info(f"{verdict.check}: {verdict.outcome}: {verdict.reason}")
        return dg.MaterializeResult(
            metadata=_metadata(challenger, deployed),
            check_results=[check_result(verdict) for verdict in deployed.verdicts],
        )

    return [challenger_service]


def require_gates(instance: dg.DagsterInstance, settings: Settings, model: ModelVersion) -> None:
    """Raise Failure unless every upstream gate passed for this exact version, whichever run it was judged in."""
    read = [read_gate(instance, asset, names, model.version) for asset, names in gates(settings).items()]
    open_gates = [verdict for verdict in read if verdict.outcome is not Outcome.PASS]
    if open_gates:
        raise dg.Failure(
            f"version {model.version} is not deployed: " + "; ".join(f"{v.check} {v.outcome}" for v in open_gates),
            metadata={"model_version": model.version, **{v.check: v.reason for v in open_gates}},
            allow_retries=False,
        )


def _deployed(challenger: ModelVersion, settings: Settings, platform: PlatformResource) -> "Deployed":
    from recsys_assets.platform.interface import PlatformError
    from recsys_assets.serving.deploy import deploy
    from recsys_assets.serving.signing import BundleRefused

    try:
        platform.ensure_running()
        return deploy(challenger, settings, platform)
    except BundleRefused as refused:
        raise dg.Failure(f"bundle refused: {refused}", allow_retries=False) from refused
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
