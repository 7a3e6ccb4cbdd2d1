"""Signed bundles kept in one place for everybody: what such a store does, its errors and limits, and one in a folder.

Here: the Protocol, and bundles on a disk. Not here: bundles on S3 (bundle_s3.py), or what makes a bundle trustworthy
(signing.py, serving/attestation.py): whoever fetches one verifies it before anything of it is parsed.

A version is written once and is there as a whole or not at all. Its attestation stands beside it, and may change.
"""

from __future__ import annotations

import filecmp
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from recsys_assets.errors import UserFacingError
from recsys_assets.signing import (
    ATTESTATION_SUFFIX,
    MANIFEST,
    SIGNATURE,
    BundleRefused,
    UnsignedBundle,
    verify_bundle,
    write_aside,
)
from recsys_assets.store_settings import StoreSettings

S3_SCHEME: Final = "s3://"
# A name that can leave no folder, on any system, and hides from no listing.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,62}")


class StoreError(UserFacingError):
    """The store did not do it; the message says where and why. It says nothing about any bundle."""


class StoreUnavailable(StoreError):  # noqa: N818
    """The store did not answer, or not in time, however often it was asked."""


class StoreDenied(StoreError):  # noqa: N818
    """The store refuses these credentials, or this way of asking."""


class VersionStands(StoreError):  # noqa: N818
    """Another bundle stands under this version already, and a version is written once."""


class NoSuchBundle(BundleRefused):
    """There is no bundle of this version, or only the beginning of one."""


class UnsafeBundle(BundleRefused):
    """What the store holds would not stay within its folder, or within its limits."""


@dataclass(frozen=True)
class Limits:
    """What a fetched bundle may be at the most; our own have some twenty files and a hundred megabytes."""

    files: int = 256
    bytes: int = 2 << 30
    seconds: float = 120.0


@runtime_checkable
class BundleStore(Protocol):
    """Bundles by version. Every call may raise StoreUnavailable and StoreDenied."""

    def put(self, version: str, bundle: Path) -> None:
        """Keep a signed bundle. Done where exactly it stands there already; VersionStands where another does."""

    def put_attestation(self, version: str, attestation: Path) -> None:
        """Keep what the gates said of this version, in the place of what they said before."""

    def get(self, version: str, into: Path) -> Path:
        """Fetch bundle and attestation into a folder; returns `into/<version>`. Nothing of it was verified.

        Raises NoSuchBundle, and UnsafeBundle before anything was written outside of it or beyond the limits.
        """

    def versions(self) -> list[str]:
        """The versions that are there as a whole."""

    def uri(self, version: str) -> str:
        """Where the version stands, as a model server is told."""


class FolderStore:
    """Bundles below one folder of a disk."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self._root, self._limits = root, limits or Limits()

    def put(self, version: str, bundle: Path) -> None:
        files, target = bundle_files(bundle), self._root / checked_version(version)
        if target.exists():
            self._require_same(target, bundle, files)
            return
        self._root.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=self._root, prefix=f".draft-{version}-"))
        try:
            for name in files:
                shutil.copyfile(bundle / name, draft / name)
            draft.chmod(0o755)
            draft.rename(target)
        except OSError as failed:
            if not target.exists():
                raise StoreUnavailable(f"{target}: {failed.strerror}") from failed
            self._require_same(target, bundle, files)  # somebody else was quicker
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def put_attestation(self, version: str, attestation: Path) -> None:
        target = self._root / (checked_version(version) + ATTESTATION_SUFFIX)
        write_aside(target, attestation.read_bytes(), mode=0o644)

    def get(self, version: str, into: Path) -> Path:
        source, target = self._root / checked_version(version), into / version
        if not all((source / name).is_file() for name in (MANIFEST, SIGNATURE)):
            raise NoSuchBundle(f"{source}: no bundle stands there")
        sizes = {path.name: path.lstat().st_size for path in source.iterdir() if path.is_file()}
        check_listing(str(source), sizes, self._limits)
        target.mkdir(parents=True)
        for name in sizes:
            shutil.copyfile(source / name, target / name, follow_symlinks=False)
        attestation = self._root / (version + ATTESTATION_SUFFIX)
        if attestation.is_file():
            shutil.copyfile(attestation, into / attestation.name)
        return target

    def versions(self) -> list[str]:
        return sorted(path.parent.name for path in self._root.glob(f"[!.]*/{MANIFEST}"))

    def uri(self, version: str) -> str:
        return str(self._root / version)

    @staticmethod
    def _require_same(target: Path, bundle: Path, files: list[str]) -> None:
        if not _same(target, bundle, files):
            raise VersionStands(f"{target}: another bundle stands there; a version is written once")


def open_bundles(stores: StoreSettings) -> BundleStore:
    """The store that the settings name. Without one, bundles stay where they were made, and servers read them there."""
    if stores.bundles is None:
        raise ValueError("stores.bundles names no store")
    from recsys_assets.bundle_s3 import S3Store

    return S3Store(stores.bundles, endpoint_url=stores.s3.endpoint_url, region=stores.s3.region)


def verified(store: BundleStore, version: str, into: Path, *, public: Path, digest: str | None = None) -> Path:
    """Fetch one version and verify it; BundleRefused, and its files are gone, unless it is genuine."""
    folder = store.get(version, into)
    try:
        verify_bundle(folder, public, digest=digest)
    except BundleRefused:
        shutil.rmtree(folder)
        raise
    return folder


def bundle_files(bundle: Path) -> list[str]:
    """The names in a bundle folder in the order in which they must appear: the manifest last, as it says "whole"."""
    for name in (SIGNATURE, MANIFEST):
        if not (bundle / name).is_file():
            raise UnsignedBundle(f"{bundle / name}: missing, so this is no signed bundle")
    rest = sorted(path.name for path in bundle.iterdir() if path.name not in {SIGNATURE, MANIFEST})
    for name in rest:
        if not _NAME.fullmatch(name) or (bundle / name).is_symlink() or not (bundle / name).is_file():
            raise UnsafeBundle(f"{bundle / name}: must be a plain file with a plain name")
    return [*rest, SIGNATURE, MANIFEST]


def checked_version(version: str) -> str:
    """The version, if it can be the name of a folder; UnsafeBundle else."""
    if not _VERSION.fullmatch(version):
        raise UnsafeBundle(f"{version[:80]!r}: not the name of a version")
    return version


def check_listing(where: str, sizes: dict[str, int], limits: Limits) -> None:
    """UnsafeBundle unless these names stay within a folder and these sizes within the limits."""
    if len(sizes) > limits.files:
        raise UnsafeBundle(f"{where}: holds more than {limits.files} files")
    for name in sizes:
        if not _NAME.fullmatch(name):
            raise UnsafeBundle(f"{where}: {name[:200]!r} is not the plain name of a file")
    if sum(sizes.values()) > limits.bytes:
        raise UnsafeBundle(f"{where}: is larger than {limits.bytes} bytes")


def _same(standing: Path, bundle: Path, files: list[str]) -> bool:
    """Whether exactly these files stand there."""
    names = {path.name for path in standing.iterdir()}
    return names == set(files) and all(filecmp.cmp(standing / name, bundle / name, shallow=False) for name in files)
