"""A model server that must not start says why and exits with 3, before anything in the bundle is parsed.

Here: real processes over spoilt bundles. Not here: the signature's own rules (test_signing.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from recsys_assets.recommender.bundle import GOLDEN, MANIFEST, Manifest, bundle_digest, sha256
from recsys_assets.signing import sign_bundle
from recsys_assets_tests.serving.bundles import attested
from recsys_assets_tests.serving.processes import command, free_port
from recsys_assets_tests.waiting import HANG_SECONDS


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "bundles" / "3", tmp_path / "3")
    shutil.copy(home / "bundles" / "3.attestation.json", tmp_path)
    return tmp_path / "3"


def refusal(home: Path, bundle: Path, *arguments: str) -> dict[str, str]:
    started = command("server", "--bundle", bundle, "--home", home, "--port", str(free_port()), *arguments)
    ended = subprocess.run(started, capture_output=True, timeout=HANG_SECONDS, check=False)
    assert ended.returncode == 3, ended.stderr
    said: dict[str, str] = json.loads(ended.stderr.splitlines()[-1])
    return said


def test_a_tampered_bundle_is_refused_before_lightgbm_parses_it(home: Path, copied: Path) -> None:
    # LightGBM would die or raise on this; the refusal names the signature instead.
    (copied / "ranker.0.txt").write_bytes(b"tree\n\x00num_leaves=999999999\n")
    said = refusal(home, copied)
    assert said["refused"] == "TamperedBundle"
    assert "ranker.0.txt" in said["reason"]


def test_another_version_than_the_manifest_asks_for_is_refused(home: Path, copied: Path) -> None:
    assert refusal(home, copied, "--digest", "0" * 64)["refused"] == "WrongBundle"


def test_a_bundle_whose_golden_answers_this_machine_does_not_give_is_refused(home: Path, copied: Path) -> None:
    golden = json.loads((copied / GOLDEN).read_text())
    golden[0]["scores"][0] += 0.01
    sign_with(home, copied, GOLDEN, json.dumps(golden))
    said = refusal(home, copied)
    assert said["refused"] == "UnusableBundle"
    assert "golden request 0" in said["reason"]


def test_a_ranker_that_was_fitted_on_other_features_is_refused(home: Path, copied: Path) -> None:
    ranker = (copied / "ranker.0.txt").read_text()
    sign_with(home, copied, "ranker.0.txt", ranker.replace("feature_names=", "feature_names=x_", 1))
    said = refusal(home, copied)
    assert said["refused"] == "UnusableBundle"
    assert "features differ" in said["reason"]


def sign_with(home: Path, bundle: Path, name: str, content: str) -> None:
    """Change a file and make everything around it right again, as a mistaken but genuine build would."""
    (bundle / name).write_text(content)
    manifest = Manifest.model_validate_json((bundle / MANIFEST).read_bytes())
    files = {**manifest.files, name: sha256(bundle / name)}
    (bundle / MANIFEST).write_text(manifest.model_copy(update={"files": files}).model_dump_json())
    sign_bundle(bundle, home / "keys")
    attested(bundle, home / "keys", digest=bundle_digest(bundle))
