"""Each rule accepts its boundary and refuses what lies past it; all are said at once; what we ship breaks none.

Here: the rules on settings. Not here: one setting alone (test_settings.py).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from recsys_assets.cli import app
from recsys_assets.config_rules import models, releases, serving, sources
from recsys_assets.config_rules.book import RULES, contradictions, doubts, table
from recsys_assets.config_rules.stores import amount
from recsys_assets.evaluation.metrics import metric_names
from recsys_assets.interactions.files import opening
from recsys_assets.platform.local import routing
from recsys_assets.rollout import evidence, guarding, outcomes, shadow
from recsys_assets.settings import PACKAGED_CONFIG, ConfigError, load_settings
from recsys_assets_tests.config_rules.build import changed, said, settings_with
from recsys_assets_tests.config_rules.table import CASES, PLAN

ROOT = Path(__file__).parents[2]
# Two look at the machine or the environment, and have tests of their own below.
ELSEWHERE = {"home_is_local", "data_lie_there", "data_have_begun"}
ROWS = [(name, case) for name, cases in CASES.items() for case in cases]


def test_every_rule_stands_in_the_table() -> None:
    assert {rule.name for rule in RULES} == CASES.keys() | ELSEWHERE
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_a_rule_accepts_its_boundary(name: str, case: Any) -> None:
    assert said(name, case.accepted) == []


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_a_rule_refuses_what_lies_past_it_and_names_the_settings_and_their_values(name: str, case: Any) -> None:
    (message,) = said(name, case.refused)
    for words in case.words:
        assert words in message


@pytest.mark.parametrize(("name", "case"), ROWS)
def test_every_setting_of_a_rule_is_one_that_there_is(name: str, case: Any) -> None:
    (rule,) = [each for each in RULES if each.name == name]
    known = settings_with({}).model_dump(exclude={"secrets"})
    for setting in rule.settings:
        assert setting.split(".")[0] in known, setting


def test_all_contradictions_are_said_at_once_beside_what_is_wrong_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_HOEM", "/typo")
    wrong = {
        f"{PLAN}.attribution_seconds": 3_600,
        "serving.collector_port": 8_080,
        "data.items.path": "gs://bucket/items.parquet",
    }
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(changed(wrong)), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_settings(home=tmp_path / "home", config=path)
    told = str(refused.value)
    assert told.startswith("5 error(s)")  # replayed users do not suffice for such a window either
    for part in ("RECSYS_HOEM", "attribution_seconds 3600", "are both 8080", "the scheme gs:// is not supported"):
        assert part in told


@pytest.mark.parametrize("home", ["s3://bucket/home", "~/recsys", "C:\\recsys"])
def test_a_home_that_is_no_local_folder_is_refused(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", home)
    with pytest.raises(ConfigError, match="name a local folder"):
        load_settings(config=PACKAGED_CONFIG)


def test_what_matches_no_file_is_said_with_the_place_where_it_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "items.parquet").touch()
    change = {"data.users": None, "traffic.future": None, "traffic.in_jobs": False}
    found = said("data_lie_there", change, home=tmp_path)
    assert [m.split(" matches")[0] for m in found] == [
        "data.interactions.paths[0] '{home}/inbox/interactions/*.parquet'"
    ]
    assert f"looked at {tmp_path}/inbox/interactions/*.parquet; the path exists as far as {tmp_path}/inbox" in found[0]


def test_what_lies_on_a_cluster_is_not_looked_for_on_the_machine_that_asks() -> None:
    assert said("data_lie_there", {}) != []
    assert said("data_lie_there", {"platform": "kubernetes"}) == []


def test_data_that_begin_tomorrow_are_said_and_those_that_began_yesterday_are_not() -> None:
    today = datetime.now(UTC).date()
    begun, not_begun = (
        {"data.start_date": today + timedelta(days=days), "data.end_date": None, "traffic.future": None}
        for days in (-1, 1)
    )
    assert said("data_have_begun", begun) == []
    (message,) = said("data_have_begun", not_begun)
    assert f"data.start_date {today + timedelta(days=1)} is not past" in message


def test_check_config_says_warnings_and_still_calls_the_file_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RECSYS_CONFIG", raising=False)
    path = tmp_path / "recsys.yaml"
    path.write_text(yaml.safe_dump(changed({f"{PLAN}.bake_seconds": 0})), encoding="utf-8")
    told = CliRunner().invoke(app, ["check-config", str(path)])
    assert told.exit_code == 0
    assert "warning: rollout.plan.bake_seconds 0 ends before rollout.plan.attribution_seconds 2" in told.stderr
    assert "matches no file yet" in told.stderr
    assert "in order (5 warning(s))" in told.stdout


def test_the_packaged_settings_and_the_examples_in_the_readme_and_the_chart_contradict_nothing() -> None:
    for base in (yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8")), readme_example(), chart_example()):
        settings = settings_with({}, base=base)
        assert contradictions(settings) == []
        assert [m for m in doubts(settings) if "matches no file" not in m and "a folder of one pod" not in m] == []


def readme_example() -> dict[str, Any]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# recsys\.yaml\n.*?)```", text, re.DOTALL)
    return dict(yaml.safe_load(block))


def chart_example() -> dict[str, Any]:
    values = yaml.safe_load((ROOT / "helm_values" / "recsys-assets.yaml").read_text(encoding="utf-8"))
    return dict(values["settings"])


# Whatever a plan says within these, each of its numbers fits the others: nothing that can work is refused.
plans = st.fixed_dictionaries(
    {
        f"{PLAN}.steps_bp": st.sets(st.integers(100, 5_000), min_size=1, max_size=4).map(sorted),
        f"{PLAN}.attribution_seconds": st.integers(1, 3_600),
        f"{PLAN}.min_visitors_per_arm": st.integers(50, 10_000),
        f"{PLAN}.lease_seconds": st.integers(30, 600),
        f"{PLAN}.deadline_seconds": st.integers(86_400, 10**7),
        "rollout.tick_seconds": st.floats(0.1, 19),
        "rollout.guard_interval_seconds": st.floats(0.05, 14),
        "serving.top_k": st.integers(1, 80),
        "traffic.in_jobs": st.just(False),
    }
)


@given(plans)
def test_no_plan_whose_numbers_fit_each_other_is_refused(change: dict[str, Any]) -> None:
    assert contradictions(settings_with(change)) == []


def test_the_constants_are_those_of_the_parts_that_they_speak_of() -> None:
    assert outcomes.SETTLE_SECONDS + outcomes.LOG_GRACE_SECONDS == releases.STEP_SECONDS
    assert outcomes.SETTLE_SECONDS + shadow.COPY_GRACE_SECONDS == releases.SHADOW_SECONDS
    assert guarding.STALE_SECONDS == releases.GUARD_STALE_SECONDS
    assert evidence.BURN_IN == releases.BURN_IN
    assert f"{serving.GATEWAY_TIMEOUT_MS / 1_000:g}s" == routing.DEFAULT_TIMEOUT
    assert (sources.ENDINGS, sources.PACKINGS) == (opening.FORMATS, opening.PACKINGS)
    assert set(models.METRICS) < set(metric_names(models.METRIC_ITEMS))


@pytest.mark.parametrize(
    ("quantity", "worth"), [("500m", 0.5), ("2", 2.0), ("1.5k", 1_500.0), ("1Gi", 2.0**30), ("3G", 3e9)]
)
def test_a_quantity_is_worth_what_kubernetes_takes_it_for(quantity: str, worth: float) -> None:
    assert amount(quantity) == pytest.approx(worth)


def test_the_table_in_the_documents_is_the_one_of_the_rules() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert table() in page, "put in what recsys_assets.config_rules.book.table() says"
