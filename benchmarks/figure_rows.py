"""What each figure of a page says, from the result files and from the code.

Here: words around numbers. Not here: where they stand in a page (figures.py), or any measurement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import RESULTS

REPOSITORY: Final = Path(__file__).parents[1]
Result = Mapping[str, Any]


@cache
def result(name: str, folder: Path = RESULTS) -> Result:
    found: Result = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


def commit(name: str) -> str:
    return f"`{result(name)['commit'][:9]}`"


@cache
def asset_count() -> int:
    """The assets of the graph, by the definitions themselves."""
    from recsys_assets.definitions import build_defs
    from recsys_assets.settings import PACKAGED_CONFIG, load_settings

    return len(list(build_defs(load_settings(config=PACKAGED_CONFIG)).assets or []))


@cache
def package_count(lock: str = "runtime") -> int:
    """The packages of a lock file."""
    text = (REPOSITORY / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    return len(re.findall(r"^[a-z0-9][a-z0-9._-]*==", text, re.MULTILINE))


@dataclass(frozen=True)
class Row:
    """One line of a table: what, the figure in words, its goal, and whether that is reached."""

    what: str
    of: str
    told: Callable[[Result], str]
    goal: str = "-"
    met: Callable[[Result], bool] = lambda _: True

    def line(self) -> str:
        if not (RESULTS / f"{self.of}.json").exists():
            return f"| {self.what} | not measured yet | {self.goal} | - |"
        found = result(self.of)
        told = self.told(found)
        return f"| {self.what} | {told if self.met(found) else f'**{told}**'} | {self.goal} | {commit(self.of)} |"


def _gib(mib: float) -> str:
    return f"{mib / 1024:.1f} GiB"


def _figures(found: Result) -> Mapping[str, Any]:
    figures: Mapping[str, Any] = found["figures"]
    return figures


def _image(found: Result, key: str, form: str) -> str:
    return " / ".join(f"{float(part[key]):{form}}" for part in (_figures(found), found["peers"]["server"]))


def _latency(found: Result, kind: str) -> str:
    figures = _figures(found)
    median, tail = (figures[f"{kind}_{each}_median_ms"] for each in ("p50", "p99"))
    return f"p50 {median:.1f} ms, p99 {tail:.1f} ms, {figures[f'{kind}_8_connections_median_per_second']:.0f} answers/s"


def _demo(found: Result) -> str:
    figures = _figures(found)
    return f"{figures['total_seconds'] / 60:.1f} min, peak {_gib(figures['peak_mib'])} over all processes"


def _join(found: Result) -> str:
    figures = _figures(found)
    ratios = [figures[f"{each}_ratio"] for each in ("feast_over_product_wall", "feast_over_product_peak_memory")]
    plain = figures["product_over_polars_wall_ratio"]
    return f"{ratios[0]:.1f}x faster, {ratios[1]:.1f}x less memory, {plain:.2f}x of plain Polars"


def _quality(found: Result) -> str:
    figures = _figures(found)
    ratio, low, high = (figures[f"over_best_retriever{each}_ratio"] for each in ("", "_low", "_high"))
    return f"{figures['ndcg_at_10_all']:.3f}, {ratio:.2f}x [{low:.2f}, {high:.2f}] the best single retriever"


def _clicks(found: Result) -> str:
    figures, popular = _figures(found), found["peers"]["recent_popularity"]["ndcg_at_10"]
    took = f"{figures['total_seconds']:.0f} s, peak {_gib(figures['peak_mib'])}"
    return f"{took}; NDCG@10 {figures['challenger_ndcg_at_10']:.3f} against {popular:.3f} of the last day's popularity"


README: Final = (
    Row(
        "`make demo` after the install",
        "demo_story",
        _demo,
        "10 min, 6 GB",
        lambda r: _figures(r)["total_seconds"] <= 600 and _figures(r)["peak_mib"] <= 6_144,
    ),
    Row(
        "loading the definitions",
        "definitions_loading",
        lambda r: (
            f"{_figures(r)['load_median_seconds']:.2f} s, {_figures(r)['peak_memory_mib']:.0f} MiB, heavy libraries: "
            f"{_figures(r)['heavy_libraries_imported']}"
        ),
        "3 s",
        lambda r: _figures(r)["load_median_seconds"] <= 3,
    ),
    Row(
        "the image with everything / of the model server alone",
        "image",
        lambda r: (
            f"{_image(r, 'unpacked_mb', ',.0f')} MB on disk, {_image(r, 'pulled_mb', ',.0f')} MB pulled, "
            f"{_figures(r)['pulled_for_code_mb']:.1f} MB of it anew where only our code changed"
        ),
    ),
    Row(
        "a model server in it, from start to ready, the bundle verified",
        "image",
        lambda r: f"{_image(r, 'server_ready_median_s', '.1f')} s",
    ),
    Row(
        "installing",
        "install_size",
        lambda r: f"{_gib(_figures(r)['environment_mib'])} with {_figures(r)['runtime_lock_packages_count']} packages",
    ),
    Row(
        "top 10 of some 180 candidates, ranked anew, through Envoy",
        "serving_latency",
        lambda r: _latency(r, "ranked_anew_through_envoy"),
    ),
    Row("the same without Envoy", "serving_latency", lambda r: _latency(r, "ranked_anew_direct")),
    Row("returning users, through Envoy", "serving_latency", lambda r: _latency(r, "returning_users_through_envoy")),
    Row("returning users, without Envoy", "serving_latency", lambda r: _latency(r, "returning_users_direct")),
    Row(
        "features at eight cuts, as training reads them: 3 views of 1,000,000 rows, against Feast's join; equal values",
        "as_of_join",
        _join,
        "20x, 2x, 1.3x",
        lambda r: _figures(r)["feast_over_product_wall_ratio"] >= 20,
    ),
    Row(
        "2,988,181 news clicks, from the file to the report",
        "clicks_pipeline",
        _clicks,
        "6 GB",
        lambda r: _figures(r)["peak_mib"] <= 6_144,
    ),
    Row(
        "MovieLens-100K, NDCG@10, time split, all test users",
        "recommendation_quality",
        _quality,
        "1.15x",
        lambda r: _figures(r)["over_best_retriever_ratio"] >= 1.15,
    ),
)


def readme_table() -> str:
    """A row without a result says so."""
    return "\n".join(["| what | measured | goal | at |", "|---|---|---|---|", *(row.line() for row in README)])


def demo_play() -> str:
    figures = _figures(result("demo_story"))
    return f"{figures['total_seconds'] / 60:.1f} minutes and {_gib(figures['peak_mib'])}"


def counts() -> str:
    guards = _figures(result("mutation_testing"))
    return (
        f"{asset_count()} assets; {package_count()} packages to run, {package_count('dev')} to develop; "
        f"{guards['guards_removed']:,} guards in the code that decides, of which {guards['killed']:,} fail a test when "
        "they are taken out alone"
    )


def cluster_requests() -> str:
    figures = _figures(result("cluster_story"))
    lost, expected = figures["requests_lost"], figures["rolled_back_requests_lost"]
    return (
        f"{figures['requests']:,} requests, {figures['requests_misrouted'] or 'none'} misrouted, "
        f"{figures['visitors_flipped'] or 'no'} visitor flipped, {lost - expected or 'none'} lost but the {expected} "
        "that the failing model itself answered with an error"
    )


def drills_table() -> str:
    figures = _figures(result("drills"))
    lines = ["| kind | caught by | by | found (s) | gone (s) | users who got it |", "|---|---|---|---|---|---|"]
    for kind in ("slow", "failing", "worse", "stale_features"):
        seconds = [f"{figures[f'{kind}_{each}_seconds']:.1f}" for each in ("detection", "rollback")]
        words = [f"`{kind}`", f"`{figures[f'{kind}_caught_by']}`", str(figures[f"{kind}_stopped_by"]), *seconds]
        lines.append(f"| {' | '.join([*words, str(figures[f'{kind}_users_exposed_count'])])} |")
    return "\n".join([*lines, "", f"Measured at {commit('drills')}."])


def collector_table() -> str:
    found = result("collector_durability")
    disk, small = _figures(found), found["peers"]["tmpfs_that_fills"]

    def row(what: str, told: Callable[[Mapping[str, Any]], str]) -> str:
        return f"| {what} | {told(disk)} | {told(small)} |"

    return "\n".join(
        [
            "| figure | disk | tmpfs that fills |",
            "|---|---|---|",
            row(
                "events acknowledged / kills / spells without room",
                lambda f: f"{f['acknowledged']:,} / {f['kills']} / {f['disk_full_spells']}",
            ),
            row("lost / doubled", lambda f: f"{f['lost']} / {f['doubled']}"),
            row(
                "events sent again on purpose / requests refused while full",
                lambda f: f"{f['sent_again_on_purpose']:,} / {f['refused_while_full']}",
            ),
            row("events a second, median between two kills", lambda f: f"{f['events_per_second_median']:,}"),
            row(
                "acknowledgement of a batch of 200, p50 / p99",
                lambda f: f"{f['p50_ms']:.0f} / {f['p99_ms']:.0f} ms",
            ),
            row(
                "start to ready, p50 / p99 of the restarts",
                lambda f: f"{f['restart_seconds_p50']:.2f} / {f['restart_seconds_p99']:.2f} s",
            ),
            "",
            f"Measured at {commit('collector_durability')}.",
        ]
    )


FIGURES: Final[Mapping[str, Callable[[], str]]] = {
    "readme_table": readme_table,
    "demo_play": demo_play,
    "counts": counts,
    "cluster_requests": cluster_requests,
    "drills_table": drills_table,
    "collector_table": collector_table,
}
