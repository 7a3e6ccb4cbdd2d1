"""The signature of a message, as Standard Webhooks (standardwebhooks.com) defines it; receivers have libraries for it.

Here: HMAC-SHA256 over id, time and body, pure. Not here: where the secret comes from (receivers.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64


def read_secret(text: str) -> bytes:
    """`whsec_` and 24 to 64 bytes in base64, as the standard says. Raises ValueError, which never tells the secret."""
    encoded = text.strip()
    if not encoded.startswith(PREFIX):
        raise ValueError(f"must begin with {PREFIX}")
    try:
        secret = base64.b64decode(encoded.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"must be base64 after {PREFIX}") from None
    if not SHORTEST <= len(secret) <= LONGEST:
        raise ValueError(f"must hold {SHORTEST} to {LONGEST} bytes, not {len(secret)}")
    return secret


def sign(secret: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """The header's value. The time is signed as well, so that an old message cannot be sent again by somebody else."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
