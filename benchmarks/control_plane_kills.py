"""Live kills of a real local stack: users are served while the control plane is killed, and it ends as it should.

Here: three parts and their figures. `users`: open-loop clients through Envoy while releases move and everything that
only decides is killed -9. `data`: model servers, Envoy. `live`: random and double kills over all nine processes, each
judged by its end state. Not here: write boundaries, one by one (`kill_drill.py`).
Run it from the project's root: `python -m benchmarks.control_plane_kills`, some 20 minutes on two free cores.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import harness
from benchmarks.kills import clients, judge, killer
from benchmarks.kills.live import ENDS, decisions_per_release, live_kills
from benchmarks.kills.works import Releaser, Works, make_settings
from recsys_assets.platform.local.programs import ENVOY
from recsys_assets.records import Phase
from recsys_assets.rollout.route import RouteState

Figures = dict[str, float | int | str]
# From a kill of the data plane to the next one.
AFTER_SECONDS = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--quiet-requests", type=int, default=5_000, help="first, with nothing killed, to compare with")
    parser.add_argument("--rate", type=float, default=250.0, help="requests a second, whatever was answered")
    parser.add_argument("--kill-every-seconds", type=float, default=4.0)
    parser.add_argument("--data-kills", type=int, default=12)
    parser.add_argument("--live-kills", type=int, default=300)
    parser.add_argument("--live-seconds", type=float, default=720.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="kills"))
    works = Works(make_settings(folder))
    try:
        works.start()
        judge.keep_history(works.store.path)
        measure(asked, works, folder)
    finally:
        works.stop()
        if not asked.keep:
            subprocess.run(["rm", "-rf", str(folder)], check=False)


def measure(asked: argparse.Namespace, works: Works, folder: Path) -> None:
    """All parts on one stack, one after the other."""
    releaser = Releaser(works)
    releaser.start()
    wait_for_champion(works)
    figures: Figures = {"seed": asked.seed, "rate_per_second": asked.rate}
    try:
        if asked.quiet_requests:
            figures |= quiet(asked, works, folder)
        if asked.requests:
            figures |= users(asked, works, releaser, folder)
            written(figures)
        if asked.data_kills:
            figures |= data_plane(asked, works, folder)
            written(figures)
    finally:
        if not asked.live_kills:
            releaser.stop()
    if asked.live_kills:
        figures |= live_kills(works, releaser, seed=asked.seed, kills=asked.live_kills, seconds=asked.live_seconds)
        written(figures)


def written(figures: Figures) -> None:
    """After each part, so that an interruption takes only the part that it interrupts."""
    harness.write("control_plane_kills", command="python -m benchmarks.control_plane_kills", figures=figures, peers={})


def quiet(asked: argparse.Namespace, works: Works, folder: Path) -> Figures:
    """The same clients with nothing killed: what the machine itself loses, if it is too full."""
    out = folder / "quiet.jsonl"
    sending(works, asked, requests=asked.quiet_requests, out=out).wait()
    answers = judge.read_answers(out)
    figures: Figures = {"requests": len(answers), "requests_lost": len(judge.lost(answers, clients.K))}
    figures |= latencies(answers) | {"load_average": round(os.getloadavg()[0], 1)}
    return {f"quiet_{key}": value for key, value in figures.items()}


def users(asked: argparse.Namespace, works: Works, releaser: Releaser, folder: Path) -> Figures:
    """100,000 requests while the control plane is killed."""
    watch, out = watching(works), folder / "users.jsonl"
    hand = killer.Killer(works.settings, asked.seed)
    opened, moves = releaser.opened, len(judge.route_history(works.store.path))
    sender = sending(works, asked, requests=asked.requests, out=out)
    try:
        while sender.poll() is None:
            time.sleep(hand.draw.expovariate(1 / asked.kill_every_seconds))
            hand.kill(hand.draw.choice(killer.CONTROL))
            print(f"{time.strftime('%X')} killed {hand.killed[-1:]} {standing(works)}", flush=True)
    finally:
        sender.terminate()
    watch.ended.set()
    answers, history = judge.read_answers(out), judge.route_history(works.store.path)
    wrong, flips = judge.misrouted(answers, watch.seen), judge.flipped(answers, watch.seen)
    for each in [*judge.lost(answers, clients.K)[:5], *wrong[:5], *flips[:5]]:
        print(each)
    print(f"releaser: {releaser.told[-5:]}")
    figures: Figures = {
        "requests": len(answers),
        "requests_lost": len(judge.lost(answers, clients.K)),
        "requests_misrouted": len(wrong),
        "visitors": len({a.visitor for a in answers}),
        "visitors_flipped": len({before.visitor for before, _ in flips}),
        "requests_to_canary": sum(a.variant == "canary" for a in answers),
        "unplanned_routes": len(judge.unplanned(watch.seen, history)),
        **latencies(answers),
        **ended(works, opened=releaser.opened - opened),
        "route_moves": count_moves([state for _, state in history[moves:]]),
        "routes_in_force_seen": len(watch.seen),
        "load_average": round(os.getloadavg()[0], 1),
        "kills": len(hand.killed),
    }
    return figures | {f"kills_{_key(part)}": n for part, n in hand.counts(killer.CONTROL).items()}


def data_plane(asked: argparse.Namespace, works: Works, folder: Path) -> Figures:
    """Kill what answers users, one at a time: how many requests that costs, and for how long."""
    figures: Figures = {}
    for part in (ENVOY, "canary_server", "stable_server"):
        hand, out, stop = killer.Killer(works.settings, asked.seed), folder / f"{part}.jsonl", folder / f"{part}.stop"
        watch, sender = watching(works), sending(works, asked, requests=10**7, out=out, stop=stop)
        time.sleep(3)
        deadline = time.monotonic() + 30 * asked.data_kills
        while len(hand.killed) < asked.data_kills and time.monotonic() < deadline:
            time.sleep(AFTER_SECONDS + hand.draw.random() if kill_data(hand, works, part) else 0.2)
        stop.touch()
        sender.wait(60)
        watch.ended.set()
        figures |= data_figures(part, hand, judge.read_answers(out), watch)
    return figures


def kill_data(hand: killer.Killer, works: Works, part: str) -> bool:
    """Kill Envoy, or the server of the canary or of stable. A canary's only while it really has users."""
    if part == ENVOY:
        return hand.kill(ENVOY)
    state = works.state()
    service = None if state is None else state.split.canary if part == "canary_server" else state.split.stable
    return service is not None and hand.kill_server_of(service)


