"""The local store's own promises: many processes, kills, clocks, statuses and ports.

Here: what the contract suite does not ask of every platform. Not here: the contract itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.platform.interface import ANY, INFERENCE_SERVICE, VIRTUAL_SERVICE, Conflict, Unavailable
from recsys_assets.platform.local.store import Changes, ManifestStore, is_locked
from recsys_assets_tests.contracts.manifests import inference_service, virtual_service
from recsys_assets_tests.waiting import HANG_SECONDS

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ManifestStore:
    return ManifestStore(tmp_path / "manifests.db", now=lambda: NOON)


def test_the_creation_time_is_the_clocks(store: ManifestStore) -> None:
    applied = store.apply(inference_service("films-v1"), expected=None)
    assert applied["metadata"]["creationTimestamp"] == "2026-01-02T12:00:00Z"


def test_a_status_makes_no_writer_stale(store: ManifestStore) -> None:
    first = store.apply(virtual_service({"films-v1": 10_000}), expected=None)
    uid, seen = first["metadata"]["uid"], first["metadata"]["resourceVersion"]
    assert store.set_status(VIRTUAL_SERVICE, "films", uid=uid, status={"ready": True, "observedGeneration": 1})
    assert store.status(VIRTUAL_SERVICE, "films").ready
    store.apply(virtual_service({"films-v2": 10_000}), expected=seen)


def test_ready_of_an_older_generation_is_not_ready(store: ManifestStore) -> None:
    uid = store.apply(virtual_service({"films-v1": 10_000}), expected=None)["metadata"]["uid"]
    store.set_status(VIRTUAL_SERVICE, "films", uid=uid, status={"ready": True, "observedGeneration": 1})
    store.apply(virtual_service({"films-v2": 10_000}), expected=ANY)
    status = store.status(VIRTUAL_SERVICE, "films")
    assert (status.ready, status.generation, status.observed_generation) == (False, 2, 1)
    assert "generation 2 is not observed yet" in status.reason


def test_ready_without_a_reconciler_is_not_ready(tmp_path: Path) -> None:
    store = ManifestStore(tmp_path / "manifests.db", watched=lambda: is_locked(tmp_path / "nobody.lock"))
    uid = store.apply(inference_service("films-v1"), expected=None)["metadata"]["uid"]
    store.set_status(INFERENCE_SERVICE, "films-v1", uid=uid, status={"ready": True, "observedGeneration": 1})
    status = store.status(INFERENCE_SERVICE, "films-v1")
    assert not status.ready
    assert "not running" in status.reason


def test_a_status_for_a_namesake_that_came_before_is_dropped(store: ManifestStore) -> None:
    old = store.apply(inference_service("films-v1"), expected=None)["metadata"]["uid"]
    store.delete(INFERENCE_SERVICE, "films-v1")
    store.apply(inference_service("films-v1"), expected=None)
    assert not store.set_status(INFERENCE_SERVICE, "films-v1", uid=old, status={"ready": True})
    assert store.get(INFERENCE_SERVICE, "films-v1")["status"] == {}


def test_a_port_is_remembered_and_given_once(store: ManifestStore) -> None:
    def take(uid: str, generation: int) -> int:
        return store.take_port(
            uid=uid, generation=generation, service="films-v1", ports=range(10, 13), usable=lambda port: port != 10
        )

    assert [take("a", 1), take("a", 2), take("a", 1)] == [11, 12, 11]
    with pytest.raises(Unavailable, match=r"no free port in serving.model_port_first..model_port_last \(10..12\)"):
        take("b", 1)
    store.drop_instance(uid="a", generation=1)
    assert take("b", 1) == 11


def test_a_change_by_another_connection_is_seen_once(store: ManifestStore) -> None:
    store.apply(inference_service("films-v1"), expected=None)
    changes = Changes(store.path)
    changes.seen_one()
    assert not changes.seen_one()
    store.apply(inference_service("films-v2"), expected=None)
    assert changes.seen_one()
    assert not changes.seen_one()
    changes.close()


def test_an_unreadable_store_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    (tmp_path / "manifests.db").write_bytes(b"this is no database, but it is long enough to be taken for one" * 50)
    with pytest.raises(Unavailable, match=r"manifests.db"):
        ManifestStore(tmp_path / "manifests.db").list(VIRTUAL_SERVICE)


# Each of several processes increments one annotation by compare-and-swap, 25 times, trying again after a conflict.
INCREMENT = """
import sys
from pathlib import Path
from recsys_assets.platform.interface import Conflict
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets_tests.contracts.manifests import virtual_service

