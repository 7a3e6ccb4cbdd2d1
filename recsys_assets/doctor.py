"""Looks for the few things that no wheel carries, before anything needs them, and names what to install.

Here: checks of the machine. Not here: checks of the configuration (settings.py).
"""

from __future__ import annotations

import ctypes
import platform
import sys


def problems() -> list[str]:
    """One line for each thing that is missing on this machine; empty when all is well."""
    found = []
    if platform.system() != "Linux":
        found.append(f"the local platform runs on Linux only, this is {platform.system()}")
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        found.append("libgomp.so.1 (the OpenMP runtime that LightGBM links) is missing: install the package libgomp1")
    return found


def main() -> int:
    found = problems()
    for line in found:
        sys.stderr.write(f"recsys-assets: {line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