def data_figures(part: str, hand: killer.Killer, answers: list[judge.Answer], watch: judge.GatewayWatch) -> Figures:
    bad = judge.lost(answers, clients.K)
    gaps = [
        max((a.done - at for a in bad if 0 <= a.sent - at < AFTER_SECONDS), default=0.0) for at, _, _ in hand.killed
    ]
    return {
        f"data_{part}_kills": len(hand.killed),
        f"data_{part}_requests": len(answers),
        f"data_{part}_requests_lost": len(bad),
        f"data_{part}_lost_per_kill": round(len(bad) / max(1, len(hand.killed)), 2),
        f"data_{part}_slowest_recovery_seconds": round(max(gaps, default=0.0), 2),
        f"data_{part}_misrouted": len(judge.misrouted(answers, watch.seen, fallback=True)),
    }


def watching(works: Works) -> judge.GatewayWatch:
    serving = works.settings.serving
    watch = judge.GatewayWatch(serving.host, serving.gateway_admin_port, works.settings.model_name)
    watch.start()
    while not watch.seen:
        time.sleep(0.05)
    return watch


def sending(
    works: Works, asked: argparse.Namespace, *, requests: int, out: Path, stop: Path | None = None
) -> subprocess.Popen[bytes]:
    serving = works.settings.serving
    command = [sys.executable, "-m", "benchmarks.kills.clients", "--model", works.settings.model_name]
    command += ["--url", f"http://{serving.host}:{serving.gateway_port}", "--requests", str(requests)]
    command += ["--rate", str(asked.rate), "--seed", str(asked.seed), "--out", str(out)]
    command += ["--stop", str(stop)] if stop else []
    return subprocess.Popen(command)


def wait_for_champion(works: Works) -> None:
    deadline = time.monotonic() + 400
    while (state := works.state()) is None or state.phase is not Phase.CHAMPION:
        if time.monotonic() > deadline:
            raise SystemExit(f"no first champion: {state}")
        time.sleep(0.2)


def standing(works: Works) -> str:
    state = works.state()
    return "no route" if state is None else f"v{state.version} {state.phase.value} {state.split.canary_weight_bp} bp"


def latencies(answers: list[judge.Answer]) -> Figures:
    """From the time at which a request was to leave, so that waiting for the client itself counts, too."""
    ordered = sorted(a.ms for a in answers)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)

    return {"latency_p50_ms": at(0.5), "latency_p99_ms": at(0.99), "latency_slowest_ms": at(1.0)}


def count_moves(states: list[RouteState]) -> int:
    return len({(state.release.release_id, state.transition) for state in states})


def ended(works: Works, *, opened: int) -> Figures:
    """What became of the releases, and how many were decided more than once."""
    kinds = [e.kind for e in works.desk.ledger.events()]
    twice = sum(len(set(found)) > 1 for found in decisions_per_release(works.desk.ledger).values())
    return {
        "releases_opened": opened,
        **{f"releases_{kind}": kinds.count(kind) for kind in ENDS},
        "releases_decided_twice": twice,
    }


def _key(part: str) -> str:
    return part.replace(" ", "_").replace("-", "_")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
