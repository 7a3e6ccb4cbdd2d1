"""Runs in the build, on the standard library alone: takes out of an environment what no process of ours ever reads.

Here: test suites and headers that large wheels carry along, by the wheels' names. Not here: which packages, that is the
lock's business. A rule for all packages would be shorter and wrong: `evidently/tests`, for one, is no test suite.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PACKAGES = (
    "dask", "ibis", "implicit", "matplotlib", "mpl_toolkits", "networkx", "numpy", "pandas", "pyarrow", "scipy",
    "sklearn", "statsmodels", "supervisor",
)  # fmt: skip
FOLDERS = ("tests", "include")
SUFFIXES = (".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pyx")


def main(environment: Path) -> int:
    """Slim it and say by how much."""
    site = next(environment.glob("lib/python3*/site-packages"))
    before = size(site)
    for package in (site / name for name in PACKAGES):
        for folder in [path for name in FOLDERS for path in package.rglob(name) if path.is_dir()]:
            shutil.rmtree(folder, ignore_errors=True)  # one inside another is gone already
        for path in [path for path in package.rglob("*") if path.suffix in SUFFIXES]:
            path.unlink()
    sys.stdout.write(f"{environment}: {before / 1e6:.0f} MB, slimmed to {size(site) / 1e6:.0f} MB\n")
    return 0


def size(folder: Path) -> int:
    """Bytes of all files below it."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
