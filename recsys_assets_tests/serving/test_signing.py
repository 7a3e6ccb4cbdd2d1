"""Bundles are signed, and what is not exactly the signed bundle is refused.

Here: signing.py over real keys. Not here: the server's refusal (test_server_start.py).
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from recsys_assets.signing import (
    KeyMissing,
    TamperedBundle,
    UnsignedBundle,
    WrongBundle,
    private_key,
    public_key,
    sign_bundle,
    verify_bundle,
)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    bundle, keys = tmp_path / "7", tmp_path / "keys"
    bundle.mkdir()
    (bundle / "manifest.json").write_text('{"version": "7"}')
    (bundle / "ranker.0.txt").write_text("tree")
    sign_bundle(bundle, keys)
    return bundle, public_key(keys)


def test_a_signed_bundle_verifies(signed: tuple[Path, Path]) -> None:
    verify_bundle(*signed)


def test_the_private_key_is_its_owners_alone(signed: tuple[Path, Path]) -> None:
    assert (signed[1].parent / "bundle_signing.key").stat().st_mode & 0o777 == 0o600


def test_two_processes_that_come_at_once_agree_on_one_key(tmp_path: Path) -> None:
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(private_key(tmp_path).read_bytes())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 1
    assert len(seen) == 4


@pytest.mark.parametrize("name", ["ranker.0.txt", "manifest.json"])
def test_a_changed_file_is_refused_by_name(signed: tuple[Path, Path], name: str) -> None:
    (signed[0] / name).write_text("other")
    with pytest.raises(TamperedBundle, match=name):
        verify_bundle(*signed)


@pytest.mark.parametrize("name", ["more.txt", ".gitattributes", ".hidden"])
def test_a_file_that_was_added_is_refused(signed: tuple[Path, Path], name: str) -> None:
    (signed[0] / name).write_text("x")
    with pytest.raises(TamperedBundle, match="Extra files"):
        verify_bundle(*signed)


def test_a_file_that_is_missing_is_refused(signed: tuple[Path, Path]) -> None:
    (signed[0] / "ranker.0.txt").unlink()
    with pytest.raises(TamperedBundle, match="Missing files"):
        verify_bundle(*signed)


def test_a_link_in_place_of_a_file_is_refused(signed: tuple[Path, Path]) -> None:
    (signed[0] / "ranker.0.txt").rename(signed[0].parent / "elsewhere")
    (signed[0] / "ranker.0.txt").symlink_to(signed[0].parent / "elsewhere")
    with pytest.raises(TamperedBundle):
        verify_bundle(*signed)


def test_no_signature_no_key_and_no_folder_are_told_apart(signed: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, public = signed
    with pytest.raises(KeyMissing):
        verify_bundle(bundle, tmp_path / "absent.pub")
    with pytest.raises(UnsignedBundle, match="no such bundle folder"):
        verify_bundle(tmp_path / "absent", public)
    (bundle / "bundle.sig").unlink()
    with pytest.raises(UnsignedBundle, match="no signature"):
        verify_bundle(bundle, public)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"verificationMaterial": {}}', "\xff\xfe"])
def test_a_signature_that_is_no_signature_is_refused(signed: tuple[Path, Path], content: str) -> None:
    (signed[0] / "bundle.sig").write_bytes(content.encode("latin-1"))
    with pytest.raises(TamperedBundle):
        verify_bundle(*signed)


def test_a_signature_by_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    sign_bundle(signed[0], tmp_path / "other-keys")
    with pytest.raises(TamperedBundle):
        verify_bundle(*signed)


def test_a_genuine_bundle_of_another_version_is_refused(signed: tuple[Path, Path]) -> None:
    with pytest.raises(WrongBundle, match="was asked for"):
        verify_bundle(*signed, digest="0" * 64)
