"""The local manifest store: SQLite, one file, safe for many processes, whole after a kill at any point.

Here: compare-and-swap, generations, status documents and the ports given to instances. Not here: making any of it real.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from recsys_assets.platform.interface import (
    ANY,
    AnyVersion,
    Conflict,
    Expected,
    Invalid,
    Manifest,
    NotFound,
    ServiceStatus,
    Unavailable,
)
from recsys_assets.platform.validation import check_manifest
from recsys_assets.settings import Settings

# `revision` is one counter for the whole store, as in etcd, so that a resourceVersion is never used twice.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 0);
CREATE TABLE IF NOT EXISTS objects (kind TEXT, name TEXT, manifest TEXT NOT NULL, resource_version INTEGER NOT NULL,
  generation INTEGER NOT NULL, uid TEXT NOT NULL, created TEXT NOT NULL, status TEXT NOT NULL,
  PRIMARY KEY (kind, name));
CREATE TABLE IF NOT EXISTS instances (uid TEXT, generation INTEGER, service TEXT NOT NULL,
  port INTEGER NOT NULL UNIQUE, PRIMARY KEY (uid, generation));
"""
_SERVER_SET = ("resourceVersion", "generation", "uid", "creationTimestamp")
NOT_WATCHED = "the platform is not running, so nobody looks at this object"


def open_store(settings: Settings) -> ManifestStore:
    """The store of this home. Its status is believed only while a reconciler looks."""
    lock = settings.path("platform", "watching.lock")
    return ManifestStore(settings.path("platform", "manifests.db"), watched=lambda: is_locked(lock))


def is_locked(path: Path) -> bool:
    """Whether some living process holds this lock: the kernel lets go of it even at kill -9."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


class ManifestStore:
    """The local Platform. A connection lives for one call, so that threads and forks need no care."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        watched: Callable[[], bool] = lambda: True,
    ) -> None:
        self.path, self._now, self._watched, self._ready = path, now, watched, False

    def get(self, kind: str, name: str) -> Manifest | None:
        with self._transaction(write=False) as db:
            row = db.execute("SELECT * FROM objects WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        return None if row is None else _manifest(row)

    def list(self, kind: str) -> list[Manifest]:
        with self._transaction(write=False) as db:
            rows = db.execute("SELECT * FROM objects WHERE kind = ? ORDER BY name", (kind,)).fetchall()
        return [_manifest(row) for row in rows]

    def apply(self, manifest: Manifest, *, expected: Expected) -> Manifest:
        kind, name = check_manifest(manifest)
        document = _document(kind, name, manifest)
        with self._transaction(write=True) as db:
            old = _expect(db, kind, name, expected)
            if old is not None and old["manifest"] == document:
                return _manifest(old)
            if old is None:
                _insert(db, kind, name, document, self._now())
            else:
                _replace(db, old, document)
            row = db.execute("SELECT * FROM objects WHERE kind = ? AND name = ?", (kind, name)).fetchone()
        return _manifest(row)

    def delete(self, kind: str, name: str, *, expected: str | AnyVersion = ANY) -> bool:
        with self._transaction(write=True) as db:
            if _row(db, kind, name) is None:
                return False
            _expect(db, kind, name, expected)
            _next_revision(db)
            db.execute("DELETE FROM objects WHERE kind = ? AND name = ?", (kind, name))
        return True

    def status(self, kind: str, name: str) -> ServiceStatus:
        found = self.get(kind, name)
        if found is None:
            raise NotFound(kind, name, "there is no such object")
        return status_of(found, watched=self._watched())

    def set_status(self, kind: str, name: str, *, uid: str, status: Mapping[str, Any]) -> bool:
        """Write the status document of exactly this object, not of a namesake that came after it.

        The resourceVersion stays: a status never makes the writer of a spec stale.
        """
        text = json.dumps(status, sort_keys=True)
        with self._transaction(write=True) as db:
            changed = db.execute(
                "UPDATE objects SET status = ? WHERE kind = ? AND name = ? AND uid = ? AND status <> ?",
                (text, kind, name, uid, text),
            )
            return changed.rowcount == 1

    def take_port(self, *, uid: str, generation: int, service: str, ports: range, usable: Callable[[int], bool]) -> int:
        """The port of this instance, remembered; a new instance gets the first one that is free and usable."""
        with self._transaction(write=True) as db:
            given = {row["port"] for row in db.execute("SELECT port FROM instances")}
            row = db.execute(
                "SELECT port FROM instances WHERE uid = ? AND generation = ?", (uid, generation)
            ).fetchone()
            if row is not None:
                return int(row["port"])
            port = next((p for p in ports if p not in given and usable(p)), None)
            if port is None:
                place = f"serving.model_port_first..model_port_last ({ports.start}..{ports.stop - 1})"
                raise Unavailable("InferenceService", service, f"no free port in {place}")
            db.execute("INSERT INTO instances VALUES (?, ?, ?, ?)", (uid, generation, service, port))
        return port

    def instances(self) -> Sequence[dict[str, Any]]:
        """Every instance that has a port: uid, generation, service and port."""
        with self._transaction(write=False) as db:
            rows = db.execute("SELECT * FROM instances ORDER BY service, generation")
            return [dict(row) for row in rows.fetchall()]

    def drop_instance(self, *, uid: str, generation: int) -> None:
        with self._transaction(write=True) as db:
            db.execute("DELETE FROM instances WHERE uid = ? AND generation = ?", (uid, generation))

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        try:
            db = self._connect()
            try:
                db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                yield db
                db.execute("COMMIT")
            finally:
                db.close()
        except sqlite3.Error as broken:
            raise Unavailable("store", str(self.path), str(broken)) from broken

    def _connect(self) -> sqlite3.Connection:
        if not self._ready:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None)
        db.row_factory = sqlite3.Row
        if not self._ready:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")
            self._ready = True
        return db


