"""One suite over every store of bundles: in a folder, and on a real S3 server.

Here: written once, whole or absent, bounded, never outside. Not here: a server that fetches (test_bundle_fetch.py).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_assets import bundle_s3
from recsys_assets.bundle_s3 import S3Store
from recsys_assets.bundle_store import (
    BundleStore,
    FolderStore,
    Limits,
    NoSuchBundle,
    StoreDenied,
    StoreUnavailable,
    UnsafeBundle,
    VersionStands,
    bundle_files,
    check_listing,
    open_bundles,
    verified,
)
from recsys_assets.serving.attestation import attestation_path, verify_attestation
from recsys_assets.signing import MANIFEST, SIGNATURE, TamperedBundle, UnsignedBundle, WrongBundle, public_key
from recsys_assets.store_settings import StoreSettings
from recsys_assets_tests.stores.servers import S3, s3

Make = Callable[..., BundleStore]


@pytest.fixture(params=["folder", "s3"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a store of the test's own; called again, it is another client of the same one."""
    if request.param == "folder":
        return lambda limits=None: FolderStore(tmp_path / "store", limits)
    bucket: str = request.getfixturevalue("bucket")
    return lambda limits=None: S3Store(f"{bucket}/team/bundles", limits)


@pytest.fixture
def bundle(home: Path, tmp_path: Path) -> Path:
    """A copy of the signed bundle that the test may spoil, with its attestation beside it."""
    shutil.copytree(home / "bundles" / "3", tmp_path / "made" / "3")
    shutil.copy(attestation_path(home / "bundles" / "3"), tmp_path / "made")
    return tmp_path / "made" / "3"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_put_is_fetched_byte_by_byte_and_verifies(
    make: Make, bundle: Path, home: Path, tmp_path: Path
) -> None:
    make().put("3", bundle)
    make().put_attestation("3", attestation_path(bundle))
    fetched = verified(make(), "3", tmp_path / "into", public=public_key(home / "keys"))
    assert contents(fetched) == contents(bundle)
    assert verify_attestation(fetched, home / "keys" / "release_signing.pub").version == "3"
    assert make().versions() == ["3"]
    assert make().uri("3").endswith("/3")


def test_putting_the_same_bundle_again_changes_nothing(make: Make, bundle: Path) -> None:
    make().put("3", bundle)
    make().put("3", bundle)
    assert make().versions() == ["3"]


def test_a_version_is_written_once(make: Make, bundle: Path, tmp_path: Path) -> None:
    make().put("3", bundle)
    before = contents(bundle)
    (bundle / MANIFEST).write_text("{}")
    with pytest.raises(VersionStands, match="written once"):
        make().put("3", bundle)
    assert contents(make().get("3", tmp_path / "into")) == before


