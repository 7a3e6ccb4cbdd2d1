"""What the scenes look at: the world as the product's own records and the gateway show it.

Here: reading only. Not here: any change, any expectation.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import httpx
import polars as pl

from recsys_assets.columns import DAY
from recsys_assets.demo.stage import Stage
from recsys_assets.interactions.quarantine import read_quarantine
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.ledger import Audience, ReleaseRow

Answer = Mapping[str, Any]
# A gateway that has not answered by then hangs; on an idle machine it takes some milliseconds.
HANG_SECONDS: Final = 60.0


def champion(stage: Stage) -> str | None:
    """Version of the champion, by the registry."""
    found = _registry(stage).champion()
    return found.version if found else None


def versions(stage: Stage) -> list[str]:
    """All registered versions, oldest first."""
    return sorted((v.version for v in _registry(stage).versions()), key=int)


def split(stage: Stage) -> dict[str, int]:
    """Basis points of the traffic by model version, as the route object says; services without weight are left out."""
    route = stage.platform.get("VirtualService", stage.settings.model_name)
    if route is None:
        return {}
    shares = {each["destination"]["host"]: int(each["weight"]) for each in route["spec"]["http"][0]["route"]}
    return {host.rpartition("-v")[2]: weight for host, weight in shares.items() if weight}


def answer_of(stage: Stage, version: str | None) -> Answer | None:
    """What the gateway answers to real requests, once this version does; what it answered last where that hangs."""
    deadline = time.monotonic() + HANG_SECONDS
    while not answered_by(answer := ask(stage), version) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def ask(stage: Stage) -> Answer | None:
    """One real request through the gateway; None when it gives no answer."""
    serving = stage.settings.serving
    url = f"http://{serving.host}:{serving.gateway_port}/v1/models/{stage.settings.model_name}:predict"
    body = {"instances": [{"user_id": "1", "k": 3}]}
    try:
        response = httpx.post(url, json=body, headers={"x-user-id": "a-visitor"}, timeout=HANG_SECONDS)
    except httpx.HTTPError:
        return None
    return response.json()["predictions"][0] if response.status_code == 200 else None


def told(answer: Answer | None) -> str:
    """An answer in a few words."""
    if answer is None:
        return "no answer"
    items = ", ".join(f"item {i['item_id']} ({i['score']:.2f})" for i in answer["items"])
    return f"{items} from version {answer['model_version']}, rung {answer['rung']}"


def answered_by(answer: Answer | None, version: str | None) -> bool:
    return answer is not None and version is not None and answer["model_version"] == version and bool(answer["items"])


def rows(stage: Stage) -> int:
    tables = _tables(stage)
    return tables.scan("interactions").select(pl.len()).collect().item() if tables.exists("interactions") else 0


def rows_of_day(stage: Stage, day: date) -> int:
    found = _tables(stage).scan("interactions").filter(pl.col(DAY) == day).select(pl.len()).collect()
    return int(found.item())


def violations(stage: Stage, day: date) -> list[str]:
    """What is wrong with the quarantined file of this day, a line each."""
    return [
        f"{v['file'].rsplit('/', 1)[-1]} row {v['row']} column {v['column']}: {v['rule']}: {v['reason']}"
        for found in read_quarantine(stage.settings.home)
        if day in found.days
        for v in found.violations
    ]


def broken_rules(stage: Stage, day: date) -> set[str]:
    found = [q for q in read_quarantine(stage.settings.home) if day in q.days]
    return {str(v["rule"]) for q in found for v in q.violations}


def latest_release(stage: Stage) -> ReleaseRow | None:
    found = stage.ledger.releases()
    return found[-1] if found else None


def release_count(stage: Stage) -> int:
    return len(stage.ledger.releases())


def audience(stage: Stage, row: ReleaseRow) -> list[Audience]:
    return stage.ledger.audience(row.release_id)


def phases(stage: Stage) -> list[str]:
    """The phases that the latest release went through, in order, each once."""
    row = latest_release(stage)
    told = [e.kind for e in stage.ledger.events(row.release_id)] if row else []
    known = {"gated", "shadow", "canary", "baking", "champion", "rolled_back", "held", "rejected"}
    return list(dict.fromkeys(kind for kind in told if kind in known))


def in_order(found: list[str], *wanted: str) -> bool:
    """Whether the wanted phases stand in `found` in this order."""
    rest = iter(found)
    return all(each in rest for each in wanted)


def _registry(stage: Stage) -> ModelRegistryResource:
    return ModelRegistryResource(home=str(stage.settings.home), model_name=stage.settings.model_name)


def _tables(stage: Stage) -> TablesResource:
    return TablesResource.of(stage.settings)