class Changes:
    """Tells whether another process wrote to the store since the last question, for the price of one page read."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        self._seen = -1

    def seen_one(self) -> bool:
        before, self._seen = self._seen, int(self._db.execute("PRAGMA data_version").fetchone()[0])
        return self._seen != before

    def close(self) -> None:
        self._db.close()


def status_of(manifest: Manifest, *, watched: bool = True) -> ServiceStatus:
    """The status document of a manifest, read with suspicion: only the present generation can be ready."""
    generation = int(manifest["metadata"]["generation"])
    status = manifest.get("status") or {}
    observed, ready = int(status.get("observedGeneration", 0)), bool(status.get("ready", False))
    reason = str(status.get("reason", "not looked at yet"))
    if observed != generation:
        ready, reason = False, f"generation {generation} is not observed yet (observed: {observed})"
    if not watched:
        ready, reason = False, NOT_WATCHED
    weights = MappingProxyType({str(k): int(v) for k, v in status.get("weights", {}).items()})
    return ServiceStatus(ready, generation, observed, status.get("url"), reason, weights)


def _document(kind: str, name: str, manifest: Manifest) -> str:
    """The part that a writer owns, as canonical JSON."""
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in _SERVER_SET}
    owned = {k: v for k, v in manifest.items() if k != "status"} | {"metadata": metadata}
    try:
        return json.dumps(owned, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as broken:
        raise Invalid(kind, name, "(top)", f"must be JSON: {broken}") from None


def _manifest(row: sqlite3.Row) -> Manifest:
    manifest: Manifest = json.loads(row["manifest"])
    manifest["metadata"] |= {
        "resourceVersion": str(row["resource_version"]),
        "generation": row["generation"],
        "uid": row["uid"],
        "creationTimestamp": row["created"],
    }
    manifest["status"] = json.loads(row["status"])
    return manifest


def _row(db: sqlite3.Connection, kind: str, name: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("SELECT * FROM objects WHERE kind = ? AND name = ?", (kind, name)).fetchone()
    return row


def _expect(db: sqlite3.Connection, kind: str, name: str, expected: Expected) -> sqlite3.Row | None:
    row = _row(db, kind, name)
    if expected is ANY:
        return row
    if expected is None and row is not None:
        raise Conflict(kind, name, f"exists already (resourceVersion {row['resource_version']})")
    if expected is not None and row is None:
        raise Conflict(kind, name, f"resourceVersion {expected} was expected, but the object is gone")
    if row is not None and str(row["resource_version"]) != expected:
        raise Conflict(kind, name, f"resourceVersion {expected} was expected, {row['resource_version']} stands there")
    return row


def _next_revision(db: sqlite3.Connection) -> int:
    return int(db.execute("UPDATE revision SET value = value + 1 RETURNING value").fetchone()[0])


def _insert(db: sqlite3.Connection, kind: str, name: str, document: str, at: datetime) -> None:
    created = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    db.execute(
        "INSERT INTO objects VALUES (?, ?, ?, ?, 1, ?, ?, '{}')",
        (kind, name, document, _next_revision(db), str(uuid.uuid4()), created),
    )


def _replace(db: sqlite3.Connection, old: sqlite3.Row, document: str) -> None:
    bump = json.loads(old["manifest"]).get("spec") != json.loads(document).get("spec")
    db.execute(
        "UPDATE objects SET manifest = ?, resource_version = ?, generation = generation + ? WHERE uid = ?",
        (document, _next_revision(db), int(bump), old["uid"]),
    )
