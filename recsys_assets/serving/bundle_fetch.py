"""A model server's own copy of its bundle: fetched into an empty folder before it is verified.

Here: where it comes from and where it goes. Not here: the store (bundle_store.py), or the verification (server.py).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from recsys_assets.bundle_store import S3_SCHEME, Limits, UnsafeBundle, checked_version

_FETCHED: Final = "fetched-"


def is_remote(bundle: str) -> bool:
    """Whether the bundle must be fetched; else it is the path of a folder."""
    return bundle.startswith(S3_SCHEME)


def fetch(bundle: str, cache: Path, limits: Limits) -> Path:
    """Fetch `s3://bucket/prefix/<version>` into a new folder below `cache`; returns the bundle's folder.

    Raises BundleRefused and StoreError. What an earlier start of the same container left there is removed first: an
    emptyDir outlives its containers.
    """
    from recsys_assets.bundle_s3 import S3Store

    place, _, version = bundle.rstrip("/").rpartition("/")
    if not is_remote(place + "/"):
        raise UnsafeBundle(f"{bundle[:200]}: must be s3://bucket/prefix/<version>")
    store = S3Store(place, limits)
    cache.mkdir(parents=True, exist_ok=True)
    for left in cache.glob(f"{_FETCHED}*"):
        shutil.rmtree(left)
    return store.get(checked_version(version), Path(tempfile.mkdtemp(dir=cache, prefix=_FETCHED)))
