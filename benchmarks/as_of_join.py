"""The product's as-of join against Feast's own (DuckDB store) and against a bare Polars join_asof, on the same files.

Here: the data, one process per measurement, the interleaving, and that all three give equal values. Each measurement
reads the Parquet files of both views and joins them to the entity rows; imports are not counted. Run it from the
project's root: `python -m benchmarks.as_of_join`, some five minutes on two cores.
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
from recsys_assets.features.as_of_join import FEATURE_TIME, join_as_of
from recsys_assets.features.views import ITEM_VIEW, KEYS, USER_VIEW, feature_names, offline_path
from recsys_assets.features.windows import item_schema, user_schema
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.settings import FeatureSettings

SETTINGS = FeatureSettings(recent_items=10)
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 100
PREFIXES = {USER_VIEW: "user_", ITEM_VIEW: "item_"}
# Runs inside one process: the quick ones need several for a steady median.
INNER = {"product": 5, "polars": 5, "feast": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000, help="entity rows")
    parser.add_argument("--users", type=int, default=20_000, help="users, with 10 feature rows each")
    parser.add_argument("--items", type=int, default=8_000, help="items, with 100 feature rows each")
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
    rows = make_data(folder, rows=asked.rows, users=asked.users, items=asked.items)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in INNER}
    for repeat in range(asked.repeats):
        for kind in INNER:
            found[kind].append(in_a_process(kind, folder))
            print(f"repeat {repeat + 1} {kind}: {found[kind][-1]}", flush=True)
        assert_equal(folder)
    seconds = {kind: harness.Interval.of([one["seconds"] for one in runs]) for kind, runs in found.items()}
    peaks = {kind: harness.Interval.of([one["peak_mib"] for one in runs]) for kind, runs in found.items()}
    about = {
        kind: seconds[kind].figures("join", "seconds") | peaks[kind].figures("peak", "mib", digits=1) for kind in INNER
    }
    ratios = {
        "feast_over_product_wall_ratio": ratio(found, "feast", "product", "seconds"),
        "feast_over_product_peak_memory_ratio": ratio(found, "feast", "product", "peak_mib"),
        "product_over_polars_wall_ratio": ratio(found, "product", "polars", "seconds"),
    }
    lengths = {"entity_count": asked.rows, "repeats_count": asked.repeats} | rows
    command = f"python -m benchmarks.as_of_join --rows {asked.rows} --users {asked.users} --items {asked.items}"
    peers = {"feast_duckdb": about["feast"], "polars_join_asof": about["polars"]}
    harness.write("as_of_join", command=command, figures={**ratios, **about["product"], **lengths}, peers=peers)


def ratio(found: dict[str, list[dict[str, float]]], above: str, below: str, what: str) -> float:
    """Median of the ratios of neighbouring runs, which share what else the machine was doing."""
    pairs = zip(found[above], found[below], strict=True)
    return round(statistics.median(one[what] / other[what] for one, other in pairs), 2)


def make_data(folder: Path, *, rows: int, users: int, items: int) -> dict[str, int]:
    """Feature rows on random days, and entity rows at random moments: some come before any feature row."""
    random = np.random.default_rng(7)
    store(folder).apply()
    sizes = {USER_VIEW: (users, 10), ITEM_VIEW: (items, 100)}
    for view, (entities, each) in sizes.items():
        store(folder).export(view, _view(view, entities, each, random))
    moments = random.integers(0, DAYS * 86_400, rows)
    entity_rows = pl.DataFrame(
        {USER: random.integers(0, users + users // 50, rows), ITEM: random.integers(0, items + items // 50, rows)}
    )
    times = pl.Series(EVENT_TIME, [START + timedelta(seconds=int(s)) for s in moments], dtype=UTC_TIME)
    entity_rows.cast(pl.String).with_columns(times).write_parquet(folder / "rows.parquet")
    return {"user_feature_rows_count": users * 10, "item_feature_rows_count": items * 100}


def _view(view: str, entities: int, each: int, random: np.random.Generator) -> pl.DataFrame:
    schema = user_schema(SETTINGS) if view == USER_VIEW else item_schema(SETTINGS)
    days = np.argsort(random.random((entities, DAYS)), axis=1)[:, :each].ravel()
    n = len(days)
    columns: dict[str, Any] = {KEYS[view]: pl.Series(np.repeat(np.arange(entities), each)).cast(pl.String)}
    columns[EVENT_TIME] = pl.Series([START + timedelta(days=int(day)) for day in days], dtype=UTC_TIME)
    for name in feature_names(view, SETTINGS):
        shape = (n, 5) if isinstance(schema[name], pl.List) else n
        columns[name] = pl.Series(random.integers(0, 1_000, shape))
    frame = pl.DataFrame(columns)
    lists = [pl.col(name).arr.to_list() for name, dtype in schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(lists).cast({name: schema[name] for name in frame.columns})


def store(folder: Path) -> FeatureStoreResource:
    return FeatureStoreResource(
        home=str(folder), windows_days=list(SETTINGS.windows_days), recent_items=SETTINGS.recent_items
    )


def in_a_process(kind: str, folder: Path) -> dict[str, float]:
    """One measurement in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.as_of_join", "--measure", kind, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TQDM_DISABLE": "1"})
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(kind: str, folder: Path) -> dict[str, float]:
    """Seconds (median of the inner runs) and peak memory of the whole process after the first of them."""
    run, seconds = RUNS[kind](folder), []
    peak = 0.0
    for _ in range(INNER[kind]):
        start = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - start)
        peak = peak or peak_mib()
    result.write_parquet(folder / f"{kind}.out.parquet")
    return {"seconds": statistics.median(seconds), "peak_mib": peak}


