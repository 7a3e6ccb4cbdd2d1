"""How long it takes to read one user's features: our reader and Feast's SDK, over a file and over a real Valkey.

Here: `python -m benchmarks.online_store`. Everything is on one machine and on loopback: a network adds its own round
trip, of which our reader and Feast's make one each. Not here: the model server (serving_latency.py).
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks import harness
from recsys_assets.features.views import USER_VIEW, feature_names
from recsys_assets.features.windows import user_schema
from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.settings import FeatureSettings
from recsys_assets_tests.stores.servers import valkey

USERS, READS, WARM = 5_000, 1_000, 100
TIMEOUT_MS = 1_000.0
SETTINGS = FeatureSettings()


def rows() -> pl.DataFrame:
    """Users with full lists of recent items: the largest rows there are."""
    schema = {name: dtype for name, dtype in user_schema(SETTINGS).items() if name != "day"}
    drawn, known_until = random.Random(7), datetime(2024, 1, 31, tzinfo=UTC)
    numbers = {
        name: [drawn.randrange(1_000) for _ in range(USERS)] if dtype == pl.Int64 else [drawn.random()] * USERS
        for name, dtype in schema.items()
        if dtype in (pl.Int64, pl.Float64)
    }
    items = [f"item{n:06d}" for n in range(SETTINGS.recent_items)]
    times = [known_until.timestamp() - n for n in range(SETTINGS.recent_items)]
    lists = {"recent_items": [items] * USERS, "recent_times": [times] * USERS}
    ids = [f"user{n:07d}" for n in range(USERS)]
    frame = pl.DataFrame({"user_id": ids, "event_time": [known_until] * USERS, **numbers, **lists}, strict=False)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def read_times(read: Callable[[str], object]) -> tuple[list[float], list[float]]:
    """p50 and p99 in milliseconds of each repeat, over users drawn at random."""
    drawn = random.Random(11)
    p50s, p99s = [], []
    for _ in range(WARM):
        read(f"user{drawn.randrange(USERS):07d}")
    for _ in range(harness.MIN_REPEATS):
        times = []
        for _ in range(READS):
            user = f"user{drawn.randrange(USERS):07d}"
            began = time.perf_counter()
            found = read(user)
            times.append((time.perf_counter() - began) * 1_000)
            assert found is not None
        times.sort()
        p50s.append(times[READS // 2])
        p99s.append(times[READS * 99 // 100])
    return p50s, p99s


def measured(store: FeatureStoreResource, frame: pl.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Ours and Feast's figures over one store, after filling it."""
    store.apply()
    began = time.perf_counter()
    store.write_online(USER_VIEW, frame)
    rate = USERS / (time.perf_counter() - began)
    reader, feast = store.reader(), store._store()
    names = [f"{USER_VIEW}:{name}" for name in feature_names(USER_VIEW, SETTINGS)]
    ours = _figures(lambda user: reader.read_user(user, TIMEOUT_MS))
    theirs = _figures(lambda user: feast.get_online_features(names, [{"user_id": user}]).to_dict())
    return {**ours, "written_through_feast_rows_per_second": round(rate, 1)}, theirs


def _figures(read: Callable[[str], object]) -> dict[str, float]:
    p50s, p99s = read_times(read)
    return {
        **harness.Interval.of(p50s).figures("p50", "ms", 3),
        **harness.Interval.of(p99s).figures("p99", "ms", 3),
    }


def main() -> int:
    frame, shared = rows(), {"windows_days": list(SETTINGS.windows_days), "recent_items": SETTINGS.recent_items}
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as server:
        ours, theirs = measured(FeatureStoreResource(home=f"{folder}/v", online=server.address(), **shared), frame)
        file_ours, file_theirs = measured(FeatureStoreResource(home=f"{folder}/f", **shared), frame)
    figures = {f"valkey_{name}": value for name, value in ours.items()}
    figures |= {f"sqlite_{name}": value for name, value in file_ours.items()}
    about = {"users_count": USERS, "reads_count": READS, "recent_items_count": SETTINGS.recent_items}
    peers = {"Feast SDK on Valkey": theirs, "Feast SDK on SQLite": file_theirs}
    harness.write("online_store", command="python -m benchmarks.online_store", figures=figures | about, peers=peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
