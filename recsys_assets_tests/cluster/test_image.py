"""The image that was built runs as a node runs it: as user 10001, on a root that cannot be written, and does its work.

Here: its entry points, by runc on the image's own files. Not here: pods (test_story.py). `make image` builds it; a test
here builds what is missing, and fails, naming it, where buildah or root is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from image.base import present
from image.build import build, image_name
from image.run import USER, Rootfs, mounted
from recsys_assets.bundle_s3 import S3Store
from recsys_assets.serving.attestation import attestation_path
from recsys_assets_tests.serving.bundles import signed_bundle
from recsys_assets_tests.serving.processes import free_port
from recsys_assets_tests.stores.servers import S3

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3_600)]
READY_SECONDS = 300.0
HOME = "/var/lib/recsys"


@pytest.fixture(scope="module", params=["all", "server"])
def image(request: pytest.FixtureRequest) -> Iterator[Rootfs]:
    """The files of each target."""
    if os.geteuid() or not shutil.which("buildah") or not shutil.which("runc"):
        pytest.fail("needs root, buildah and runc (packages of Debian)", pytrace=False)
    name = f"localhost/{image_name(request.param)}"
    if not present(name):
        build(request.param)
    with mounted(name) as files:
        yield files


@pytest.fixture
def home() -> Iterator[Path]:
    """A shared volume as a pod sees it: user 10001's own. Not below pytest's folders, which are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="recsys-home-"))
    yield made
    shutil.rmtree(made)


def hand_over(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, USER)


@contextmanager
def listening(
    image: Rootfs, command: list[str], port: int, home: Path, path: str, **more: object
) -> Iterator[httpx.Client]:
    """A container that answers."""
    url = f"http://127.0.0.1:{port}"
    with (
        image.start(command, folders={home: HOME}, **more) as process,  # type: ignore[arg-type]
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(client, path):
            if process.poll() is not None:
                pytest.fail(f"it ended with {process.returncode}: {process.communicate()}")
            assert time.monotonic() < deadline, "not ready in time"
            time.sleep(0.05)
        yield client


def _answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code < 500
    except httpx.TransportError:
        return False


def test_it_is_user_10001_and_its_root_cannot_be_written(image: Rootfs) -> None:
    script = "id -u; for f in / /opt/recsys/bin /etc; do touch $f/x 2>/dev/null && echo $f; done; touch /tmp/x"
    done = image.run(["sh", "-c", script], seconds=60)
    assert (done.returncode, done.stdout.split()) == (0, [str(USER)])


def test_there_is_no_compiler_and_no_installer_in_it(image: Rootfs) -> None:
    tools = ["gcc", "cc", "g++", "make", "pip", "pip3", "uv"]
    done = image.run(["sh", "-c", f"for t in {' '.join(tools)}; do command -v $t; done; true"], seconds=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_our_code_and_its_libraries_are_compiled_beforehand(image: Rootfs) -> None:
    site = image.folder / "opt/recsys/lib/python3.11/site-packages"
    for package in ("recsys_assets", "numpy", "polars", "fastapi"):
        sources = [path for path in (site / package).rglob("*.py") if "-" not in path.name]
        without = [
            path for path in sources if not (path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc").exists()
        ]
        assert sources
        assert without == []


@pytest.mark.parametrize(
    "command",
    [
        ["recsys-assets", "--help"],
        ["python", "-m", "recsys_assets.serving.server", "--help"],
        ["python", "-m", "recsys_assets.serving.collector", "--help"],
        ["python", "-c", "import recsys_assets.rollout.guard, recsys_assets.notifications.notifier"],
    ],
)
def test_the_entry_points_of_every_server_start(image: Rootfs, command: list[str]) -> None:
    done = image.run(command, seconds=120)
    assert done.returncode == 0, done.stderr


def test_the_model_server_fetches_from_s3_answers_and_writes_its_exposures_to_the_shared_volume(
    image: Rootfs, bucket: str, s3_server: S3, home: Path, tmp_path: Path
) -> None:
    digest = signed_bundle(tmp_path / "3", tmp_path / "keys")
    shutil.copytree(tmp_path / "keys", home / "keys", ignore=shutil.ignore_patterns("*.key"))
    hand_over(home)
    store = S3Store(bucket)
    store.put("3", tmp_path / "3")
    store.put_attestation("3", attestation_path(tmp_path / "3"))
    port = free_port()
    command = [
        "python",
        "-m",
        "recsys_assets.serving.server",
        "--bundle",
        store.uri("3"),
        "--bundle-cache",
        "/tmp/bundle",
    ]
    command += ["--home", HOME, "--port", str(port), "--digest", digest, "--replica", "pod-a"]
    with listening(image, command, port, home, "/v2/health/ready", environment=s3_server.environment) as client:
        body = {"instances": [{"user_id": "u01", "k": 5}]}
        answer = client.post("/v1/models/recommender:predict", json=body, headers={"x-user-id": "u01"})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"][0]["items"]) == 5
    (line,) = (home / "logs" / "exposures" / "pod-a.jsonl").read_text().splitlines()
    assert json.loads(line)["user_id"] == "u01"


def test_a_spoilt_bundle_is_refused_with_the_reason(
    image: Rootfs, bucket: str, s3_server: S3, home: Path, tmp_path: Path
) -> None:
    signed_bundle(tmp_path / "3", tmp_path / "keys")
    (tmp_path / "3" / "ranker.0.txt").write_text("tree\n")
    shutil.copytree(tmp_path / "keys", home / "keys", ignore=shutil.ignore_patterns("*.key"))
    hand_over(home)
    store = S3Store(bucket)
    store.put("3", tmp_path / "3")
    command = [
        "python",
        "-m",
        "recsys_assets.serving.server",
        "--bundle",
        store.uri("3"),
        "--bundle-cache",
        "/tmp/bundle",
    ]
    command += ["--home", HOME, "--port", "1"]
    done = image.run(command, seconds=120, folders={home: HOME}, environment=s3_server.environment)
    assert done.returncode == 3
    assert json.loads(done.stderr.splitlines()[-1])["refused"] == "TamperedBundle"


def test_the_code_location_loads_its_definitions_and_the_server_target_has_no_dagster(
    image: Rootfs, home: Path, request: pytest.FixtureRequest
) -> None:
    hand_over(home)
    load = "import recsys_assets.definitions as d; print(len(list(d.defs.resolve_asset_graph().get_all_asset_keys())))"
    done = image.run(["python", "-c", load], seconds=300, folders={home: HOME})
    if request.node.callspec.params["image"] == "server":
        assert "No module named 'dagster'" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10


def test_a_guard_without_anything_to_guard_says_so_and_goes_on(image: Rootfs, home: Path) -> None:
    """It starts on an empty volume, as the first thing that a chart starts."""
    hand_over(home)
    with image.start(["python", "-m", "recsys_assets.rollout.guard"], folders={home: HOME}) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=30)
        assert process.poll() is None