def test_of_writers_that_come_at_once_one_bundle_is_kept_whole(make: Make, bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    (other / MANIFEST).write_text("{}")
    refused: list[Path] = []

    def put(folder: Path) -> None:
        try:
            make().put("3", folder)
        except VersionStands:
            refused.append(folder)

    writers = [threading.Thread(target=put, args=(folder,)) for folder in (bundle, other)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(refused) == 1
    kept = other if refused == [bundle] else bundle
    assert contents(make().get("3", tmp_path / "into")) == contents(kept)


def test_an_attestation_may_be_said_again(make: Make, bundle: Path, tmp_path: Path) -> None:
    make().put("3", bundle)
    make().put_attestation("3", attestation_path(bundle))
    attestation_path(bundle).write_text("newer")
    make().put_attestation("3", attestation_path(bundle))
    assert attestation_path(make().get("3", tmp_path / "into")).read_text() == "newer"


def test_a_bundle_without_an_attestation_is_fetched_without_one(make: Make, bundle: Path, tmp_path: Path) -> None:
    make().put("3", bundle)
    assert not attestation_path(make().get("3", tmp_path / "into")).exists()


def test_a_version_that_is_not_there_is_refused_by_name(make: Make, tmp_path: Path) -> None:
    with pytest.raises(NoSuchBundle, match="/4"):
        make().get("4", tmp_path / "into")
    assert make().versions() == []


@pytest.mark.parametrize("version", ["..", "../3", "/etc", "3/..", "", ".3", "3\n", "a" * 64])
def test_a_version_that_is_no_folders_name_is_refused(make: Make, bundle: Path, tmp_path: Path, version: str) -> None:
    with pytest.raises(UnsafeBundle):
        make().put(version, bundle)
    with pytest.raises(UnsafeBundle):
        make().get(version, tmp_path / "into")


@pytest.mark.parametrize("missing", [SIGNATURE, MANIFEST])
def test_what_is_not_signed_is_not_kept(make: Make, bundle: Path, missing: str) -> None:
    (bundle / missing).unlink()
    with pytest.raises(UnsignedBundle, match=missing):
        make().put("3", bundle)
    assert make().versions() == []


@pytest.mark.parametrize("limits", [Limits(files=3), Limits(bytes=1_000)])
def test_what_is_beyond_the_limits_is_refused_before_a_byte_is_written(
    make: Make, bundle: Path, tmp_path: Path, limits: Limits
) -> None:
    make().put("3", bundle)
    with pytest.raises(UnsafeBundle, match=r"more than|larger than"):
        make(limits).get("3", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_a_bundle_that_was_spoilt_in_the_store_is_refused_and_does_not_stay(
    make: Make, bundle: Path, home: Path, tmp_path: Path
) -> None:
    (bundle / "ranker.0.txt").write_bytes(b"tree\n")
    make().put("3", bundle)
    with pytest.raises(TamperedBundle, match=r"ranker\.0\.txt"):
        verified(make(), "3", tmp_path / "into", public=public_key(home / "keys"))
    assert not (tmp_path / "into" / "3").exists()


def test_the_genuine_bundle_of_another_record_is_refused(make: Make, bundle: Path, home: Path, tmp_path: Path) -> None:
    make().put("3", bundle)
    with pytest.raises(WrongBundle, match="asked for"):
        verified(make(), "3", tmp_path, public=public_key(home / "keys"), digest="0" * 64)


# What only S3 can do to a fetch.


@pytest.fixture
def objects(bucket: str, s3_server: S3) -> Callable[..., Any]:
    """Writes any object into the test's bucket, past all our rules."""
    name = bucket.removeprefix("s3://")
    return lambda key, body=b"x": s3_server.client().put_object(Bucket=name, Key=key, Body=body)


def test_an_upload_that_broke_off_is_no_version_and_can_be_finished(
    bucket: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest comes last: before it nothing is there."""
    assert bundle_files(bundle)[-2:] == [SIGNATURE, MANIFEST]
    write, written = S3Store._write_once, []

    def dies(self: S3Store, name: str, path: Path) -> None:
        if name.endswith(MANIFEST):
            raise StoreUnavailable("the process died here")
        written.append(name)
        write(self, name, path)

    monkeypatch.setattr(S3Store, "_write_once", dies)
    store = S3Store(bucket)
    with pytest.raises(StoreUnavailable):
        store.put("3", bundle)
    assert len(written) == len(bundle_files(bundle)) - 1
    assert store.versions() == []
    with pytest.raises(NoSuchBundle, match="never finished"):
        store.get("3", tmp_path / "into")
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store._client.meta.endpoint_url)
    store.put("3", bundle)
    assert contents(store.get("3", tmp_path / "into")) == contents(bundle)


@pytest.mark.parametrize("name", ["a/b", "sub/deep/escape", ".hidden", "x" * 129, "a b"])
def test_a_name_that_could_leave_the_folder_is_refused_before_anything_is_written(
    bucket: str, objects: Callable[..., Any], bundle: Path, tmp_path: Path, name: str
) -> None:
    S3Store(bucket).put("3", bundle)
    objects(f"3/{name}")
    with pytest.raises(UnsafeBundle, match="not the plain name of a file"):
        S3Store(bucket).get("3", tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../../x", "/etc/passwd", "\\..\\x", "a\x00b", "a\nb", "ä"])
def test_a_name_that_a_stranger_server_may_list_is_refused(name: str) -> None:
    """A real server takes few of these; one that lies lists them all the same."""
    with pytest.raises(UnsafeBundle, match="not the plain name of a file"):
        check_listing("s3://bucket/3", {"manifest.json": 1, name: 1}, Limits())


def test_files_without_end_are_refused_without_reading_the_list_to_its_end(
    bucket: str, objects: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    S3Store(bucket).put("3", bundle)
    for number in range(20):
        objects(f"3/extra-{number:03}")
    with pytest.raises(UnsafeBundle, match="more than 12 files"):
        S3Store(bucket, Limits(files=12)).get("3", tmp_path / "into")


def test_an_attestation_that_is_too_long_is_refused(
    bucket: str, objects: Callable[..., Any], bundle: Path, tmp_path: Path
) -> None:
    S3Store(bucket).put("3", bundle)
    objects("3.attestation.json", b"x" * (1 << 19))
    with pytest.raises(UnsafeBundle, match="longer than"):
        S3Store(bucket).get("3", tmp_path / "into")


def test_a_fetch_that_takes_too_long_is_given_up(bucket: str, bundle: Path, tmp_path: Path) -> None:
    S3Store(bucket).put("3", bundle)
    ticks = iter(range(0, 100_000, 40))
    late = S3Store(bucket, Limits(seconds=120), clock=lambda: float(next(ticks)))
    with pytest.raises(StoreUnavailable, match="longer than 120 seconds"):
        late.get("3", tmp_path / "into")


def test_wrong_keys_are_denied_and_say_so(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreDenied, match="SignatureDoesNotMatch"):
        S3Store(bucket).get("3", tmp_path / "into")


def test_a_bucket_that_is_not_there_is_no_bundle(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(NoSuchBundle, match="NoSuchBucket"):
        S3Store("s3://nobody-made-this").get("3", tmp_path / "into")


@pytest.mark.parametrize("place", ["s3://", "s3://B/x", "http://bucket/x", "s3://bucket/../x"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(UnsafeBundle):
        S3Store(place)


def test_a_server_that_was_killed_is_unavailable_and_found_again_when_it_is_back(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weed").mkdir()
    with s3(tmp_path / "weed") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store(server.make("bundles"))
        store.put("3", bundle)
        server.server.kill()
        with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
            store.get("3", tmp_path / "lost")
        server.server.start()
        assert contents(store.get("3", tmp_path / "into")) == contents(bundle)


def test_a_body_that_breaks_off_in_the_middle_is_fetched_anew_a_few_times(
    bucket: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    S3Store(bucket).put("3", bundle)
    stream, broken = S3Store._stream, []

    def breaks(self: S3Store, key: str, target: Path, size: int, deadline: float) -> None:
        stream(self, key, target, size, deadline)
        if key.endswith("ranker.0.txt") and len(broken) < allowed:
            broken.append(key)
            raise StoreUnavailable(f"{key}: broke off")

    monkeypatch.setattr(S3Store, "_stream", breaks)
    allowed = bundle_s3.ATTEMPTS - 1
    assert contents(S3Store(bucket).get("3", tmp_path / "into")) == contents(bundle)
    allowed = 100
    with pytest.raises(StoreUnavailable, match="broke off"):
        S3Store(bucket).get("3", tmp_path / "again")


def test_the_settings_name_the_store_and_its_server(bucket: str, s3_server: S3, bundle: Path, tmp_path: Path) -> None:
    said = {"bundles": f"{bucket}/b", "s3": {"endpoint_url": s3_server.endpoint, "region": "us-east-1"}}
    store = open_bundles(StoreSettings.model_validate(said))
    store.put("3", bundle)
    assert store.uri("3") == f"{bucket}/b/3"
    assert contents(store.get("3", tmp_path / "into")) == contents(bundle)
    with pytest.raises(ValueError, match="names no store"):
        open_bundles(StoreSettings())
