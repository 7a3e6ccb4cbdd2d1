"""One scenario unkilled, with every write counted; and the same once more with a process killed, from where it stood.

Here: snapshots, the kill, what comes after it, the findings. Not here: which kills are made (drill.py, test_kills.py).
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recsys_assets.rollout.act import read_state
from recsys_assets.rollout.route import RouteState
from recsys_assets_tests.kills import oracle
from recsys_assets_tests.kills.acts import ACTS, REPEATED, ROUND_SECONDS, SAID
from recsys_assets_tests.kills.boundaries import TEARABLE, How, Stop, watched
from recsys_assets_tests.kills.home import NAME, Home, make_home
from recsys_assets_tests.kills.processes import ChildFailed, asked, died, failed_first, fork, halted, killed_after
from recsys_assets_tests.kills.schedule import MORE_ROUNDS, Scenario, Turn, rounds

# Safe to import in a parent that forks: no threads, no connections.
WARM = frozenset(
    {"recsys_assets", "recsys_assets_tests", "mlflow", "sqlalchemy", "alembic", "dagster", "polars", "numpy"}
    | {"httpx", "httpcore", "trio", "anyio"}
)
Plant = Callable[[], None] | None
# Those that act on what they read: one that wakes up late may act on what is long past.
LATE = frozenset({"run", "sensor", "guard", "roll_back", "open"})
# Those that carry out, or report: their state does not depend on how a release came where it stands.
UNDECIDING = frozenset({"server", "collector", "platform"})
CONVERGENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Played:
    """An unkilled run: its turns with their writes, how all stood after each, how it ended.

    `phases` is the route's move before each turn. The snapshots lie in the folder.
    """

    name: str
    folder: Path
    turns: tuple[Turn, ...]
    writes: tuple[tuple[str, ...], ...]
    standing: tuple[str, ...]
    phases: tuple[str, ...]
    end: dict[str, Any]
    after: tuple[Turn, ...]

    def snapshot(self, turn: int) -> Path:
        return self.folder / f"turn{turn}"


@dataclass(frozen=True)
class Kill:
    """Which process is stopped in which turn, and where. `at` None: after `seconds`, wherever it is then."""

    scenario: str
    turn: int
    at: Stop | None
    seconds: float = 0.0
    second: int = 0


@dataclass(frozen=True)
class Finding:
    """What came of one kill."""

    kill: Kill
    process: str
    write: str
    killed: int
    same_end: bool
    convergence_seconds: float
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def play(scenario: Scenario, folder: Path) -> Played:
    """The unkilled run, with a snapshot before each turn. Raises AssertionError when it is not clean itself."""
    folder.mkdir(parents=True)
    turns = (*scenario.turns, *_more(scenario.turns))
    told = asked(lambda: _play(scenario.before, turns, folder), folder=folder)
    assert not told["problems"], (scenario.name, told["problems"])
    _warm(told["modules"])
    writes = tuple(tuple(names) for names in told["writes"])
    standing, phases = tuple(told["standing"]), tuple(told["phases"])
    return Played(scenario.name, folder, turns, writes, standing, phases, told["end"], scenario.after)


def _warm(modules: Sequence[str]) -> None:
    """Import here what a process imported while it worked, or each fork would pay for it again."""
    for name in modules:
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)


def _more(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    first = int(turns[-1].at // 5) + 1
    return rounds(first, MORE_ROUNDS, fault=turns[-1].argument)


def _here(work: Path) -> Home:
    """The same relative path in every run, since paths stand in what is written: else writes would differ."""
    os.chdir(work.parent)
    return Home(Path(work.name))


def _play(before: Sequence[Turn], turns: Sequence[Turn], folder: Path) -> dict[str, Any]:
    home = make_home(_here(folder / "home"))
    for turn in before:
        _do(home, turn)
    writes, standing, phases = [], [], []
    for number, turn in enumerate(turns):
        shutil.copytree(home.path, folder / f"turn{number}")
        state = read_state(home.store, NAME)
        phases.append(_told(state))
        with watched(home.path) as seen:
            _do(home, turn)
        if not seen.names:
            shutil.rmtree(folder / f"turn{number}")
        writes.append(seen.names)
        standing.append(oracle.standing(home))
    problems = oracle.half_done(home) + oracle.contradictions(home)
    return {
        "writes": writes,
        "problems": problems,
        "standing": standing,
        "phases": phases,
        "end": oracle.end_of(home),
        "modules": [name for name in sys.modules if name.split(".")[0] in WARM],
    }


def _told(state: RouteState | None) -> str:
    return f"{state.phase.value} {state.step}|{state.release.release_id}/{state.transition}" if state else "no route|"


def _do(home: Home, turn: Turn) -> None:
    home.at = turn.at
    ACTS[turn.process](home, turn.argument)


def boundaries(played: Played, seen: set[object] | None = None) -> tuple[list[Kill], list[Kill]]:
    """Every write of every turn: before and after it, torn where that can be, and stopped before it to wake up late.

    First those that differ: by process, by the write's place in its turn, by scenario and the move that stands on the
    route; for a process that decides nothing by the phase alone. Then those that only come again. The scenarios of one
    drill share `seen`.
    """
    found: tuple[list[Kill], list[Kill]] = ([], [])
    seen = set() if seen is None else seen
    for turn, names in enumerate(played.writes):
        process = played.turns[turn].process
        for number, name in enumerate(names, start=1):
            how: list[How] = ["before", "after"]
            how += ["torn"] if name in TEARABLE else []
            how += ["stop"] if process in LATE else []
            phase, _, move = played.phases[turn].partition("|")
            where = phase if process in UNDECIDING else (played.name, move)
            kind = (process, number, tuple(names), where)
            found[kind in seen].extend(Kill(played.name, turn, Stop(number, h)) for h in how)
            seen.add(kind)
    return found


def carry_out(played: Played, kill: Kill, work: Path, *, plant: Plant = None, whole: bool = False) -> Finding:
    """Kill, let the others carry on, and say what was found. `plant` puts a bug into every process of the run.

    `whole`: to the very end, also where the home stands as the unkilled one before.
    """
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(played.snapshot(kill.turn), work)
    turn = played.turns[kill.turn]
    errors, position = work / "errors", work / "position"

    def first() -> None:
        if plant:
            plant()
        home = _here(work)
        with watched(home.path, kill.at):
            _do(home, turn)

    pid = fork(first, errors=errors)
    write = played.writes[kill.turn][kill.at.number - 1] if kill.at else "at random"
    try:
        if kill.at is not None and kill.at.how == "stop":
            told = _woken_late(played, kill, work, pid, plant)
            killed = 1
        else:
            killed = int(died(pid) if kill.at else killed_after(pid, kill.seconds))
            start = kill.turn if turn.process in REPEATED and killed else kill.turn + 1
            position.write_text(str(start))
            like, last = None if whole or plant else played, turn.at
            if kill.second:
                again, last = _killed_again(played, kill, work, plant)
                killed += again
            failed_first(errors)
            told = asked(_carry_on(played.turns, work, since=last, plant=plant, like=like), folder=work)
    except ChildFailed as failed:
        told = {"problems": [f"a process ended with an error: {failed}"], "end": {}, "agreed_at": None}
        killed = 1
    return _judged(played, kill, turn, write, killed, told)


def _killed_again(played: Played, kill: Kill, work: Path, plant: Plant) -> tuple[bool, float]:
    """The second kill, of one of those who carry on: whether it met one, and since when the time counts."""
    since, position = played.turns[kill.turn].at, work / "position"
    armed = _carry_on(played.turns, work, since=since, plant=plant, stop=Stop(kill.second, "before"))
    met = died(fork(armed, errors=work / "errors"))
    here = int(position.read_text())
    in_time = here < len(played.turns)
    # The one who was killed comes again in its next turn, or at once where somebody tries again.
    again = in_time and played.turns[here].process in REPEATED
    position.write_text(str(here if again else here + 1))
    return met, played.turns[here].at if met and in_time else since


def _judged(played: Played, kill: Kill, turn: Turn, write: str, killed: int, told: dict[str, Any]) -> Finding:
    problems = list(told["problems"])
    stopped = kill.at is not None and kill.at.how == "stop"
    same = told["end"] == played.end
    if not problems and not stopped and not same and not oracle.is_clean_roll_back(told["end"], played.end):
        problems.append(f"ended as {told['end']}, unkilled as {played.end}")
    seconds = 0.0 if told["agreed_at"] is None else max(0.0, told["agreed_at"] - told.get("from", turn.at))
    if not problems and seconds > CONVERGENCE_SECONDS:
        problems.append(f"converged after {seconds:.1f} s")
    return Finding(kill, turn.process, write, killed, same or stopped, seconds, problems)


def _carry_on(
    turns: Sequence[Turn],
    work: Path,
    *,
    since: float,
    plant: Plant,
    stop: Stop | None = None,
    like: Played | None = None,
) -> Callable[[], dict[str, Any]]:
    """Everybody else, and the killed one restarted, from the position that is noted on the disk.

    With `like` it ends early once the home stands exactly as the unkilled one did after the same turn.
    """

    def work_on() -> dict[str, Any]:
        if plant:
            plant()
        home, position, agreed_at = _here(work), work / "position", None
        # Without the daemon nobody settles: the time that it was away does not count.
        daemon_at, away = since, 0.0
        usual: dict[str, Any] | None = None
        with watched(home.path, stop):
            for number in range(int(position.read_text()), len(turns)):
                turn = turns[number]
                position.write_text(str(number))
                _do(home, turn)
                if turn.process == "sensor" and agreed_at is None:
                    away += max(0.0, turn.at - daemon_at - ROUND_SECONDS)
                    daemon_at = turn.at
                agreed_at = turn.at if agreed_at is None and not oracle.half_done(home) else agreed_at
                if like and agreed_at is not None and oracle.standing(home) == like.standing[number]:
                    usual = like.end
                    break
                if like and agreed_at is not None and _is_over(home, turns, number, agreed_at):
                    break
        problems = oracle.half_done(home) + oracle.contradictions(home) if usual is None else []
        end, state = usual or oracle.end_of(home), read_state(home.store, NAME)
        ended = state.release.release_id if state is not None and state.phase.is_end else ""
        return {"problems": problems, "end": end, "ended": ended, "agreed_at": agreed_at, "from": since + away}

    return work_on


def _is_over(home: Home, turns: Sequence[Turn], number: int, agreed_at: float) -> bool:
    """The release has ended, nothing is half-done for a whole round, and nobody will say anything any more."""
    quiet = turns[number].at >= agreed_at + ROUND_SECONDS and not SAID & {t.process for t in turns[number + 1 :]}
    state = read_state(home.store, NAME) if quiet else None
    return quiet and (state is None or state.phase.is_end) and not oracle.half_done(home)


def _woken_late(played: Played, kill: Kill, work: Path, pid: int, plant: Plant) -> dict[str, Any]:
    """The process is stopped, all goes on without it, a whole further release too; then it wakes and writes."""
    errors, position = work / "errors", work / "position"
    try:
        assert halted(pid), "it was done before it could be stopped"
        turns = (*played.turns, *played.after)
        position.write_text(str(kill.turn + 1))
        further = asked(_carry_on(turns, work, since=0.0, plant=plant), folder=work)
        before = played.phases[-1].partition("|")[2].rpartition("/")[0]
        assert further["ended"] not in {"", before}, f"no further release has ended: {further['end']}"
    finally:
        os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)  # it may well fail: what it wanted is long gone
    errors.unlink(missing_ok=True)
    last = turns[-1].at
    healing = rounds(int(last // 5) + 1, 2)
    position.write_text("0")
    return dict(asked(_carry_on(healing, work, since=last, plant=plant), folder=work))


def random_kills(played: Played, chance: random.Random, count: int, *, double: bool) -> list[Kill]:
    """Kills at any time of any turn; of two the second at any write of those who carry on."""
    turns = [i for i, names in enumerate(played.writes) if names]
    found = []
    for _ in range(count):
        turn = chance.choice(turns)
        second = chance.randint(1, 40) if double else 0
        at = None
        if double and chance.random() < 0.5:
            at = Stop(chance.randint(1, len(played.writes[turn])), chance.choice(("before", "after")))
        found.append(Kill(played.name, turn, at, seconds=chance.uniform(0.0, 0.12), second=second))
    return found
