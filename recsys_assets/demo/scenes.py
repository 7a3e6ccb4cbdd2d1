"""The seven scenes, each with what it claims. Here: what is done to the system and what must then be so.

Not here: the running of jobs (stage.py) and the telling (play.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from recsys_assets.demo import world
from recsys_assets.demo.poison import poison
from recsys_assets.demo.stage import JobOutcome, Stage
from recsys_assets.interactions import movielens
from recsys_assets.records import Phase

FIRST_AS_OF, SECOND_AS_OF = date(1998, 2, 15), date(1998, 3, 1)
CORRUPT_AS_OF, LAST_AS_OF = date(1998, 3, 8), date(1998, 3, 15)


@dataclass(frozen=True)
class Claim:
    """Something that must be so after a scene, and whether it is."""

    text: str
    holds: bool


@dataclass(frozen=True)
class Scene:
    """One part of the story. `key` names its figures, `tells` is what the reader sees while it plays."""

    key: str
    title: str
    tells: str
    play: Callable[[Stage], list[Claim]]


def first_release(stage: Stage) -> list[Claim]:
    """Land the first days and release the first model."""
    home = stage.settings.home
    movielens.land_items_users(home)
    movielens.write_future(home, FIRST_AS_OF)
    ingested = _land(stage, movielens.FIRST_DAY, FIRST_AS_OF)
    catalogued = stage.run_job("catalogue")
    released = stage.run_job("release")
    champion = world.champion(stage)
    answer = world.answer_of(stage, champion) if champion else None
    return [
        Claim(f"{world.rows(stage):,} interactions became features", ingested.success and catalogued.success),
        _succeeded("the first model passed the floors and every check", released),
        Claim(
            f"version {champion} is the champion and gets all of the traffic",
            champion is not None and world.split(stage) == {champion: 10_000},
        ),
        Claim(f"a user asks the gateway: {world.told(answer)}", world.answered_by(answer, champion)),
    ]


def challenger_promoted(stage: Stage) -> list[Claim]:
    """Two more weeks, a challenger, shadow, canary, promotion."""
    before = world.champion(stage)
    ingested = _land(stage, FIRST_AS_OF, SECOND_AS_OF)
    released = stage.run_job("release")
    champion, phases = world.champion(stage), world.phases(stage)
    return [
        Claim("two more weeks of interactions arrived", ingested.success),
        _succeeded(f"version {champion} passed the gate against version {before}", released),
        Claim(
            f"it went through {' > '.join(phases)}", world.in_order(phases, "shadow", "canary", "baking", "champion")
        ),
        Claim(
            f"version {champion} replaced version {before} at the gateway",
            champion not in {None, before} and world.split(stage) == {champion: 10_000},
        ),
        *_ended(stage, Phase.CHAMPION),
    ]


def poisoned_day(stage: Stage) -> list[Claim]:
    """A day file with four wounds; then the repaired one."""
    home, champion = stage.settings.home, world.champion(stage)
    wounds = poison(movielens.land_day(home, SECOND_AS_OF))
    stage.console.print(f"    landed {SECOND_AS_OF} with wounds: {'; '.join(wounds)}")
    versions = world.versions(stage)
    refused = stage.run_job("ingest", days=[SECOND_AS_OF])
    found = world.violations(stage, SECOND_AS_OF)
    for line in found[:4]:
        stage.console.print(f"      {line}", markup=False)
    rules = world.broken_rules(stage, SECOND_AS_OF)
    stored = world.rows_of_day(stage, SECOND_AS_OF)
    repaired = _land(stage, SECOND_AS_OF, SECOND_AS_OF + timedelta(days=1))
    return [
        Claim(f"the file was refused and quarantined whole, {len(found)} violations named", not refused.success),
        Claim(f"found: {', '.join(sorted(rules))}", {"null", "future", "duplicate", "range"} <= rules),
        Claim("not one of its rows was stored, so nothing was trained on it", stored == 0),
        Claim(
            "no model was trained meanwhile and the champion served on",
            world.versions(stage) == versions and world.answered_by(world.answer_of(stage, champion), champion),
        ),
        Claim("the repaired file of the same day was taken", repaired.success),
    ]


def corrupt_labels(stage: Stage) -> list[Claim]:
    """A challenger trained on shuffled labels must not pass the offline gate."""
    champion, releases = world.champion(stage), world.release_count(stage)
    _land(stage, SECOND_AS_OF + timedelta(days=1), CORRUPT_AS_OF)
    stopped = stage.run_job("release", config=_drill("corrupt_labels"))
    _tell_checks(stage, stopped)
    return [
        Claim(
            "the offline gate stopped it, and says which check and by how much",
            not stopped.success and any(c.asset == "evaluation_report" and c.why for c in stopped.failed_checks),
        ),
        Claim("no user and no shadow ever saw it", world.release_count(stage) == releases),
        Claim(f"version {champion} is still the champion", world.champion(stage) == champion),
    ]


def worse_online(stage: Stage) -> list[Claim]:
    """Fine offline; online its cache hands users the lists of others. The sequential verdict must find it."""
    _land(stage, CORRUPT_AS_OF, LAST_AS_OF)
    return _rolled_back(stage, "crossed_users", "canary_is_not_worse")


def failing(stage: Stage) -> list[Claim]:
    """The same data, trained again, on a server that fails for part of its users."""
    return _rolled_back(stage, "failing", "canary_has_no_more_errors")


def slow(stage: Stage) -> list[Claim]:
    """The same data, trained again, on a server that got slow: the shadow shows it before any user waits."""
    champion = world.champion(stage)
    stopped = stage.run_job("release", config=_drill("slow"))
    row = world.latest_release(stage)
    return [
        Claim(f"the run ended red: {'; '.join(stopped.failures)}", not stopped.success),
        Claim(
            f"the ledger: {row.phase.value}, {row.why}" if row else "the ledger knows the release",
            row is not None and row.phase is Phase.REJECTED,
        ),
        Claim("no user ever saw it", row is not None and "canary" not in world.phases(stage)),
        _still_champion(stage, champion),
    ]


SCENES = (
    Scene("first_release", "The first release", "No champion yet: it must pass the floors.", first_release),
    Scene("challenger", "A challenger", "Two more weeks; gate, shadow, canary, verdict.", challenger_promoted),
    Scene("poisoned_day", "A poisoned day", "Nulls, future times, duplicates, a shifted column.", poisoned_day),
    Scene("corrupt_labels", "Corrupted labels", "The offline gate must stop it.", corrupt_labels),
    Scene("worse_online", "Fine offline, worse online", "The canary's verdict must find it.", worse_online),
    Scene("failing", "A failing server", "The guardrails must find it.", failing),
    Scene("slow", "A slow server", "The shadow must find it, before any user waits.", slow),
)


def _rolled_back(stage: Stage, drill: str, check: str) -> list[Claim]:
    champion = world.champion(stage)
    stopped = stage.run_job("release", config=_drill(drill))
    _tell_checks(stage, stopped)
    row = world.latest_release(stage)
    return [
        Claim(
            "it passed the offline gate and was opened as a release",
            row is not None and row.version == world.versions(stage)[-1],
        ),
        Claim(f"the run ended red, stopped by {check}", not stopped.success and stopped.stopped_by(check)),
        *_ended(stage, Phase.ROLLED_BACK),
        _still_champion(stage, champion),
    ]


def _tell_checks(stage: Stage, outcome: JobOutcome) -> None:
    for check in outcome.failed_checks:
        stage.console.print(f"      [yellow]{check.name}[/yellow]: ", end="")
        stage.console.print(check.why, markup=False)


def _still_champion(stage: Stage, champion: str | None) -> Claim:
    return Claim(
        f"version {champion} is still the champion and has all of the traffic",
        champion is not None and world.champion(stage) == champion and world.split(stage) == {champion: 10_000},
    )


def _ended(stage: Stage, phase: Phase) -> list[Claim]:
    row = world.latest_release(stage)
    if row is None or row.version != world.versions(stage)[-1]:
        return [Claim("the ledger knows a release of the newest version", False)]
    seen = ", ".join(f"{a.variant} {a.visitors} visitors in {a.seconds:.0f} s" for a in world.audience(stage, row))
    return [Claim(f"the ledger: {row.phase.value}, {row.why} ({seen})", row.phase is phase and bool(seen))]


def _land(stage: Stage, first: date, end: date) -> JobOutcome:
    """Land the days from `first` up to, but without, `end`, and ingest them in one run."""
    days = [first + timedelta(days=n) for n in range((end - first).days)]
    movielens.land_days(stage.settings.home, days)
    return stage.run_job("ingest", days=days)


def _drill(name: str) -> dict[str, object]:
    return {"ops": {"ranker_model": {"config": {"drill": name}}}}


def _succeeded(text: str, outcome: JobOutcome) -> Claim:
    said = "; ".join((*(f"{c.name}: {c.why}" for c in outcome.failed_checks), *outcome.failures))
    return Claim(text if outcome.success else f"{text}: {said}", outcome.success)
