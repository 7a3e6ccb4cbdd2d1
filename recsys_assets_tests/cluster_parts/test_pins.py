"""What is pinned fits together, and another pin is another binary.

Here: go.mod files and the digest over them. Not here: building.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster import versions
from cluster.build import build_record, find_go, is_built
from cluster.errors import MissingError
from cluster.versions import ALL_TOOLS, APISERVER, GO_MODULES, PAUSE, pinned_version


def test_every_tool_is_pinned_to_a_version_and_to_the_digests_of_its_dependencies() -> None:
    for tool in ALL_TOOLS:
        assert tool.version == "own" or re.match(r"v\d+\.\d+\.\d+", tool.version), tool.name
        assert (GO_MODULES / tool.folder / "go.sum").stat().st_size > 0 or tool is PAUSE, tool.name


def test_all_staging_modules_have_the_version_that_was_published_with_kubernetes() -> None:
    text = (GO_MODULES / "kubernetes" / "go.mod").read_text(encoding="utf-8")
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, re.MULTILINE)
    wanted = APISERVER.version.replace("v1.", "v0.", 1)
    assert len(replaced) > 30
    assert {(old == new, version) for old, new, version in replaced} == {(True, wanted)}


def test_a_module_that_go_mod_does_not_require_is_named() -> None:
    with pytest.raises(ValueError, match=r"go/etcd/go\.mod does not require k8s\.io/kubernetes"):
        pinned_version("etcd", "k8s.io/kubernetes")


def test_a_binary_of_another_pin_counts_as_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CLUSTER_CACHE", str(tmp_path))
    assert not is_built(PAUSE)
    PAUSE.path.parent.mkdir()
    PAUSE.path.write_bytes(b"binary")
    record = PAUSE.path.with_name(f"{PAUSE.path.name}.json")
    record.write_text(f'{{"digest": "{PAUSE.digest}"}}', encoding="utf-8")
    assert is_built(PAUSE)
    record.write_text('{"digest": "another"}', encoding="utf-8")
    assert not is_built(PAUSE)


def test_a_binary_without_a_record_counts_as_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_CLUSTER_CACHE", str(tmp_path))
    PAUSE.path.parent.mkdir()
    PAUSE.path.write_bytes(b"binary")
    assert build_record(PAUSE) == {}
    assert not is_built(PAUSE)


def test_an_older_go_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go version go1.25.1 linux/amd64\n", encoding="utf-8")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingError, match=r"Go 1\.26 or newer is needed .* is go version go1\.25\.1"):
        find_go()


def test_the_cache_stands_outside_the_repository() -> None:
    assert Path(versions.__file__).parents[1] not in versions.cache_folder().parents
