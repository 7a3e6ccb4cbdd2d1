"""A bundle is written once, and anything that is not exactly what its manifest says is refused by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from recsys_assets.recommender.bundle import (
    MANIFEST,
    SIGNATURE,
    BundleError,
    bundle_digest,
    check_bundle,
    read_golden,
    write_bundle,
)
from recsys_assets.recommender.recommender import Recommender
from recsys_assets_tests.recommender.world import recommender

EXTRA = {"table_versions": {"interactions": 4}, "note": "ü"}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "7"
    write_bundle(recommender(), folder, model_name="recommender", version="7", extra=EXTRA)
    return folder


@pytest.fixture
def bundle(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "7"))


def test_a_fresh_bundle_passes_and_says_what_it_is(bundle):
    manifest = check_bundle(bundle)
    assert (manifest.model, manifest.version, manifest.table_versions) == ("recommender", "7", {"interactions": 4})
    assert manifest.extra == {"note": "ü"}
    assert manifest.feature_names == recommender().feature_names


def test_the_same_recommender_gives_the_same_digest(bundle, tmp_path):
    digest = write_bundle(recommender(), tmp_path / "again", model_name="recommender", version="7", extra=EXTRA)
    assert digest == bundle_digest(bundle)


def test_golden_requests_are_answered_the_same_after_loading(bundle):
    loaded, golden = Recommender.load(bundle), read_golden(bundle)
    assert len(golden) >= 8
    assert any(not request.recent_items for request in golden)
    for request in golden:
        answer = loaded.recommend(request.profile(), k=request.k)
        assert (answer.items, answer.scores) == (request.items, request.scores)


def test_a_flipped_byte_anywhere_in_any_file_is_refused_by_name(bundle):
    names = sorted(path.name for path in bundle.iterdir() if path.name != MANIFEST)
    for name in names:
        content = (bundle / name).read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 1
            (bundle / name).write_bytes(changed)
            with pytest.raises(BundleError, match=f"{re.escape(name)}: changed"):
                check_bundle(bundle)
        (bundle / name).write_bytes(content)
    check_bundle(bundle)


def test_a_missing_file_is_refused_by_name(bundle):
    for path in sorted(bundle.iterdir()):
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(BundleError, match=f"{re.escape(path.name)}: missing"):
            check_bundle(bundle)
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["extra.npy", ".hidden", "model.pkl"])
def test_an_extra_file_is_refused_by_name(bundle, name):
    (bundle / name).write_bytes(b"")
    with pytest.raises(BundleError, match=f"{re.escape(name)}: extra"):
        check_bundle(bundle)


def test_the_signature_may_stand_beside(bundle):
    (bundle / SIGNATURE).write_bytes(b"signature")
    check_bundle(bundle)


def test_a_link_is_no_file_even_with_the_right_content(bundle, tmp_path):
    target = tmp_path / "elsewhere"
    shutil.move(bundle / "items.npy", target)
    (bundle / "items.npy").symlink_to(target)
    with pytest.raises(BundleError, match=r"items\.npy: must be a plain file"):
        check_bundle(bundle)


def test_a_manifest_cannot_point_out_of_the_folder(bundle, tmp_path):
    (tmp_path / "outside").write_bytes(b"x")
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"]["../outside"] = "0" * 64
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"\.\./outside: missing"):
        check_bundle(bundle)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"model": "m"}', "\x00"])
def test_a_broken_manifest_is_refused(bundle, text):
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="not a manifest"):
        check_bundle(bundle)


def test_a_changed_manifest_has_another_digest(bundle):
    before = bundle_digest(bundle)
    (bundle / MANIFEST).write_text((bundle / MANIFEST).read_text().replace('"7"', '"8"'))
    assert bundle_digest(bundle) != before


def test_a_bundle_is_never_written_over_another(bundle):
    with pytest.raises(BundleError, match="written once"):
        write_bundle(recommender(), bundle, model_name="recommender", version="8")


def test_there_is_no_pickle_in_a_bundle(bundle):
    assert {path.suffix for path in bundle.iterdir()} <= {".npy", ".json", ".parquet", ".txt"}