store, done = ManifestStore(Path(sys.argv[1])), 0
while done < 25:
    found = store.get("VirtualService", "films")
    count = int(found["metadata"]["annotations"]["count"]) if found else 0
    wanted = virtual_service({"films-v1": 10_000}, annotations={"count": str(count + 1)})
    try:
        store.apply(wanted, expected=found["metadata"]["resourceVersion"] if found else None)
        done += 1
    except Conflict:
        pass
"""


def test_no_write_of_four_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "manifests.db"
    writers = [subprocess.Popen([sys.executable, "-c", INCREMENT, str(path)]) for _ in range(4)]
    assert [writer.wait(timeout=HANG_SECONDS) for writer in writers] == [0, 0, 0, 0]
    found = ManifestStore(path).get(VIRTUAL_SERVICE, "films")
    assert found is not None
    assert found["metadata"]["annotations"]["count"] == "100"


# Writes forever; the test kills it at some point and then looks at what stands there.
FOREVER = """
import sys
from pathlib import Path
from recsys_assets.platform.interface import ANY
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets_tests.contracts.manifests import virtual_service

store, i = ManifestStore(Path(sys.argv[1])), 0
while True:
    i += 1
    store.apply(virtual_service({f"films-v{i}": 10_000}, annotations={"i": str(i)}), expected=ANY)
    print(i, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "manifests.db"
    writer = subprocess.Popen([sys.executable, "-c", FOREVER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(20):
        writer.stdout.readline()
    writer.kill()
    acknowledged = [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()
    writer.stdout.close()
    found = ManifestStore(path).get(VIRTUAL_SERVICE, "films")
    assert found is not None
    stands = int(found["metadata"]["annotations"]["i"])
    assert stands >= max(acknowledged, default=20)
    assert found["spec"]["http"][0]["route"][0]["destination"]["host"] == f"films-v{stands}"
    assert found["metadata"]["generation"] == stands


# An act: apply version v under an expectation, or delete. `stale` expects the version before the present one.
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["create", "fresh", "stale", "any", "delete"]),
        st.integers(1, 3),
        st.sampled_from(["", "noted"]),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(acts=ACTS)
def test_resource_versions_only_grow_and_generations_count_specs(acts: list[tuple[str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, versions, last = ManifestStore(Path(folder) / "manifests.db"), [0], None
        for act, version, note in acts:
            before = store.get(VIRTUAL_SERVICE, "films")
            if act == "delete":
                assert store.delete(VIRTUAL_SERVICE, "films") is (before is not None)
                last = None
                continue
            now = None if before is None else before["metadata"]["resourceVersion"]
            expected = {"create": None, "fresh": now, "stale": last, "any": ANY}[act]
            wanted = virtual_service({f"films-v{version}": 10_000}, annotations={"note": note})
            if expected is not ANY and expected != now:
                with pytest.raises(Conflict):
                    store.apply(wanted, expected=expected)
                assert store.get(VIRTUAL_SERVICE, "films") == before
                continue
            after = store.apply(wanted, expected=expected)
            same_spec = before is not None and before["spec"] == after["spec"]
            same = same_spec and before["metadata"]["annotations"] == {"note": note}
            written = int(after["metadata"]["resourceVersion"])
            assert written == int(now) if same else written > max(versions)
            old = 0 if before is None else before["metadata"]["generation"]
            assert after["metadata"]["generation"] == old + (0 if same_spec else 1)
            versions.append(written)
            last = now
