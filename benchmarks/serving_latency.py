"""A top-10 answer of the model server, straight and through Envoy: p50, p99 and answers per second.

Here: MovieLens-100K fitted for real, Feast's online store, the local platform, and a raw client that sends ids only.
Run it from the project's root: `python -m benchmarks.serving_latency`, some two minutes on two free cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks import harness
from recsys_assets.columns import DAY, EVENT_TIME, INTERACTIONS, ITEM, USER
from recsys_assets.features.as_of_join import newest
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.interactions import movielens
from recsys_assets.platform.interface import (
    ANY,
    INFERENCE_SERVICE,
    STICKY_HEADER_ANNOTATION,
    VIRTUAL_SERVICE,
    Platform,
    ServiceStatus,
)
from recsys_assets.platform.local import stack
from recsys_assets.platform.local.store import open_store
from recsys_assets.recommender.bundle import bundle_digest, write_bundle
from recsys_assets.recommender.ranker import feature_columns, fit_ranker
from recsys_assets.recommender.recommender import Recommender, assemble
from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.serving.deploy import deploy
from recsys_assets.settings import PACKAGED_CONFIG, Settings, load_settings
from recsys_assets.signing import sign_bundle
from recsys_assets_tests.features.rows import user_feature_rows

VERSION = "1"


@dataclass(frozen=True)
class Measured:
    """One repeat at one address."""

    p50_ms: float
    p99_ms: float
    answers_per_second: float
    not_full: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="in each repeat, one after the other")
    parser.add_argument("--connections", type=int, default=8, help="at once, for answers per second")
    parser.add_argument("--repeats", type=int, default=harness.MIN_REPEATS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(Path(folder))
        recommender = prepare(settings)
        stack.start(settings, stack.CORE)
        try:
            measure_all(asked, settings, recommender)
        finally:
            stack.stop(settings)


def measure_all(asked: argparse.Namespace, settings: Settings, recommender: Recommender) -> None:
    """Interleave the repeats at the server and at the gateway, and write the result.

    First every answer is ranked anew, then with rankings kept, as the server runs by default.
    """
    gateway = f"127.0.0.1:{settings.serving.gateway_port}"
    figures: dict[str, float] = {"rank_in_process_cpu_p50_ms": in_process_ms(recommender), **candidates(recommender)}
    for kind, more in (("ranked_anew", ["--cached-users", "0"]), ("returning_users", [])):
        places = {f"{kind}_direct": deployed(settings, more), f"{kind}_through_envoy": gateway}
        figures |= compare(asked, places, f"/v1/models/{settings.model_name}:predict", recommender.users())
    harness.write("serving_latency", command="python -m benchmarks.serving_latency", figures=figures, peers={})


def compare(asked: argparse.Namespace, places: dict[str, str], path: str, users: list[str]) -> dict[str, float]:
    """The figures of two addresses, by name; the first round over all users is not counted."""
    found: dict[str, list[Measured]] = {place: [] for place in places}
    for place in places.values():
        asyncio.run(ask(place, path, users, len(users)))
    for _ in range(asked.repeats):
        for name, place in places.items():
            found[name].append(asyncio.run(measure(place, path, users, asked.requests, asked.connections)))
    figures: dict[str, float] = {}
    for name, repeats in found.items():
        figures |= harness.Interval.of([m.p50_ms for m in repeats]).figures(f"{name}_p50", "ms", 3)
        figures |= harness.Interval.of([m.p99_ms for m in repeats]).figures(f"{name}_p99", "ms", 3)
        rates = [m.answers_per_second for m in repeats]
        figures |= harness.Interval.of(rates).figures(f"{name}_{asked.connections}_connections", "per_second", 0)
        figures[f"{name}_not_full_share"] = round(max(m.not_full for m in repeats), 4)
    return figures


def make_settings(folder: Path) -> Settings:
    """The packaged configuration on free ports."""
    raw: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    names = ("gateway_port", "gateway_admin_port", "collector_port", "model_port_first")
    raw["serving"] = dict(zip(names, ports, strict=True)) | {"latency_budget_ms": 1_000}
    # Room for two generations side by side; the platform skips a port that is taken.
    raw["serving"]["model_port_last"] = min(raw["serving"]["model_port_first"] + 9, 65_535)
    config = folder / "recsys.yaml"
    config.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return load_settings(home=folder / "home", config=config)


def prepare(settings: Settings) -> Recommender:
    """Fit on MovieLens-100K with the default settings, write the bundle and the online store."""
    rated = movielens.read_ratings()
    at = pl.from_epoch("timestamp", time_unit="s").dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    events = rated.select(
        USER, ITEM, at.alias(EVENT_TIME), at.dt.date().alias(DAY), value="rating", event_type=pl.lit("rating")
    ).cast(dict(INTERACTIONS))
    items = movielens.read_items().select(ITEM, genres=pl.col("class").str.split(" "))
    users = movielens.read_users().select(USER, "age", "gender", "occupation")
    days = events[DAY].unique().sort().to_list()
    as_of = datetime.combine(days[-1], datetime.min.time(), UTC) + timedelta(days=1)
    of_users = user_feature_rows(events, days, settings.features)
    of_items = item_feature_rows(events, days, settings.features)
    cut = as_of - timedelta(days=settings.training.label_days)
    rows = rows_at_cut(events, items, users, of_users, of_items, cut=cut, settings=settings.training)
    features, rounds = feature_columns(rows), settings.training.num_boost_round
    booster = fit_ranker(rows, params={}, num_boost_round=rounds, seed=7, features=features)
    recommender = assemble([booster], events, items, users, of_users, of_items, as_of=as_of, settings=settings.training)
    bundle = settings.path("bundles", VERSION)
    write_bundle(recommender, bundle, model_name=settings.model_name, version=VERSION)
    sign_bundle(bundle, settings.path("keys"))
    store = FeatureStoreResource.of(settings)
    store.apply()
    store.write_online("user_features", newest(of_users, key=USER, at=as_of).drop(DAY, "feature_time"))
    return recommender


def deployed(settings: Settings, more: Sequence[str]) -> str:
    """Deploy the bundle, with these arguments more, and give it the whole route; returns the server's own address."""
    digest = bundle_digest(settings.path("bundles", VERSION))
    model = ModelVersion(
        name=settings.model_name,
        version=VERSION,
        run_id="benchmark",
        feature_service="ranker_v1",
        table_versions={},
        code_version="0",
        bundle_digest=digest,
        as_of=datetime(1998, 4, 23, tzinfo=UTC),
    )
    platform = open_store(settings)
    told = Verdict(check="told", model_version=VERSION, outcome=Outcome.PASS, reason="a benchmark asks no gate")
    done = deploy(model, settings, platform, gates={"benchmark/told": told})
    failed = [f"{v.check}: {v.reason}" for v in done.verdicts if not v.passed]
    if failed:
        raise SystemExit(f"not deployed: {failed}")
    manifest = platform.get(INFERENCE_SERVICE, model.service_name) or {}
    manifest["spec"]["predictor"]["containers"][0]["args"] += more
    platform.apply(manifest, expected=manifest["metadata"]["resourceVersion"])
    route = {"destination": {"host": model.service_name}, "weight": 10_000}
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": VIRTUAL_SERVICE,
        "metadata": {"name": model.name, "annotations": {STICKY_HEADER_ANNOTATION: "x-user-id"}},
        "spec": {"hosts": [model.name], "http": [{"route": [route]}]},
    }
    platform.apply(virtual_service, expected=ANY)
    settled(platform, VIRTUAL_SERVICE, model.name)
    return str(settled(platform, INFERENCE_SERVICE, model.service_name).url).removeprefix("http://")


