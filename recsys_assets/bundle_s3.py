"""Signed bundles on S3, or on anything that speaks its protocol with conditional writes.

Here: putting, getting and listing objects, with bounded patience and typed errors. Not here: what a store of bundles
is (bundle_store.py). Endpoint and credentials are what boto3 finds in the environment or the pod's identity.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from recsys_assets.bundle_store import (
    Limits,
    NoSuchBundle,
    StoreDenied,
    StoreUnavailable,
    UnsafeBundle,
    VersionStands,
    bundle_files,
    check_listing,
    checked_version,
)
from recsys_assets.signing import ATTESTATION_SUFFIX, MANIFEST, SIGNATURE
from recsys_assets.store_settings import s3_place

ATTEMPTS: Final = 4
_CHUNK: Final = 1 << 20
_SMALL: Final = 16 << 20
_MAX_ATTESTATION: Final = 1 << 18
_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
_STANDS: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


@cache
def _descriptions() -> Any:
    """What boto3 knows of S3. Reading it is most of the cost of a client, so it is read once."""
    from botocore.loaders import create_loader  # type: ignore[import-untyped, unused-ignore]

    return create_loader()


class S3Store:
    """Bundles below `s3://bucket/prefix`: `<version>/<file>`, and `<version>.attestation.json` beside it."""

    def __init__(
        self,
        place: str,
        limits: Limits | None = None,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without an endpoint and a region boto3 finds them where it looks: AWS_ENDPOINT_URL, AWS_REGION."""
        try:
            self._bucket, prefix = s3_place(place)
        except ValueError as broken:
            raise UnsafeBundle(f"{place[:200]}: {broken}") from None
        self._prefix = f"{prefix}/" if prefix else ""
        self._limits, self._clock = limits or Limits(), clock
        self._server = {"endpoint_url": endpoint_url, "region_name": region or os.environ.get("AWS_REGION")}

    def put(self, version: str, bundle: Path) -> None:
        files = bundle_files(bundle)
        for name in files:
            self._write_once(f"{checked_version(version)}/{name}", bundle / name)

    def put_attestation(self, version: str, attestation: Path) -> None:
        key = self._key(checked_version(version) + ATTESTATION_SUFFIX)
        with self._typed(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=attestation.read_bytes())

    def get(self, version: str, into: Path) -> Path:
        deadline = self._clock() + self._limits.seconds
        where, target = self.uri(checked_version(version)), into / version
        sizes = self._listing(f"{version}/", deadline)
        if MANIFEST not in sizes or SIGNATURE not in sizes:
            missing = "nothing stands there" if not sizes else "its upload was never finished"
            raise NoSuchBundle(f"{where}: no bundle: {missing}")
        check_listing(where, sizes, self._limits)
        target.mkdir(parents=True)
        for name, size in sizes.items():
            self._download(f"{version}/{name}", target / name, size, deadline)
        self._attestation(version, into, deadline)
        return target

    def versions(self) -> list[str]:
        found = []
        deadline = self._clock() + self._limits.seconds
        with self._typed(self._prefix):
            for page in self._pages(self._prefix, deadline, delimiter="/"):
                prefixes = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
                found += [prefix.removeprefix(self._prefix).rstrip("/") for prefix in prefixes]
        return sorted(version for version in found if self._exists(f"{version}/{MANIFEST}"))

    def uri(self, version: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{version}"

    @cached_property
    def _client(self) -> Any:
        """Made on first use: boto3 takes a while to import. Each call is tried anew a few times."""
        import boto3  # type: ignore[import-untyped, unused-ignore]
        from botocore.config import Config  # type: ignore[import-untyped, unused-ignore]
        from botocore.session import get_session  # type: ignore[import-untyped, unused-ignore]

        session = get_session()
        session.register_component("data_loader", _descriptions())
        retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        config = Config(
            connect_timeout=5, read_timeout=15, retries=retries, request_checksum_calculation="when_required"
        )
        return boto3.session.Session(botocore_session=session).client("s3", config=config, **self._server)

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _write_once(self, name: str, path: Path) -> None:
        """The store itself refuses to write over what stands there; then it must be the very same file."""
        from botocore.exceptions import ClientError  # type: ignore[import-untyped, unused-ignore]

        key = self._key(name)
        with self._typed(key), path.open("rb") as file:
            # A file makes the library ask first whether it may send, and wait a second where nobody answers that.
            body = file.read() if path.stat().st_size <= _SMALL else file
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as refused:
                if _code(refused) not in _STANDS:
                    raise
                self._require_same(key, path)

    def _require_same(self, key: str, path: Path) -> None:
        standing = self._client.get_object(Bucket=self._bucket, Key=key)
        same = standing["ContentLength"] == path.stat().st_size
        with path.open("rb") as ours:
            same = same and all(chunk == ours.read(len(chunk)) for chunk in standing["Body"].iter_chunks(_CHUNK))
        if not same:
            raise VersionStands(f"s3://{self._bucket}/{key}: another file stands there; a version is written once")

    def _listing(self, below: str, deadline: float) -> dict[str, int]:
        sizes: dict[str, int] = {}
        prefix = self._key(below)
        with self._typed(prefix):
            for page in self._pages(prefix, deadline):
                sizes |= {each["Key"].removeprefix(prefix): int(each["Size"]) for each in page.get("Contents", [])}
                if len(sizes) > self._limits.files:
                    break  # enough to refuse it; the rest could be without end
        return sizes

    def _pages(self, prefix: str, deadline: float, delimiter: str = "") -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {"Delimiter": delimiter} if delimiter else {}
        while True:
            self._in_time(prefix, deadline)
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    def _exists(self, name: str) -> bool:
        try:
            with self._typed(key := self._key(name)):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except NoSuchBundle:
            return False
        return True

    def _attestation(self, version: str, into: Path, deadline: float) -> None:
        name = version + ATTESTATION_SUFFIX
        try:
            with self._typed(key := self._key(name)):
                size = int(self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"])
        except NoSuchBundle:
            return  # whether it may be missing is for the verification to say
        if size > _MAX_ATTESTATION:
            raise UnsafeBundle(f"s3://{self._bucket}/{key}: longer than {_MAX_ATTESTATION} bytes")
        self._download(name, into / name, size, deadline)

    def _download(self, name: str, target: Path, size: int, deadline: float) -> None:
        """boto3 tries a request anew, but not a body that broke off in the middle."""
        key = self._key(name)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._typed(key):
                    self._stream(key, target, size, deadline)
                return
            except StoreUnavailable:
                if attempt == ATTEMPTS or self._clock() > deadline:
                    raise

    def _stream(self, key: str, target: Path, size: int, deadline: float) -> None:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        # Never through a link, and with the bytes counted: what a listing says of a size is only what it says.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            for chunk in body.iter_chunks(_CHUNK):
                self._in_time(key, deadline)
                if file.tell() + len(chunk) > size:
                    raise UnsafeBundle(f"s3://{self._bucket}/{key}: is longer than the {size} bytes that were listed")
                file.write(chunk)
            if file.tell() != size:
                raise StoreUnavailable(f"s3://{self._bucket}/{key}: only {file.tell()} of {size} bytes came")

    def _in_time(self, key: str, deadline: float) -> None:
        if self._clock() > deadline:
            told = f"took longer than {self._limits.seconds:g} seconds"
            raise StoreUnavailable(f"s3://{self._bucket}/{key}: {told}")

    @contextmanager
    def _typed(self, key: str) -> Iterator[None]:
        """What the library raises, as one of our errors that names the object and the server's reason."""
        from botocore.exceptions import (  # type: ignore[import-untyped, unused-ignore]
            BotoCoreError,
            ClientError,
            ConnectionError,
            HTTPClientError,
            IncompleteReadError,
        )
        from urllib3.exceptions import HTTPError

        where = f"s3://{self._bucket}/{key}"
        try:
            yield
        except ClientError as refused:
            error = refused.response.get("Error", {})
            said = f"{where}: {error.get('Code', '?')}: {error.get('Message') or 'no reason given'}"
            if _code(refused) in _ABSENT:
                raise NoSuchBundle(said) from None
            status = int(refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise (StoreDenied if 400 <= status < 500 else StoreUnavailable)(said) from None
        except (HTTPClientError, ConnectionError, IncompleteReadError, HTTPError) as lost:
            raise StoreUnavailable(f"{where}: {type(lost).__name__}: {lost}") from None
        except BotoCoreError as broken:  # no credentials, no region, an endpoint that is none
            raise StoreDenied(f"{where}: {type(broken).__name__}: {broken}") from None


def _code(refused: Any) -> str:
    return str(refused.response.get("Error", {}).get("Code", ""))
