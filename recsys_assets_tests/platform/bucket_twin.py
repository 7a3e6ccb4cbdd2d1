"""Which bucket a user falls into, in Python: the twin of the Lua that the gateways run, and its oracle.

Here: the one function. Not here: the Lua (platform/local/bucket.py).
"""

from __future__ import annotations

from recsys_assets.platform.local.bucket import BUCKETS


def bucket(user: str, salt: str) -> int:
    """Salted FNV-1a of 32 bits, its bits mixed once more, modulo 10,000.

    FNV alone hardly moves its high bits for the last characters of short ids; the mixer (MurmurHash3's) makes the
    buckets of one release independent of those of the next, so that not always the same users are the first.
    """
    state = 0x811C9DC5
    for byte in f"{salt}:{user}".encode():
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    state = ((state ^ (state >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    state = ((state ^ (state >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (state ^ (state >> 16)) % BUCKETS
