"""The assets of a release, brought to the route at each look: runless materializations and check evaluations.

Here: whether Dagster shows something else than the view, and the events that mend it. Not here: the view (view.py), the
metadata (report.py). Level-triggered: what Dagster shows is read, so a lost or a late event is mended by the next look.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import dagster as dg

from recsys_assets.rollout.check_names import CANARY_CHECKS
from recsys_assets.rollout.desk import Desk
from recsys_assets.rollout.jobs import CANARY, CHAMPION, SHADOW_COMPARISON
from recsys_assets.rollout.report import canary_check, canary_metadata, identity, shadow_metadata
from recsys_assets.rollout.route import champion_of
from recsys_assets.rollout.shown.view import ReleaseView, current

# A count is shown again once it has grown by this share: some hundred events for a million visitors, not one a tick.
GROWTH: Final = 0.05
STATE, COUNTS = "shown_state", "shown_counts"


@dataclass(frozen=True)
class Board:
    """Where a release is shown in Dagster."""

    instance: dg.DagsterInstance
    ui_url: str

    def show(self, desk: Desk, view: ReleaseView | None) -> None:
        """Have `shadow_comparison` and `canary` say what the view says. `view` None: no release was ever opened."""
        show(self, desk, view)

    def show_champion(self, desk: Desk) -> None:
        """Have `champion` name whom the route gives the users to. For a look while no run is about to do so."""
        show_champion(self, desk)


def shown_marks(view: ReleaseView) -> dict[str, Any]:
    """What an event carries, so that the next look can tell whether it still says what is so."""
    return {STATE: state_of(view), COUNTS: dg.MetadataValue.json(counts_of(view))}


def state_of(view: ReleaseView) -> str:
    """All but the numbers within sentences: where it is, what kind of thing it waits for, what each check says."""
    place = [view.release_id, view.phase.value, str(view.weight_bp), view.action, re.sub(r"\d+", "", view.why)]
    told = [*place, *(f"{v.check}={v.outcome.value}" for v in view.verdicts)]
    return sha256("\n".join(told).encode()).hexdigest()[:16]


def counts_of(view: ReleaseView) -> dict[str, int]:
    """Visitors by variant, and each `12 of 100` of the reason."""
    seen = {f"{a.variant}_visitors": a.visitors for a in view.seen}
    ahead = re.findall(r"(\d[\d,]*) of \d", view.why)
    return seen | {f"of_{place}": int(found.replace(",", "")) for place, found in enumerate(ahead)}


def is_shown(view: ReleaseView, metadata: Mapping[str, Any]) -> bool:
    """Whether these metadata still tell the view: the same state, and no count a twentieth off."""
    if _value(metadata, STATE) != state_of(view):
        return False
    told, now = _value(metadata, COUNTS) or {}, counts_of(view)
    return told.keys() == now.keys() and all(abs(now[k] - told[k]) <= GROWTH * told[k] for k in now)


def show(board: Board, desk: Desk, view: ReleaseView | None) -> None:
    if view is None:
        return
    if not is_shown(view, _latest(board, SHADOW_COMPARISON)):
        _materialize(board, SHADOW_COMPARISON, shadow_metadata(desk, view) | shown_marks(view))
    if not is_shown(view, _latest(board, CANARY)):
        _materialize(board, CANARY, canary_metadata(desk, view, ui_url=board.ui_url) | shown_marks(view))
        _evaluate(board, view)


def show_champion(board: Board, desk: Desk) -> None:
    view = current(desk)
    version = None if view is None or view.state is None else champion_of(view.state)
    if version is None or _value(_latest(board, CHAMPION), "model_version") == version:
        return
    promoted = [r for r in desk.ledger.releases() if r.version == version and r.phase.value == CHAMPION]
    models = [m for m in desk.registry.versions() if m.version == version]
    if promoted and models:
        told = {"release": promoted[-1].release_id, "reason": promoted[-1].why}
        _materialize(board, CHAMPION, identity(models[0]) | told)


def _materialize(board: Board, asset: str, metadata: Mapping[str, Any]) -> None:
    board.instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata=metadata))


def _evaluate(board: Board, view: ReleaseView) -> None:
    """Each check anew: one that a run has only planned would stand there as being in progress."""
    from dagster import AssetCheckEvaluation
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData as Target,
    )

    key = dg.AssetKey(CANARY)
    made = board.instance.fetch_materializations(key, limit=1).records[0]
    for name in CANARY_CHECKS:
        found = canary_check(name, view)
        board.instance.report_runless_asset_event(
            AssetCheckEvaluation(
                asset_key=key,
                check_name=name,
                passed=bool(found.passed),
                metadata=found.metadata,
                severity=found.severity,
                description=found.description,
                blocking=True,
                target_materialization_data=Target(
                    storage_id=made.storage_id, run_id=made.run_id, timestamp=made.timestamp
                ),
            )
        )


def _latest(board: Board, asset: str) -> Mapping[str, Any]:
    event = board.instance.get_latest_materialization_event(dg.AssetKey(asset))
    made = None if event is None else event.asset_materialization
    return {} if made is None else made.metadata


def _value(metadata: Mapping[str, Any], name: str) -> Any:
    found = metadata.get(name)
    return None if found is None else found.value
