"""What training reads of its features against Feast's own point-in-time join and a bare Polars join_asof, same values.

Here: the data (three views of 8 features), one process per measurement, the interleaving, and that all three give equal
values. At each of eight cuts, a week apart, training reads the newest row of every user and item
(features/as_of_join.newest, which recommender/state.py calls); the others get every key at every cut as an entity row.
Each measurement reads the Parquet files of the views; imports do not count. The expiry of windows, which Feast does not
know, is left out. Run it from the project's root: `python -m benchmarks.as_of_join`, some minutes on two free cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import harness
from recsys_assets.columns import EVENT_TIME, ITEM, USER, UTC_TIME
from recsys_assets.features.as_of_join import newest

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 365
# As the packaged settings have it: six cuts for the release, and two more for the holdout before a test of two weeks.
CUTS = [START + timedelta(days=DAYS - 7 * n) for n in range(1, 9)]
CUT = "cut"
# View: key and feature rows of each entity in a year, a row for each day with events.
VIEWS = {"user_counts": (USER, 50), "item_counts": (ITEM, 250), "user_values": (USER, 50)}
FEATURES = [f"feature_{number}" for number in range(8)]
# Runs inside one process: the quick ones need several for a steady median.
INNER = {"product": 5, "polars": 5, "feast": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--view-rows", type=int, default=1_000_000, help="feature rows of each of the three views")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", choices=sorted(INNER), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(asked, Path(folder))


def compare(asked: argparse.Namespace, folder: Path) -> None:
    """Interleave the three, check that they agree, and write the result file."""
    make_data(folder, view_rows=asked.view_rows)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in INNER}
    for repeat in range(asked.repeats):
        for kind in INNER:
            found[kind].append(in_a_process(kind, folder))
            print(f"repeat {repeat + 1} {kind}: {found[kind][-1]}", flush=True)
        assert_equal(folder)
    seconds = {kind: harness.Interval.of([one["seconds"] for one in runs]) for kind, runs in found.items()}
    peaks = {kind: harness.Interval.of([one["peak_mib"] for one in runs]) for kind, runs in found.items()}
    cpus = {kind: harness.Interval.of([one["cpu_seconds"] for one in runs]) for kind, runs in found.items()}
    about = {
        kind: seconds[kind].figures("join", "seconds")
        | cpus[kind].figures("cpu", "seconds")
        | peaks[kind].figures("peak", "mib", digits=1)
        for kind in INNER
    }
    ratios = {
        "feast_over_product_wall_ratio": ratio(found, "feast", "product", "seconds"),
        "feast_over_product_cpu_ratio": ratio(found, "feast", "product", "cpu_seconds"),
        "feast_over_product_peak_memory_ratio": ratio(found, "feast", "product", "peak_mib"),
        "product_over_polars_wall_ratio": ratio(found, "product", "polars", "seconds"),
        "product_over_polars_cpu_ratio": ratio(found, "product", "polars", "cpu_seconds"),
    }
    keys = {key: pl.read_parquet(folder / f"{key}.parquet").height for key, _ in VIEWS.values()}
    sizes = {"entity_rows_count": sum(keys.values()), "rows_per_view_count": asked.view_rows, "views_count": len(VIEWS)}
    sizes |= {"cuts_count": len(CUTS), "features_per_view_count": len(FEATURES), "repeats_count": asked.repeats}
    command = f"python -m benchmarks.as_of_join --view-rows {asked.view_rows}"
    peers = {"feast_duckdb": about["feast"], "polars_join_asof": about["polars"]}
    harness.write("as_of_join", command=command, figures={**ratios, **about["product"], **sizes}, peers=peers)


def ratio(found: dict[str, list[dict[str, float]]], above: str, below: str, what: str) -> float:
    """Median of the ratios of neighbouring runs, which share what else the machine was doing."""
    pairs = zip(found[above], found[below], strict=True)
    return round(statistics.median(one[what] / other[what] for one, other in pairs), 2)


def make_data(folder: Path, *, view_rows: int) -> None:
    """Feature rows on random days, and every key at every cut: one key in fifty is unknown to the views."""
    random = np.random.default_rng(7)
    for view, (key, each) in VIEWS.items():
        entities = view_rows // each
        days = np.argsort(random.random((entities, DAYS)), axis=1)[:, :each].ravel()
        columns = {name: random.random(len(days)) for name in FEATURES}
        names = pl.Series(np.repeat(np.arange(entities), each)).cast(pl.String)
        frame = pl.DataFrame({key: names, EVENT_TIME: _moments(days * 86_400), **columns})
        frame.sort(EVENT_TIME, key).write_parquet(folder / f"{view}.parquet")
        every = pl.DataFrame({key: pl.Series(np.arange(entities + entities // 50)).cast(pl.String)})
        cuts = pl.DataFrame({CUT: CUTS}, schema={CUT: UTC_TIME})
        every.join(cuts, how="cross").write_parquet(folder / f"{key}.parquet")


def _moments(seconds: np.ndarray[Any, Any]) -> pl.Series:
    return (
        (pl.Series(seconds) * 1_000_000 + int(START.timestamp() * 1e6))
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
    )


def in_a_process(kind: str, folder: Path) -> dict[str, float]:
    """One measurement in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.as_of_join", "--measure", kind, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TQDM_DISABLE": "1"})
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(kind: str, folder: Path) -> dict[str, float]:
    """Seconds (median of the inner runs) and peak memory of the whole process after the first of them."""
    run = RUNS[kind](folder)
    seconds, cpu_seconds, peak = [], [], 0.0
    for _ in range(INNER[kind]):
        start, cpu_start = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        peak = peak or peak_mib()
    for view, frame in result.items():
        frame.write_parquet(folder / f"{kind}.{view}.out.parquet")
    cpu = statistics.median(cpu_seconds)
    return {"seconds": statistics.median(seconds), "cpu_seconds": cpu, "peak_mib": peak}