def peak_mib() -> float:
    """The largest resident size of this program. `ru_maxrss` would start at the size of the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def product(folder: Path) -> Callable[[], pl.DataFrame]:
    rows = pl.read_parquet(folder / "rows.parquet")

    def run() -> pl.DataFrame:
        joined = rows
        for view, key in KEYS.items():
            features = pl.read_parquet(offline_path(folder / "feast", view))
            joined = join_as_of(joined, features, key=key, prefix=PREFIXES[view])
        return joined

    return run


def polars(folder: Path) -> Callable[[], pl.DataFrame]:
    rows = pl.read_parquet(folder / "rows.parquet")

    def run() -> pl.DataFrame:
        joined = rows.sort(EVENT_TIME)
        for view, key in KEYS.items():
            names = {name: PREFIXES[view] + name for name in feature_names(view, SETTINGS)}
            features = pl.read_parquet(offline_path(folder / "feast", view)).rename(names).sort(EVENT_TIME)
            joined = joined.join_asof(features, on=EVENT_TIME, by=key, check_sortedness=False)
        return joined

    return run


def feast(folder: Path) -> Callable[[], pl.DataFrame]:
    import feast as _  # noqa: F401 - imports are not what is measured

    rows, feature_store = pl.read_parquet(folder / "rows.parquet"), store(folder)
    wanted = [f"{view}:{name}" for view in KEYS for name in feature_names(view, SETTINGS)]

    def run() -> pl.DataFrame:
        return feature_store.historical(rows, wanted)

    return run


RUNS = {"product": product, "polars": polars, "feast": feast}


def assert_equal(folder: Path) -> None:
    """The three results, brought to one order of rows and columns and the same names, are the same values."""
    ours = pl.read_parquet(folder / "product.out.parquet")
    ours = ours.drop(prefix + FEATURE_TIME for prefix in PREFIXES.values())
    renamed = {f"{view}__{name}": PREFIXES[view] + name for view in KEYS for name in feature_names(view, SETTINGS)}
    theirs = pl.read_parquet(folder / "feast.out.parquet").rename(renamed).select(ours.columns).cast(ours.schema)
    bare = pl.read_parquet(folder / "polars.out.parquet").select(ours.columns)
    order = [EVENT_TIME, USER, ITEM]
    if not ours.equals(theirs):
        raise AssertionError("Feast and the product disagree")
    if not ours.sort(order).equals(bare.sort(order)):
        raise AssertionError("Polars and the product disagree")


if __name__ == "__main__":
    main()