def settled(platform: Platform, kind: str, name: str) -> ServiceStatus:
    """The status once it is ready on its present generation."""
    deadline = time.monotonic() + 60
    while not (status := platform.status(kind, name)).ready:
        if time.monotonic() > deadline:
            raise SystemExit(f"{name} does not get ready: {status.reason}")
        time.sleep(0.1)
    return status


async def measure(address: str, path: str, users: Sequence[str], requests: int, connections: int) -> Measured:
    """Times of requests one after the other, then the rate with several connections at once."""
    times, degraded = await ask(address, path, users, requests)
    each = requests // connections
    started = time.perf_counter()
    busy = await asyncio.gather(*(ask(address, path, users[n:], each) for n in range(connections)))
    rate = each * connections / (time.perf_counter() - started)
    not_full = (degraded + sum(others for _, others in busy)) / (requests + each * connections)
    ordered = sorted(times)
    return Measured(_quantile(ordered, 0.5), _quantile(ordered, 0.99), rate, not_full)


async def ask(address: str, path: str, users: Sequence[str], requests: int) -> tuple[list[float], int]:
    """Milliseconds of each request on one connection, and how many came from another rung than `full`."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    times, others = [], 0
    for number in range(requests):
        user = users[number % len(users)]
        body = b'{"instances":[{"user_id":"%s","k":10}]}' % user.encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: recommender\r\ncontent-type: application/json\r\n"
            f"x-user-id: {user}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        writer.write(head.encode() + body)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(answered.split("content-length: ")[1].split("\r\n")[0])
        content = await reader.readexactly(length)
        times.append((time.perf_counter() - started) * 1_000)
        if " 200 " not in answered.split("\r\n")[0]:
            raise SystemExit(f"not an answer: {answered}{content.decode()}")
        others += "x-recsys-rung: full" not in answered
    writer.close()
    assert len(json.loads(content)["predictions"][0]["items"]) == 10
    return times, others


def in_process_ms(recommender: Recommender, count: int = 300) -> float:
    """The median processor time of the ranking alone, without HTTP and store."""
    profiles = [profile for user in recommender.users()[:count] if (profile := recommender.profile(user))]
    times = []
    for profile in profiles:
        started = time.thread_time()
        recommender.recommend(profile, k=10)
        times.append((time.thread_time() - started) * 1_000)
    return round(_quantile(sorted(times), 0.5), 3)


def candidates(recommender: Recommender) -> dict[str, float]:
    """How much work one answer is."""
    from recsys_assets.recommender.candidates import retrieve

    known = [profile for user in recommender.users()[:200] if (profile := recommender.profile(user))]
    counts = sorted(float(len(retrieve(recommender.index, profile).items)) for profile in known)
    return {
        "candidates_p50_count": _quantile(counts, 0.5),
        "features_count": len(recommender.feature_names),
        "trees_count": sum(booster.num_trees() for booster in recommender.boosters),
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


if __name__ == "__main__":
    main()
