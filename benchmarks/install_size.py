"""How large the installed environment is, and which packages make most of it.

Here: `python -m benchmarks.install_size`: the running environment and the wheels' own records. Not here: install time.
"""

from __future__ import annotations

import sys
from importlib.metadata import distributions
from pathlib import Path

from benchmarks import harness

LARGEST = 8


def folder_mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


def package_mib() -> dict[str, float]:
    found = {}
    for distribution in distributions():
        files = [Path(str(file.locate())) for file in distribution.files or []]
        found[distribution.metadata["Name"]] = sum(f.stat().st_size for f in files if f.is_file()) / 2**20
    return found


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    packages = package_mib()
    locked = {
        lock.stem: sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line and line[0] != " ")
        for lock in sorted((root / "requirements").glob("*.lock"))
    }
    figures: dict[str, float | int | str] = {"environment_mib": round(folder_mib(Path(sys.prefix)), 1)}
    figures |= {f"{name}_lock_packages_count": count for name, count in locked.items()}
    largest = sorted(packages.items(), key=lambda pair: -pair[1])[:LARGEST]
    figures |= {f"package_{name.lower().replace('-', '_')}_mib": round(size, 1) for name, size in largest}
    harness.write("install_size", command="python -m benchmarks.install_size", figures=figures, peers={})


if __name__ == "__main__":
    main()
