"""Bundles are signed, and what is not exactly the signed bundle is refused.

Here: signing.py over real keys. Not here: the server's refusal (test_server_start.py).
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from pathlib import Path

import pytest

from recsys_assets.signing import (
    KeyMissing,
    TamperedBundle,
    UnsignedBundle,
    WrongBundle,
    canonical_base64,
    manifest_digest,
    private_key,
    public_key,
    sign_bundle,
    verify_bundle,
    write_aside,
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


def test_the_private_key_is_its_owners_alone_and_what_is_public_is_everybodys(signed: tuple[Path, Path]) -> None:
    bundle, public = signed
    modes = {path.name: path.stat().st_mode & 0o777 for path in (public.parent, *public.parent.iterdir())}
    assert modes == {"keys": 0o700, "bundle_signing.key": 0o600, "bundle_signing.pub": 0o644}
    assert (bundle / "bundle.sig").stat().st_mode & 0o777 == 0o644


def test_signing_leaves_no_file_open_and_none_beside_the_bundle(signed: tuple[Path, Path]) -> None:
    bundle, public = signed

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    sign_bundle(bundle, public.parent)
    before = files()
    for _ in range(5):
        sign_bundle(bundle, public.parent)
    assert files() == before
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["7", "keys"]


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
    with pytest.raises(TamperedBundle, match=f"7: not the signed content: {re.escape(name)}$"):
        verify_bundle(*signed)


@pytest.mark.parametrize("name", ["more.txt", ".gitattributes", ".hidden"])
def test_a_file_that_was_added_is_refused(signed: tuple[Path, Path], name: str) -> None:
    (signed[0] / name).write_text("x")
    with pytest.raises(TamperedBundle, match=r"7: Signature mismatch: .*Extra files"):
        verify_bundle(*signed)


def test_a_file_that_is_missing_is_refused(signed: tuple[Path, Path]) -> None:
    (signed[0] / "ranker.0.txt").unlink()
    with pytest.raises(TamperedBundle, match=r"7: Signature mismatch: .*Missing files"):
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


def rewritten(signature: Path, **changes: str) -> str:
    """The signature with other words in its envelope, in the form in which it was written."""
    said = json.loads(signature.read_text())
    said["dsseEnvelope"]["signatures"][0] |= changes
    return json.dumps(said, separators=(",", ":"))


def test_the_same_signature_in_another_form_is_refused(signed: tuple[Path, Path]) -> None:
    signature = signed[0] / "bundle.sig"
    assert signature.read_text() == rewritten(signature)
    for other in (rewritten(signature, keyid="x"), json.dumps(json.loads(signature.read_text()), indent=1)):
        signature.write_text(other)
        with pytest.raises(TamperedBundle, match=r"7: bundle\.sig is not in the form"):
            verify_bundle(*signed)


def test_the_same_bytes_in_another_base64_are_refused(signed: tuple[Path, Path]) -> None:
    signature = signed[0] / "bundle.sig"
    sig = json.loads(signature.read_text())["dsseEnvelope"]["signatures"][0]["sig"]
    signature.write_text(rewritten(signature, sig=sig + "===="))
    with pytest.raises(TamperedBundle, match="base64"):
        verify_bundle(*signed)


def test_a_signature_as_long_as_a_book_is_not_read(signed: tuple[Path, Path]) -> None:
    (signed[0] / "bundle.sig").write_text(" " * ((1 << 20) + 1))
    with pytest.raises(TamperedBundle, match=r"7: bundle\.sig is longer than 1048576 bytes"):
        verify_bundle(*signed)


def test_what_is_broken_about_a_signature_is_said_with_its_name(signed: tuple[Path, Path]) -> None:
    (signed[0] / "bundle.sig").write_text("{}")
    with pytest.raises(TamperedBundle, match=r"7: bundle\.sig: 'dsseEnvelope'"):
        verify_bundle(*signed)


@pytest.mark.parametrize(
    ("text", "told"),
    [(5, "must be base64"), ("Q", "is not base64"), ("Q!Q=", "is not base64"), ("QR==", "not the canonical base64")],
)
def test_bytes_have_one_spelling(text: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        canonical_base64(text)
    assert canonical_base64(base64.b64encode(b"A").decode()) == b"A"


def test_a_folder_without_a_manifest_has_no_digest(signed: tuple[Path, Path], tmp_path: Path) -> None:
    assert manifest_digest(tmp_path) is None
    assert manifest_digest(signed[0]) is not None


def test_a_file_is_written_aside_durably_and_only_where_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: kept.append(os.fstat(descriptor).st_size))
    path = tmp_path / "new folder" / "file"
    write_aside(path, b"12345", mode=0o640)
    first = path.stat()
    assert (path.read_bytes(), first.st_mode & 0o777, kept) == (b"12345", 0o640, [5])
    write_aside(path, b"12345", mode=0o640)
    assert path.stat().st_ino == first.st_ino
    write_aside(path, b"other", mode=0o640)
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    assert path.read_bytes() == b"other"


def test_a_signature_by_another_key_is_refused(signed: tuple[Path, Path], tmp_path: Path) -> None:
    sign_bundle(signed[0], tmp_path / "other-keys")
    with pytest.raises(TamperedBundle):
        verify_bundle(*signed)


def test_a_genuine_bundle_of_another_version_is_refused(signed: tuple[Path, Path]) -> None:
    with pytest.raises(WrongBundle, match="was asked for"):
        verify_bundle(*signed, digest="0" * 64)
