"""What the route allowed whom when, and which answers broke it.

Here: the gateway's and the route object's histories, and pure judging of answers. Not here: sending or killing.
"""

from __future__ import annotations

import bisect
import http.client
import json
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from recsys_assets.platform.interface import VIRTUAL_SERVICE
from recsys_assets.platform.local.bucket import BUCKETS, LUA_FILTER
from recsys_assets.rollout.route import RouteState, read_route
from recsys_assets_tests.platform.bucket_twin import bucket

# Envoy's main thread dates a route; its worker goes by it a moment later.
SLACK_SECONDS = 0.1
_KEPT = """
CREATE TABLE IF NOT EXISTS history
  (seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL DEFAULT ((julianday('now') - 2440587.5) * 86400.0),
   kind TEXT, name TEXT, manifest TEXT);
CREATE TRIGGER IF NOT EXISTS kept_new AFTER INSERT ON objects BEGIN
  INSERT INTO history (kind, name, manifest) VALUES (NEW.kind, NEW.name, NEW.manifest); END;
CREATE TRIGGER IF NOT EXISTS kept_change AFTER UPDATE OF manifest ON objects BEGIN
  INSERT INTO history (kind, name, manifest) VALUES (NEW.kind, NEW.name, NEW.manifest); END;
"""


@dataclass(frozen=True)
class InForce:
    """What the gateway did from `at` on: who of the users of this salt went where."""

    at: float
    salt: str
    canary: str
    canary_bp: int
    stable: str

    def arm(self, visitor: str) -> tuple[str, str]:
        """Version and variant."""
        is_canary = self.canary_bp > 0 and bucket(visitor, self.salt) < self.canary_bp
        return (self.canary, "canary") if is_canary else (self.stable, "stable")


@dataclass(frozen=True)
class Answer:
    scheduled: float
    sent: float
    done: float
    visitor: str
    status: str
    items: int
    version: str
    variant: str

    @property
    def ms(self) -> float:
        return (self.done - self.scheduled) * 1_000


def keep_history(store: Path) -> None:
    """Have the store's own database keep every revision of every object, so that none goes unseen."""
    with sqlite3.connect(store, timeout=10) as db:
        db.executescript(_KEPT)


def route_history(store: Path) -> list[tuple[float, RouteState]]:
    """Every state that the route object ever had."""
    with sqlite3.connect(store, timeout=10) as db:
        rows = db.execute("SELECT at, manifest FROM history WHERE kind = ? ORDER BY seq", (VIRTUAL_SERVICE,)).fetchall()
    return [(at, read_route(json.loads(manifest))) for at, manifest in rows]


class GatewayWatch(threading.Thread):
    """Asks Envoy's admin again and again which routes are in force, and since when."""

    def __init__(self, host: str, port: int, route: str) -> None:
        super().__init__(daemon=True)
        self._address, self._route, self.seen, self.ended = (host, port), route, list[InForce](), threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.05):
            connection = http.client.HTTPConnection(*self._address, timeout=5)
            try:
                connection.request("GET", "/config_dump?resource=dynamic_route_configs")
                self._note(json.loads(connection.getresponse().read()))
            except (OSError, http.client.HTTPException, ValueError):
                continue  # it is just being killed
            finally:
                connection.close()

    def _note(self, dump: dict[str, Any]) -> None:
        for config in dump.get("configs", []):
            found = in_force(config, self._route)
            if found and (not self.seen or self.seen[-1] != found):
                self.seen.append(found)


def in_force(config: dict[str, Any], name: str) -> InForce | None:
    """One route configuration of Envoy's, read back."""
    at = datetime.fromisoformat(config["last_updated"].replace("Z", "+00:00")).timestamp()
    [host] = config["route_config"]["virtual_hosts"]
    route = next((r for r in host["routes"] if r.get("name") == name and "route" in r), None)
    if route is None:
        return None
    arms = route["route"]["weighted_clusters"]["clusters"]
    weights = {
        a["request_headers_to_add"][0]["header"]["value"]: (a["name"].split("|")[0], int(a["weight"])) for a in arms
    }
    canary, weight = weights.get("canary", ("", 0))
    stable = weights.get("stable", (arms[0]["name"].split("|")[-1], 0))[0]
    salt = route["metadata"]["filter_metadata"][LUA_FILTER]["salt"]
    return InForce(at, salt, _version(canary), weight, _version(stable))