def peak_mib() -> float:
    """The largest resident size of this program. `ru_maxrss` would start at the size of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def product(folder: Path) -> Callable[[], dict[str, pl.DataFrame]]:
    def run() -> dict[str, pl.DataFrame]:
        found = {}
        for view, (key, _) in VIEWS.items():
            features = pl.read_parquet(folder / f"{view}.parquet")
            known = [newest(features, key=key, at=cut).with_columns(pl.lit(cut, UTC_TIME).alias(CUT)) for cut in CUTS]
            found[view] = pl.concat(known).select(key, CUT, *FEATURES)
        return found

    return run


def polars(folder: Path) -> Callable[[], dict[str, pl.DataFrame]]:
    asked = {key: pl.read_parquet(folder / f"{key}.parquet").sort(CUT) for key, _ in VIEWS.values()}

    def run() -> dict[str, pl.DataFrame]:
        found = {}
        for view, (key, _) in VIEWS.items():
            features = pl.read_parquet(folder / f"{view}.parquet").sort(EVENT_TIME)
            joined = asked[key].join_asof(features, left_on=CUT, right_on=EVENT_TIME, by=key, check_sortedness=False)
            found[view] = joined.select(key, CUT, *FEATURES)
        return found

    return run


def feast(folder: Path) -> Callable[[], dict[str, pl.DataFrame]]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat
    from feast.repo_config import RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    entities = {key: Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in (USER, ITEM)}
    fields = [Field(name=name, dtype=Float64) for name in FEATURES]
    views = []
    for view, (key, _) in VIEWS.items():
        path = str(folder / f"{view}.parquet")
        source = FileSource(name=view, path=path, timestamp_field=EVENT_TIME, file_format=ParquetFormat())
        views.append(FeatureView(name=view, entities=[entities[key]], schema=fields, source=source, ttl=timedelta(0)))
    online = {"type": "sqlite", "path": str(folder / "online.db")}
    settings: dict[str, Any] = {"offline_store": {"type": "duckdb"}, "online_store": online}
    registry = str(folder / "registry.db")
    config = RepoConfig(
        project="benchmark", provider="local", registry=registry, entity_key_serialization_version=3, **settings
    )
    store = FeatureStore(config=config)
    store.apply([*entities.values(), *views])
    keys = {key for key, _ in VIEWS.values()}
    asked = {
        key: pl.read_parquet(folder / f"{key}.parquet").rename({CUT: "event_timestamp"}).to_pandas() for key in keys
    }

    def run() -> dict[str, pl.DataFrame]:
        found = {}
        for key in sorted(keys):
            mine = [view for view, (its, _) in VIEWS.items() if its == key]
            wanted = [f"{view}:{name}" for view in mine for name in FEATURES]
            joined = pl.DataFrame(store.get_historical_features(asked[key], wanted, full_feature_names=True).to_arrow())
            for view in mine:
                names = {f"{view}__{name}": name for name in FEATURES}
                found[view] = joined.select(key, pl.col("event_timestamp").alias(CUT), *names).rename(names)
        return found

    return run


RUNS = {"product": product, "polars": polars, "feast": feast}


def assert_equal(folder: Path) -> None:
    """The three results, brought to one order and without the keys that had no row yet, are the same values."""
    for view, (key, _) in VIEWS.items():
        ours = pl.read_parquet(folder / f"product.{view}.out.parquet").sort(key, CUT)
        for other in ("feast", "polars"):
            found = pl.read_parquet(folder / f"{other}.{view}.out.parquet").drop_nulls(FEATURES[0])
            if not ours.equals(found.select(ours.columns).cast(ours.schema).sort(key, CUT)):
                raise AssertionError(f"{other} and the product disagree about {view}")


if __name__ == "__main__":
    main()
