"""The gateway pod's log keeper: folders of pods long gone are removed, and an Envoy that is away has not reopened.

Here: one gateway's folder and those beside it. Not here: the moving aside itself (`platform/test_rotation.py`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recsys_assets.platform.kubernetes.log_keeper import remove_abandoned, reopen_by

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def folder(root: Path, pod: str, *, written: datetime) -> Path:
    made = root / pod
    made.mkdir()
    log = made / "access.jsonl"
    log.write_text("{}\n")
    for path in (log, made):
        os.utime(path, (written.timestamp(), written.timestamp()))
    return made


def test_what_a_pod_wrote_that_is_gone_for_longer_than_is_kept_is_removed(tmp_path: Path) -> None:
    old = folder(tmp_path, "old", written=NOW - timedelta(days=15))
    young = folder(tmp_path, "young", written=NOW - timedelta(days=13))
    assert remove_abandoned(tmp_path, tmp_path / "own", older_than=NOW - timedelta(days=14)) == [old]
    assert not old.exists()
    assert young.exists()


def test_a_gateway_that_served_nobody_for_long_keeps_its_own_folder(tmp_path: Path) -> None:
    own = folder(tmp_path, "own", written=NOW - timedelta(days=99))
    assert remove_abandoned(tmp_path, own, older_than=NOW) == []


def test_an_envoy_that_does_not_answer_has_not_reopened() -> None:
    assert reopen_by("http://127.0.0.1:9")() is False