def read_answers(path: Path) -> list[Answer]:
    with path.open(encoding="utf-8") as lines:
        return [Answer(*json.loads(line)) for line in lines]


def lost(answers: Sequence[Answer], k: int) -> list[Answer]:
    return [a for a in answers if a.status != "200" or a.items != k]


def misrouted(
    answers: Sequence[Answer],
    routes: Sequence[InForce],
    *,
    fallback: bool = False,
    slack_seconds: float = SLACK_SECONDS,
) -> list[Answer]:
    """Answers of an arm that no route in force while the request was under way gave to this visitor.

    `slack_seconds`: how much later than it said the gateway may have gone by a route. With `fallback` the stable model
    may answer for the canary's: that is what happens to those of a dead server.
    """
    starts = [route.at for route in routes]

    def is_allowed(answer: Answer) -> bool:
        first = max(0, bisect.bisect_right(starts, answer.sent - slack_seconds) - 1)
        last = bisect.bisect_right(starts, answer.done + slack_seconds)
        allowed = {route.arm(answer.visitor) for route in routes[first:last]}
        if fallback:
            allowed |= {(route.stable, "canary") for route in routes[first:last]}
        return (answer.version, answer.variant) in allowed

    return [a for a in answers if a.status == "200" and not is_allowed(a)]


def flipped(
    answers: Sequence[Answer], routes: Sequence[InForce], *, slack_seconds: float = SLACK_SECONDS
) -> list[tuple[Answer, Answer]]:
    """Two answers in a row to one visitor, of different models, with no change of weight between that explains it.

    A newer model needs a weight that grew, an older one a weight that fell. The hash plays no part here.
    """
    of_visitor = defaultdict[str, list[Answer]](list)
    for answer in sorted(answers, key=lambda a: a.sent):
        if answer.status == "200":
            of_visitor[answer.visitor].append(answer)
    changes = [(b.at, _shares(a), _shares(b)) for a, b in pairwise(routes)]
    found = []
    for one in of_visitor.values():
        for before, after in pairwise(one):
            if before.version != after.version and not _explained(before, after, changes, slack_seconds):
                found.append((before, after))
    return found


Shares = dict[str, int]


def _explained(
    before: Answer, after: Answer, changes: Sequence[tuple[float, Shares, Shares]], slack_seconds: float
) -> bool:
    first, last = before.sent - slack_seconds, after.done + slack_seconds
    return any(
        first <= at <= last and new.get(after.version, 0) > old.get(after.version, 0) for at, old, new in changes
    )


def _shares(route: InForce) -> Shares:
    return {route.stable: BUCKETS - route.canary_bp} | ({route.canary: route.canary_bp} if route.canary_bp else {})


def unplanned(routes: Sequence[InForce], history: Sequence[tuple[float, RouteState]]) -> list[InForce]:
    """Routes in force that no state of the route object, written before, asked for.

    A canary that is not ready has its weight given to stable: the same state with no canary is what was asked, too.
    """
    return [route for route in routes if not any(_asks(state, at, route) for at, state in history)]


def _asks(state: RouteState, at: float, route: InForce) -> bool:
    split = state.split
    weight = split.canary_weight_bp
    same_canary = route.canary_bp == 0 or (route.canary_bp, route.canary) == (weight, _version(split.canary or ""))
    is_it = state.release.release_id == route.salt and _version(split.stable) == route.stable
    return is_it and same_canary and at <= route.at + SLACK_SECONDS


def _version(service: str) -> str:
    return service.rpartition("-v")[2]
