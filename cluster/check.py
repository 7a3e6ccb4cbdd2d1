"""Tells before anything is built whether this machine can run the cluster.

Here: `python -m cluster.check`, one sentence and exit 1 for the first thing that is missing. Not here: the checks.
"""

from __future__ import annotations

import sys

from cluster.build import find_go
from cluster.errors import MissingError
from cluster.host import COMMANDS, IMAGE_COMMANDS, check_prerequisites


def main() -> None:
    """Check root, Debian's packages, control groups and Go."""
    try:
        check_prerequisites(COMMANDS | IMAGE_COMMANDS)
        find_go()
    except MissingError as missing:
        sys.exit(f"make: {missing}")


if __name__ == "__main__":
    main()
