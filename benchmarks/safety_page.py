"""The table of docs/safety.md, written from the result files, so that no figure there is older than its measurement.

Here: which figure answers which goal, and whether it is reached. Not here: any measurement, any other word of the page.
`python -m benchmarks.safety_page` writes it; `--check` fails where page and results differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "safety.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
Value = float | int | str
Figures = Mapping[str, Value]


@dataclass(frozen=True)
class Row:
    """One goal: `told` says the figure in words, `met` whether it is reached, `full` whether the run was whole."""

    goal: str
    result: str
    told: Callable[[Figures], str]
    met: Callable[[Figures], bool]
    full: Callable[[Figures], bool] = lambda _: True
    # The module, where it is not named as its result.
    command: str = ""


def number(figures: Figures, key: str) -> float:
    return float(figures[key])


def _lost_on_kubernetes(figures: Figures) -> float:
    """But for what the model that is made to fail costs, which is what it is there for."""
    return number(figures, "requests_lost") - number(figures, "rolled_back_requests_lost")


def share(value: Value) -> str:
    return f"{float(value):.1%}"


ROWS = (
    Row(
        "R1: of 2,000 releases exactly at the margin, at most 83 promoted",
        "release_simulation",
        lambda f: (
            f"{f['promoted_at_margin']} of {f['releases_at_margin']} "
            f"({share(f['promoted_share_at_margin_low_95'])} to {share(f['promoted_share_at_margin_high_95'])})"
        ),
        lambda f: number(f, "promoted_at_margin") <= 83 and number(f, "releases_at_margin") >= 2_000,
        lambda f: number(f, "releases_at_margin") >= 2_000,
    ),
    Row(
        "R1: expected sample at most .80 of the fixed one, power .8",
        "release_simulation",
        lambda f: (
            f"{number(f, 'expected_sample_over_fixed'):.2f} "
            f"({number(f, 'expected_sample_over_fixed_low_95'):.2f} to "
            f"{number(f, 'expected_sample_over_fixed_high_95'):.2f}) at power {number(f, 'power_no_difference'):.2f}"
        ),
        lambda f: number(f, "expected_sample_over_fixed") <= 0.80 and number(f, "power_no_difference") >= 0.8,
        lambda f: number(f, "releases_at_margin") >= 2_000,
    ),
    Row(
        "R2: a tripled error rate is caught in at least 95 %",
        "release_simulation",
        lambda f: f"{share(f['caught_share_3x_errors'])} (from {share(f['caught_share_3x_errors_low_95'])})",
        lambda f: number(f, "caught_share_3x_errors") >= 0.95,
        lambda f: number(f, "releases_at_margin") >= 2_000,
    ),
    Row(
        "R2: at most 1 % false roll-backs on A/A",
        "release_simulation",
        lambda f: f"{share(f['false_rollback_share_aa'])} (to {share(f['false_rollback_share_aa_high_95'])})",
        lambda f: number(f, "false_rollback_share_aa") <= 0.01,
        lambda f: number(f, "releases_at_margin") >= 2_000,
    ),
    Row(
        "R2: at most 1 % of equal models denied where each arm's machine stalls 1.5 times a canary",
        "release_stalls",
        lambda f: (
            f"{share(f['false_denial_share'])} (to {share(f['false_denial_share_high_95'])}) of "
            f"{int(number(f, 'canaries_aa_with_stalls')):,}; weight taken from "
            f"{share(f['weight_taken_share_aa_with_stalls'])}; of 3x errors it is taken from "
            f"{share(f['weight_taken_share_3x_errors_with_stalls'])}"
        ),
        lambda f: number(f, "false_denial_share_high_95") <= 0.01,
        lambda f: number(f, "canaries_aa_with_stalls") >= 1_000,
        command="release_simulation.stalls",
    ),
    Row(
        "R3: breach to the last canary answer, p99 at most 10 s, over 500 breaches",
        "guard_reaction",
        lambda f: (
            f"p99 {number(f, 'reaction_p99_seconds'):.1f} s, p50 {number(f, 'reaction_p50_seconds'):.1f} s over "
            f"{f['breaches']}; missed {f['missed']}; false roll-backs {f['false_rollbacks']} in "
            f"{f['healthy_spells']} healthy spells"
        ),
        lambda f: number(f, "reaction_p99_seconds") <= 10 and not f["missed"] and number(f, "breaches") >= 500,
        lambda f: number(f, "breaches") >= 500,
    ),
    Row(
        "R4: no bad end state in 3,000 kills",
        "kill_drill",
        lambda f: (
            f"{f['bad_end_states']} in {int(number(f, 'kills')):,} kills at {f['boundaries']} write boundaries; "
            f"slowest convergence {f['slowest_convergence_seconds']} s"
        ),
        lambda f: not f["bad_end_states"] and number(f, "kills") >= 3_000,
        lambda f: number(f, "kills") >= 3_000,
    ),
    Row(
        "R4: the same of the live stack, killed under traffic",
        "control_plane_kills",
        lambda f: (
            f"{f['live_bad_end_states']} bad of {f['live_kills']} kills; "
            f"slowest convergence {f['slowest_live_convergence_seconds']} s"
        ),
        lambda f: not f["live_bad_end_states"],
    ),
    Row(
        "R4: 0 of 100,000 requests lost, misrouted or flipped while the control plane is killed",
        "control_plane_kills",
        lambda f: (
            f"{f['requests_lost']} lost, {f['requests_misrouted']} misrouted, {f['visitors_flipped']} visitors flipped "
            f"of {int(number(f, 'requests')):,} requests, {f['kills']} kills, {f['route_moves']} moves of the route"
        ),
        lambda f: (
            not (number(f, "requests_lost") or number(f, "requests_misrouted") or number(f, "visitors_flipped"))
            and number(f, "requests") >= 100_000
        ),
        lambda f: number(f, "requests") >= 100_000,
    ),
    Row(
        "The same on a Kubernetes cluster, controllers and servers killed: 0 lost, misrouted or flipped",
        "cluster_story",
        lambda f: (
            f"{_lost_on_kubernetes(f):.0f} lost, {f['requests_misrouted']} misrouted, {f['visitors_flipped']} visitors "
            f"flipped of {int(number(f, 'requests')):,} requests; promoted, rolled back and held as they should: "
            f"{'yes' if f['claims_hold'] == 'True' else 'no'}"
        ),
        lambda f: (
            not (_lost_on_kubernetes(f) or f["requests_misrouted"] or f["visitors_flipped"])
            and f["claims_hold"] == "True"
        ),
    ),
    Row(
        "R6: 10,000 malformed inputs, none let through",
        "malformed_input",
        lambda f: (
            f"{f['let_through']} let through, {f['wrong_error']} with another error than its own, of "
            f"{int(number(f, 'mutated')):,} by {f['rules']} rules"
        ),
        lambda f: not number(f, "let_through") and not number(f, "wrong_error") and number(f, "mutated") >= 10_000,
        lambda f: number(f, "mutated") >= 10_000,
    ),
    Row(
        "R6: 1,000 valid inputs, none refused",
        "malformed_input",
        lambda f: f"{f['valid_refused']} of {int(number(f, 'valid')):,}",
        lambda f: not f["valid_refused"] and number(f, "valid") >= 1_000,
        lambda f: number(f, "valid") >= 1_000,
    ),
    Row(
        "R6: 1,000,000 events acknowledged under 300 kills, none lost, none doubled",
        "collector_durability",
        lambda f: (
            f"{f['lost']} lost, {f['doubled']} doubled of {int(number(f, 'acknowledged')):,}, {f['kills']} kills, "
            f"{f['disk_full_spells']} spells without room"
        ),
        lambda f: not f["lost"] and not f["doubled"] and number(f, "acknowledged") >= 1_000_000,
        lambda f: number(f, "acknowledged") >= 1_000_000,
    ),
    Row(
        "The ladder: p99 in an outage below 2x the usual, every lower rung flagged, nothing lost",
        "ladder_outages",
        lambda f: (
            f"worst {number(f, 'worst_p99_ratio'):.2f}x; {f['unflagged_count']} unflagged, {f['lost_count']} lost; "
            f"cold start {f['cold_start_seconds_in_outage']} s in an outage, {f['cold_start_seconds_usual']} s usually"
        ),
        lambda f: number(f, "worst_p99_ratio") < 2 and not f["unflagged_count"] and not f["lost_count"],
    ),
    Row(
        "Drills: every bad model caught, none promoted",
        "drills",
        lambda f: (
            f"{f['caught_count']} of {f['played_count']} caught, {f['promoted_count']} promoted; seconds to detect: "
            + ", ".join(
                f"{key.removesuffix('_detection_seconds')} {value}"
                for key, value in f.items()
                if key.endswith("_detection_seconds")
            )
        ),
        lambda f: f["caught_count"] == f["played_count"] and not f["promoted_count"],
        lambda f: number(f, "played_count") >= 4,
    ),
    Row(
        "Decision code: each guard removed fails a test",
        "mutation_testing",
        lambda f: (
            f"{f['guards_removed_survived']} of {number(f, 'guards_removed') - number(f, 'not_run'):.0f} removed "
            f"guards unnoticed in {f['files']} files"
            + ("" if not f["not_run"] else f"; {f['not_run']} not judged yet")
            + ("" if not f["files_not_run"] else f"; {f['files_not_run']} more files not judged")
        ),
        lambda f: not f["guards_removed_survived"],
        lambda f: not f["files_not_run"] and not f["not_run"],
    ),
)


def table(results: Path = RESULTS) -> str:
    """The rows in Markdown; a goal without a result file says so."""
    lines = ["| goal | measured | reached | command |", "|---|---|---|---|"]
    lines += [
        f"| {row.goal} | {_told(row, results)} | `python -m benchmarks.{row.command or row.result}` |" for row in ROWS
    ]
    return "\n".join(lines)


def _told(row: Row, results: Path) -> str:
    file = results / f"{row.result}.json"
    if not file.exists():
        return "not measured yet | **no**"
    figures: Figures = json.loads(file.read_text(encoding="utf-8"))["figures"]
    said = row.told(figures)
    if not row.full(figures):
        return f"{said} (a small run) | **not shown**"
    return f"{said} | {'yes' if row.met(figures) else '**no**'}"


def written(page: str, rows: str) -> str:
    """The page with the table between its marks; ValueError where a mark is missing."""
    head, _, rest = page.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{head}{BEGIN}\n{rows}\n{END}{tail}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.safety_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is older")
    given = parser.parse_args(argv)
    before = PAGE.read_text(encoding="utf-8")
    after = written(before, table())
    if given.check and before != after:
        print(f"{PAGE.name} is older than the results: python -m benchmarks.safety_page")
        return 1
    if not given.check:
        PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
