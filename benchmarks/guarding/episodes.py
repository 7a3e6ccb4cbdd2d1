"""One breach after another in one home: a healthy spell, a fault switched on, and when the canary was heard last.

Here: `python -m benchmarks.guarding.episodes`, the process of one home; it writes one JSON line for each episode.
Times of answers are the gateway's own (its access log); the verdict's is the ledger's. Not here: any figure.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.guarding.house import ACTOR, CANARY, House, make_settings
from benchmarks.guarding.visits import Visits
from recsys_assets.platform.local.access_log import GATEWAY_LOG
from recsys_assets.records import Phase
from recsys_assets.rollout.people import rollback_now
from recsys_assets.serving.faults import Drill
from recsys_assets.tail import Tail
from recsys_assets_tests.serving.switching import switch_off, switch_on

PLAN: dict[str, Any] = {
    "steps_bp": [5_000],
    "attribution_seconds": 1,
    # No release is to pass here: each one would wait for a person.
    "needs_approval": True,
    "shadow_requests": 0,
    "deadline_seconds": 3_600,
    "lease_seconds": 600,
    # Several homes on two cores are slow by themselves: only what the fault does is to be found.
    "max_p99_ratio": 3.0,
    "latency_limits": [{"quantile": 0.9, "max_ratio": 3.0}],
}
KINDS = ("errors", "latency", "quality")
HEALTHY_SECONDS = (2.0, 4.0)
SHARES = (0.3, 0.6, 1.0)
GIVE_UP_SECONDS = 90.0
SILENT_SECONDS = 1.0
SLOW_SECONDS = 0.4
LEASE_SECONDS = 6.0


class Episodes:
    """The episodes of one home, and what the gateway wrote during each."""

    def __init__(self, house: House, visits: Visits, seed: int) -> None:
        self.house, self.visits, self.rng = house, visits, random.Random(seed)
        self.log = Tail(house.settings.path("logs", "gateway"), GATEWAY_LOG)
        self.service = house.models[CANARY].service_name

    def breach(self, kind: str, daemon: str) -> dict[str, Any]:
        """From an opened release to the last canary answer."""
        plan = self.house.settings.rollout.plan
        opened = self.open(plan)
        healthy = self.rng.uniform(*HEALTHY_SECONDS)
        time.sleep(healthy)
        state = self.house.state()
        if state.phase is not Phase.CANARY:
            return {"kind": kind, "daemon": daemon, "false_rollback": state.reason, "healthy_seconds": healthy}
        share = self.rng.choice(SHARES)
        began = self.break_it(kind, share)
        ended = self.wait_for_end(GIVE_UP_SECONDS)
        if not ended:
            self.take_back("nobody saw the breach")
        silent = self.wait_for_silence()
        self.mend()
        told = {"kind": kind, "daemon": daemon, "share": share, "healthy_seconds": healthy, "silent": silent}
        return told | self.times(kind, opened, began) if ended else told | {"missed": True}

    def lease(self) -> dict[str, Any]:
        """Nobody ticks, nothing is wrong: seconds from the end of the lease to the last canary answer."""
        plan = self.house.settings.rollout.plan.model_copy(update={"lease_seconds": LEASE_SECONDS})
        opened = self.open(plan)
        lease = self.house.state().lease
        ended = self.wait_for_end(GIVE_UP_SECONDS)
        self.wait_for_silence()
        last = self.answers(opened)["done"].max()
        told = {"kind": "lease", "daemon": "dead", "phase": self.house.state().phase.value}
        return told | {"missed": not ended, "seconds": (last - lease).total_seconds()}

    def healthy(self, seconds: float) -> dict[str, Any]:
        """A release that nothing is wrong with, watched for a while; then a person takes it back."""
        self.open(self.house.settings.rollout.plan)
        time.sleep(seconds)
        state = self.house.state()
        if state.phase is Phase.CANARY:
            self.take_back("the healthy spell is over")
            self.wait_for_silence()
            return {"kind": "healthy", "healthy_seconds": seconds}
        return {"kind": "healthy", "healthy_seconds": seconds, "false_rollback": state.reason}

    def take_back(self, why: str) -> None:
        rollback_now(self.house.desk, self.house.state().release.release_id, who=ACTOR, why=why)

    def open(self, plan: Any) -> datetime:
        opened, before = datetime.now(UTC), self.visits.seen.canary
        self.house.release(plan)
        self.house.until(lambda: self.visits.seen.canary > before, "the first canary answer")
        return opened

    def break_it(self, kind: str, share: float) -> datetime:
        if kind == "quality":
            self.visits.clicks["canary"] = 0.0
        else:
            fault = Drill.of("failing", share) if kind == "errors" else Drill.of("slow", share, SLOW_SECONDS)
            switch_on(self.house.settings.home, self.service, fault)
        return datetime.now(UTC)

    def mend(self) -> None:
        switch_off(self.house.settings.home, self.service)
        self.visits.clicks["canary"] = self.visits.clicks["stable"]

    def wait_for_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.house.state().phase.is_end:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def wait_for_silence(self) -> bool:
        """Until the canary has answered nobody for a while; the fault stays on, so that no answer is mended early."""
        deadline, seen, since = time.monotonic() + GIVE_UP_SECONDS, self.heard(), time.monotonic()
        while time.monotonic() - since < SILENT_SECONDS:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
            if self.heard() != seen:
                seen, since = self.heard(), time.monotonic()
        return True

    def heard(self) -> int:
        """Rows of the canary at the gateway so far, failed ones as well."""
        since = datetime.now(UTC) - timedelta(minutes=5)
        floor = since.replace(second=0, microsecond=0)
        return int((self.log.read(floor)["variant"] == "canary").sum())

    def answers(self, opened: datetime) -> pl.DataFrame:
        """What users got of the canary since then; `done` is when they had it."""
        rows = self.log.read(opened).filter(pl.col("variant") == "canary")
        return rows.with_columns(done=pl.col("served_at") + pl.duration(microseconds=pl.col("duration_ms") * 1_000))

    def times(self, kind: str, opened: datetime, began: datetime) -> dict[str, Any]:
        rows = self.answers(opened).sort("done")
        faulty = {
            "errors": pl.col("status") >= 500,
            "latency": pl.col("duration_ms") >= SLOW_SECONDS * 1_000,
            "quality": pl.col("done") >= began,
        }[kind]
        first, last = rows.filter(faulty)["done"].min(), rows["done"].max()
        state = self.house.state()
        events = self.house.desk.ledger.events(state.release.release_id)
        said = next(e for e in events if e.kind == state.phase.value)
        return {
            "phase": state.phase.value,
            "actor": said.actor,
            "reason": said.body["reason"][:200],
            "to_last_answer_seconds": (last - first).total_seconds(),
            "to_verdict_seconds": (said.at - first).total_seconds(),
            "verdict_to_last_answer_seconds": (last - said.at).total_seconds(),
            "canary_answers_after_breach": rows.filter(pl.col("done") >= first).height,
            "opened": opened.isoformat(),
            "last": last.isoformat(),
        }


def ticking(house: House) -> subprocess.Popen[bytes]:
    settings = house.settings
    command = [sys.executable, "-m", "benchmarks.guarding.ticker"]
    command += ["--home", str(settings.home), "--config", str(settings.config_file)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--breaches", type=int, required=True)
    parser.add_argument("--leases", type=int, required=True)
    parser.add_argument("--healthy-seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--block", type=int, required=True, help="breaches in a row with the ticker alive, then dead")
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the stack would outlive it
    settings = make_settings(asked.folder, asked.port, PLAN)
    house = House(settings)
    visits = Visits(settings.serving.gateway_port, settings.model_name, asked.rate, asked.seed)
    try:
        house.start()
        visits.start()
        play(asked, house, visits)
    finally:
        if visits.is_alive():
            visits.end()
        house.stop()


def play(asked: argparse.Namespace, house: House, visits: Visits) -> None:
    """All episodes, each written down as it ends."""
    episodes, ticker = Episodes(house, visits, asked.seed), None
    with (asked.folder / "episodes.jsonl").open("w", encoding="utf-8") as out:

        def told(what: dict[str, Any]) -> None:
            out.write(json.dumps(what) + "\n")
            out.flush()

        try:
            for number in range(asked.breaches):
                alive = number // asked.block % 2 == 0
                if alive and ticker is None:
                    ticker = ticking(house)
                elif not alive and ticker is not None:
                    ticker = ended(ticker)
                told(episodes.breach(KINDS[number % len(KINDS)], "alive" if alive else "dead"))
            ticker = ended(ticker)
            for _ in range(asked.leases):
                told(episodes.lease())
            if asked.healthy_seconds:
                told(episodes.healthy(asked.healthy_seconds))
            told({"kind": "visits", **vars(visits.seen)})
        finally:
            ended(ticker)


def ended(ticker: subprocess.Popen[bytes] | None) -> None:
    """Killed, as everything that decides may be at any moment."""
    if ticker is not None:
        ticker.kill()
        ticker.wait()
        if ticker.stdout is not None:
            ticker.stdout.close()


if __name__ == "__main__":
    main()
