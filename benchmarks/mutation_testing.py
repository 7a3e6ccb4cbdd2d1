"""Does a test fail for each guard that is taken out of the code that decides? mutmut, with guards removed one by one.

Here: the copies, the runs and the result file. What is mutated: mutation/guards.py; who judges: mutation/judges.py;
what a survivor means: mutation/survivors.py. `python -m benchmarks.mutation_testing --files phases act`.
Results of files that were not asked for are kept from the last run, each beside the digest of the file it was about.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import RESULTS, write
from benchmarks.mutation.judges import GROUPS, JUDGES
from benchmarks.mutation.survivors import Mutant, equivalents, read

ROOT = Path(__file__).parent.parent
NAME = "mutation_testing"
MEMORY = Path("/dev/shm")  # most tests wait for fsync; in memory that takes no time
COPIED = ["recsys_assets", "recsys_assets_tests", "benchmarks", "pyproject.toml", "dagster.yaml", "workspace.yaml"]
PROFILE = ["-p", "benchmarks.mutation.examples", "--hypothesis-profile=mutants"]
COUNTS = ["mutants", "killed", "timeouts", "text_only", "equivalent", "survived"]
COUNTS += ["guards_removed", "guards_removed_survived", "not_run"]


def main() -> None:
    asked = _arguments()
    wanted = [file for file in JUDGES if not asked.files or Path(file).stem in asked.files]
    unknown = set(asked.files) - {Path(file).stem for file in JUDGES}
    if unknown:
        raise SystemExit(f"no such decision file: {', '.join(sorted(unknown))}")
    before = json.loads((RESULTS / f"{NAME}.json").read_text()) if (RESULTS / f"{NAME}.json").exists() else {}
    rows: dict[str, dict[str, int | str]] = {k: v for k, v in before.get("peers", {}).items() if k in JUDGES}
    for group in GROUPS.values():
        if not (files := [file for file in group if file in wanted]):
            continue
        digests = {file: _digest(file) for file in files}
        for file, mutants in judge(files, asked.operators, children=asked.children, minutes=asked.minutes).items():
            rows[file] = {**count(mutants), "operators": asked.operators, "of_digest": digests[file]}
            if asked.show:
                _show(mutants)
        write(NAME, command=f"python -m benchmarks.{NAME}", figures=totals(rows), peers=rows)


def judge(files: list[str], operators: str, *, children: int, minutes: float) -> dict[str, list[Mutant]]:
    """All mutants of these files, judged in one temporary copy of the working tree."""
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        copy = Path(folder)
        (copy / "tmp").mkdir()
        _prepare(copy, files)
        log = copy / "mutmut.log"  # its spinner would flood a terminal
        command = [sys.executable, "-m", "benchmarks.mutation.guards", operators]
        command += ["run", "--max-children", str(children)]
        late = False
        environment = {**os.environ, "PYTHONPATH": folder, "POLARS_MAX_THREADS": "1", "TMPDIR": f"{folder}/tmp"}
        with log.open("w") as out:
            done = subprocess.Popen(command, cwd=copy, env=environment, stdout=out, stderr=out, start_new_session=True)
            try:
                done.wait(minutes * 60)
            except subprocess.TimeoutExpired:
                late = True  # each fate is written as it is known; what was not judged is counted as not run
            finally:
                if done.poll() is None:
                    os.killpg(done.pid, signal.SIGKILL)
                    done.wait()
        if done.returncode and not late:
            raise SystemExit(f"mutmut failed on {files}:\n{log.read_text(errors='replace')[-3000:]}")
        return {file: read(copy / "mutants", file) for file in files}


def _show(mutants: list[Mutant]) -> None:
    for mutant in mutants:
        if mutant.survived and not _reason(mutant):
            print(f"{'GUARD ' if mutant.guard else ''}{mutant.function}\n    {mutant.diff}", flush=True)


def count(mutants: list[Mutant]) -> dict[str, int]:
    """One row of the result. A survivor is text only, equivalent by the reviewed list, or survived."""
    alive = [m for m in mutants if m.survived]
    real = [m for m in alive if not _reason(m)]
    return {
        "mutants": len(mutants),
        "killed": sum(m.fate == "killed" for m in mutants),
        "timeouts": sum(m.fate == "timeout" for m in mutants),
        "text_only": sum(m.fate == "survived" and m.text_only for m in mutants),
        "equivalent": len(alive) - len(real),
        "survived": len(real),
        "guards_removed": sum(m.guard for m in mutants),
        "guards_removed_survived": sum(m.guard for m in real),
        "not_run": sum(m.fate == "not_run" for m in mutants),
    }


def totals(rows: dict[str, dict[str, int | str]]) -> dict[str, int]:
    summed = {name: sum(int(row[name]) for row in rows.values()) for name in COUNTS}
    summed["survived_in_decisions"] = summed.pop("survived")
    changed = sum(row["of_digest"] != _digest(file) for file, row in rows.items())
    return {**summed, "files": len(rows), "files_not_run": len(JUDGES) - len(rows), "files_changed_since": changed}


def _prepare(copy: Path, files: list[str]) -> None:
    """The working tree's code and tests, with mutmut's settings for these files."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy2(source, copy / name)
    tests = dict.fromkeys(test for file in files for test in JUDGES[file])
    settings = {
        "source_paths": ["recsys_assets"],
        "only_mutate": files,
        "also_copy": ["recsys_assets_tests", "benchmarks", "dagster.yaml", "workspace.yaml"],
        "pytest_add_cli_args_test_selection": list(tests),
        "pytest_add_cli_args": ["-p", "no:cacheprovider", "-p", "no:xdist", *PROFILE],
        "timeout_constant": 20.0,  # a busy machine kills no mutant,
        "timeout_multiplier": 2.0,  # and one that hangs costs a minute
        "process_isolation": "forkserver",  # plain forks would dead-lock on the threads of Polars
        "use_git_change_detection": False,
        "track_dependencies": False,  # each copy is judged once
    }
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    with (copy / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write(f"\n[tool.mutmut]\n{lines}")


def _reason(mutant: Mutant) -> str | None:
    return equivalents().get((mutant.function, mutant.diff))


def _digest(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()[:12]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", nargs="*", default=[], help="stems of decision files; all without it")
    parser.add_argument("--operators", choices=["guards", "conditions", "all"], default="guards")
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=240.0, help="for each group of files")
    parser.add_argument("--show", action="store_true", help="print each survivor")
    return parser.parse_args()


if __name__ == "__main__":
    main()
