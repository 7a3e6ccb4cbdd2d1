"""Asking a deployed server what the checks need to know, as a client over HTTP.

Here: golden requests, echoed versions, timings. Not here: judging them (verdicts.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from recsys_assets.serving.verdicts import Ranked

if TYPE_CHECKING:
    import httpx

    from recsys_assets.recommender.bundle import GoldenRequest

TIMED_REQUESTS = 200
WARM_UP = 10


@dataclass(frozen=True)
class Observed:
    """What a server said. Empty where it was not reached; `error` says why."""

    versions: Sequence[str] = ()
    golden: Sequence[Ranked | None] = ()
    timed_ms: Sequence[float] = ()
    error: str | None = None


def observe(
    url: str | None, *, name: str, golden: Sequence[GoldenRequest], k: int, timeout_seconds: float = 5.0
) -> Observed:
    """Ask a server everything. Probes carry no `x-user-id`: no visitor sees them, so they are no exposures."""
    import httpx

    if url is None:
        return Observed(error="the platform gave no address")
    try:
        with httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False) as client:
            said = [_version_by_metadata(client, name)]
            answers = [_ask(client, name, _given(request)) for request in golden]
            timed = _time(client, name, golden, k)
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as failed:
        return Observed(error=f"{type(failed).__name__}: {failed}")
    said += [answer["model_version"] for answer in answers if answer is not None]
    return Observed(versions=said, golden=[_ranked(answer) for answer in answers], timed_ms=timed)


def _version_by_metadata(client: httpx.Client, name: str) -> str:
    response = client.get(f"/v2/models/{name}")
    response.raise_for_status()
    return str(response.json()["versions"][0])


def _given(request: GoldenRequest) -> dict[str, Any]:
    profile = {
        "features": request.features,
        "recent_items": request.recent_items,
        "recent_times": request.recent_times,
    }
    return {"user_id": request.user_id, "k": request.k, "profile": profile}


def _ask(client: httpx.Client, name: str, instance: dict[str, Any]) -> dict[str, Any] | None:
    response = client.post(f"/v1/models/{name}:predict", json={"instances": [instance]})
    if response.status_code != 200:
        return None
    prediction: dict[str, Any] = response.json()["predictions"][0]
    return prediction


def _ranked(answer: dict[str, Any] | None) -> Ranked | None:
    if answer is None:
        return None
    shown = answer["items"]
    return Ranked([str(entry["item_id"]) for entry in shown], [float(entry["score"]) for entry in shown])


def _time(client: httpx.Client, name: str, golden: Sequence[GoldenRequest], k: int) -> list[float]:
    """Every other request brings its profile along: the server may keep rankings of users, but never of those."""
    timed = []
    for number in range(WARM_UP + TIMED_REQUESTS):
        request = golden[number // 2 % len(golden)]
        instance = _given(request) if number % 2 else {"user_id": request.user_id, "k": k}
        started = perf_counter()
        client.post(f"/v1/models/{name}:predict", json={"instances": [instance]}).raise_for_status()
        timed.append((perf_counter() - started) * 1_000)
    return timed[WARM_UP:]
