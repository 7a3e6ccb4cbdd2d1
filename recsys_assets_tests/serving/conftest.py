"""One signed bundle for the room's tests, and one model server for each module that asks for it. Also disks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.serving.processes import Running, running


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with keys and the signed bundle of version 3."""
    made = tmp_path_factory.mktemp("home")
    signed_bundle(made / "bundles" / "3", made / "keys")
    return made


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Running]:
    """A model server without an online store."""
    with running("server", "--bundle", home / "bundles" / "3", "--home", home) as started:
        yield started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a feedback log begins."""
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB that can really be full."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk; a failing file stands in for it above")
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here; a failing file stands in for it above")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # also when a test that failed left a file open
