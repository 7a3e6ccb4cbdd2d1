"""The serving room's name for the signing of bundles, which training does as well.

Here: names. Not here: anything done (recsys_assets/signing.py).
"""

from __future__ import annotations

from recsys_assets.signing import (
    BundleRefused,
    KeyMissing,
    TamperedBundle,
    UnsignedBundle,
    UnusableBundle,
    WrongBundle,
    private_key,
    public_key,
    sign_bundle,
    verify_bundle,
)

__all__ = [
    "BundleRefused",
    "KeyMissing",
    "TamperedBundle",
    "UnsignedBundle",
    "UnusableBundle",
    "WrongBundle",
    "private_key",
    "public_key",
    "sign_bundle",
    "verify_bundle",
]
