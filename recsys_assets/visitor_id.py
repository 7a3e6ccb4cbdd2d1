"""What may stand in `x-user-id`, the unit of assignment: one rule for who hashes it and for who logs it.

Here: the rule, as one pattern that Envoy (RE2), istiod (Go) and Python read alike. Not here: the hash (bucket.py).
An id is taken byte for byte: letter case, leading zeros and percent signs are part of it. A comma is refused because a
proxy may join two headers of one name with it; what is not ASCII, because clients and proxies differ in how they write
and read it, and versions of Envoy in whether a pattern sees bytes or characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

HEADER: Final = "x-user-id"
MAX_LENGTH: Final = 256
# `!` to `~` are the printable characters of ASCII, `+` and `-` the neighbours of the comma.
PATTERN: Final = rf"[!-+\--~]([ -+\--~]{{0,{MAX_LENGTH - 2}}}[!-+\--~])?"
WHY_NOT: Final = (
    f"header {HEADER} is missing or unfit: it names the visitor, whose variant it decides. Send it once, with 1 to "
    f"{MAX_LENGTH} printable ASCII characters, no comma and no blank at either end; percent-encode or hash other ids"
)
_FIT: Final = re.compile(PATTERN)


def read(values: Sequence[bytes]) -> str | None:
    """The id that all values of the header make, None where they make none."""
    text = values[0].decode("latin-1") if len(values) == 1 else ""
    return text if _FIT.fullmatch(text) else None
