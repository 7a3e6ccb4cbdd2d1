"""The asset `drift_report` over real tables, registry and Evidently; its automation; the sensor on a real instance.

Here: what Dagster shows and asks for. Not here: distances or the decision.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from recsys_assets.columns import INTERACTIONS
from recsys_assets.drift.assets import DRIFT_REPORT, NOT_DRIFTED, build_assets, build_jobs
from recsys_assets.drift.sensors import ONE_TICK, build_sensors, read_report
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.platform.interface import ANY, PHASE_ANNOTATION
from recsys_assets.records import Phase
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.rollout.route import virtual_service
from recsys_assets.settings import FeatureSettings, Settings
from recsys_assets_tests.features.rows import user_feature_rows
from recsys_assets_tests.rollout.build import route

FIRST, DAYS = date(2026, 1, 1), 75


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def events(*, drifted: bool) -> pl.DataFrame:
    """60 events a day; in a drifted world users of the last week rate low, at night, and ten times as much."""
    rng, rows = np.random.default_rng(5), []
    for n in range(DAYS):
        moved = drifted and n >= DAYS - 7
        for event in range(600 if moved else 60):
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n, hours=2 if moved else 9 + event % 12)
            value = float(rng.integers(1, 3) if moved else rng.integers(3, 6))
            rows.append((f"u{rng.integers(40):02}", f"i{rng.integers(50):02}", at, at.date(), value, "view"))
    return pl.DataFrame(rows, schema=INTERACTIONS, orient="row")


def resources(settings: Settings, *, drifted: bool) -> dict[str, Any]:
    tables = TablesResource(root=str(settings.path("tables")))
    rows, days = events(drifted=drifted), [FIRST + timedelta(days=n) for n in range(DAYS)]
    tables.overwrite("interactions", rows)
    tables.overwrite("user_features", user_feature_rows(rows, days, FeatureSettings()))
    tables.overwrite("item_features", item_feature_rows(rows, days, FeatureSettings()))
    return {"tables": tables, "registry": ModelRegistryResource(home=str(settings.home), model_name="recommender")}


def watched(settings: Settings, instance: dg.DagsterInstance, *, drifted: bool) -> dg.ExecuteInProcessResult:
    return dg.materialize(build_assets(settings), instance=instance, resources=resources(settings, drifted=drifted))


@dg.job(name="release")
def release() -> None:
    @dg.op
    def nothing() -> None: ...

    nothing()


def tick(
    settings: Settings, instance: dg.DagsterInstance, cursor: str | None = None, later: timedelta = timedelta(0)
) -> dg.SensorResult | dg.SkipReason:
    [sensor] = build_sensors(settings, clock=lambda: datetime.now(UTC) + later)
    platform = PlatformResource.from_settings(settings)
    found = sensor(dg.build_sensor_context(instance=instance, cursor=cursor, resources={"platform": platform}))
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def test_a_steady_world_passes_and_a_moved_one_warns_and_asks_once(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    steady = watched(settings, instance, drifted=False)
    [check] = steady.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (NOT_DRIFTED, True), check.description
    assert isinstance(tick(settings, instance), dg.SkipReason)

    moved = watched(settings, instance, drifted=True)
    assert moved.success, "a warning must not stop the run"
    [check] = moved.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "interactions.events_of_user_in_a_day" in str(check.description)
    made = moved.asset_materializations_for_node(DRIFT_REPORT)[0].metadata
    for table in ("interactions", "user_features", "item_features"):
        port = settings.serving.collector_port
        assert made[f"report_{table}"].value == f"http://127.0.0.1:{port}/reports/drift/2026-03-17/{table}.html"
        page = settings.path("reports", "drift", "2026-03-17", f"{table}.html").read_text(encoding="utf-8")
        assert len(page) > 100_000
        title = f"Drift of {table}, 2026-03-10 to 2026-03-17, no champion yet"
        assert f"<title>{title}</title>" in page
        assert f"{title}</h1>" in page

    asked = tick(settings, instance)
    assert isinstance(asked, dg.SensorResult)
    assert [r.run_key for r in asked.run_requests or []] == ["drift:2026-03-17T00:00:00+00:00:none:first"]
    assert isinstance(tick(settings, instance, asked.cursor), dg.SkipReason), "it cools down"


def test_no_request_while_a_release_runs(settings: Settings, instance: dg.DagsterInstance) -> None:
    observed(instance)
    assert isinstance(tick(settings, instance), dg.SensorResult)
    run = instance.create_run_for_job(release, status=dg.DagsterRunStatus.STARTED)
    found = tick(settings, instance)
    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == "a release is under way"
    instance.report_run_canceled(run)
    assert isinstance(tick(settings, instance), dg.SensorResult)


@dg.asset
def training_rows() -> None:
    raise OSError("no space left on device")


@dg.asset(check_specs=[dg.AssetCheckSpec("not_below_champion", asset="evaluation_report", blocking=True)])
def evaluation_report() -> dg.MaterializeResult:  # type: ignore[type-arg]
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="not_below_champion", passed=False)])


@dg.asset
def champion() -> None: ...


def ended(instance: dg.DagsterInstance, asked: dg.SensorResult, made: dg.AssetsDefinition) -> None:
    """The run that was asked for, with one asset in it."""
    [request] = asked.run_requests or []
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    dg.materialize([made], instance=instance, tags=tags, raise_on_error=False)


def test_a_release_that_failed_for_a_passing_reason_is_asked_for_again_with_another_key(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    observed(instance)
    keys = set()
    for n in range(3):
        asked = tick(settings, instance, later=timedelta(hours=2 * n))
        assert isinstance(asked, dg.SensorResult)
        keys.add((asked.run_requests or [])[0].run_key)
        ended(instance, asked, training_rows)
        soon = tick(settings, instance)
        assert isinstance(soon, dg.SkipReason)
        assert f"ended with FAILURE (try {n + 1} of 3)" in str(soon.skip_message)
    assert len(keys) == 3
    last = tick(settings, instance, later=timedelta(days=30))
    assert isinstance(last, dg.SkipReason)
    assert "start one by hand" in str(last.skip_message)


@pytest.mark.parametrize(
    ("made", "why"), [(champion, "went its way"), (evaluation_report, "did not pass not_below_champion")]
)
def test_a_report_whose_model_was_judged_asks_no_more(
    settings: Settings, instance: dg.DagsterInstance, made: dg.AssetsDefinition, why: str
) -> None:
    observed(instance)
    asked = tick(settings, instance)
    assert isinstance(asked, dg.SensorResult)
    ended(instance, asked, made)
    for days in (0, 30):
        found = tick(settings, instance, later=timedelta(days=days))
        assert isinstance(found, dg.SkipReason)
        assert why in str(found.skip_message)


@pytest.mark.parametrize("phase", list(Phase))
def test_no_request_while_a_release_stands_on_the_route_whichever_run_looks_after_it(
    settings: Settings, instance: dg.DagsterInstance, phase: Phase
) -> None:
    observed(instance)
    PlatformResource.from_settings(settings).apply(virtual_service(route(phase)), expected=ANY)
    found = tick(settings, instance)
    assert isinstance(found, dg.SensorResult if phase.is_end else dg.SkipReason)
    if isinstance(found, dg.SkipReason):
        assert found.skip_message == "a release is under way"


def test_no_request_beside_a_route_that_nobody_understands(settings: Settings, instance: dg.DagsterInstance) -> None:
    observed(instance)
    strange = virtual_service(route(Phase.CHAMPION))
    del strange["metadata"]["annotations"][PHASE_ANNOTATION]
    PlatformResource.from_settings(settings).apply(strange, expected=ANY)
    assert isinstance(tick(settings, instance), dg.SkipReason)


def test_without_a_platform_the_sensor_asks_and_makes_none(settings: Settings, instance: dg.DagsterInstance) -> None:
    observed(instance)
    asked = tick(settings, instance)
    assert isinstance(asked, dg.SensorResult)
    assert [r.run_config for r in asked.run_requests or []] == [ONE_TICK]
    assert not settings.path("platform").exists()


@pytest.mark.parametrize("cursor", ["not json", '{"last": null}', "[]", "{}"])
def test_a_cursor_that_is_not_ours_means_never_asked(
    settings: Settings, instance: dg.DagsterInstance, cursor: str
) -> None:
    observed(instance)
    assert isinstance(tick(settings, instance, cursor), dg.SensorResult)


def test_a_report_that_cannot_be_read_is_no_report(settings: Settings, instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(DRIFT_REPORT, metadata={"drift": {"as_of": "soon"}}))
    assert read_report(instance) is None
    assert isinstance(tick(settings, instance), dg.SkipReason)


def test_new_feature_days_ask_for_one_report_although_other_days_are_missing(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2026-01-01", end_date="2026-02-12")

    def daily(name: str, *deps: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=days, deps=list(deps))
        def table() -> None: ...

        return table

    upstream = [daily("interactions"), daily("user_features", "interactions"), daily("item_features", "interactions")]
    [report] = build_assets(settings)
    defs = dg.Definitions(
        assets=[*upstream, report],
        resources={
            "tables": TablesResource(root="unused"),
            "registry": ModelRegistryResource(home="unused", model_name="m"),
        },
    )
    start = dg.evaluate_automation_conditions(defs, instance)
    assert start.total_requested == 0, "nothing was made yet, so there is nothing to compare"
    dg.materialize(upstream[:1], partition_key="2026-01-03", instance=instance)
    only_events = dg.evaluate_automation_conditions(defs, instance, cursor=start.cursor)
    assert only_events.total_requested == 0, "features are made last"
    dg.materialize(upstream, partition_key="2026-01-03", instance=instance)
    after = dg.evaluate_automation_conditions(defs, instance, cursor=only_events.cursor)
    assert after.get_num_requested(dg.AssetKey(DRIFT_REPORT)) == 1
    later = dg.evaluate_automation_conditions(defs, instance, cursor=after.cursor)
    assert later.total_requested == 0, "the same days ask once"


def test_the_job_makes_the_report_and_nothing_else(settings: Settings) -> None:
    [job] = build_jobs(settings)
    assert job.name == "watch_drift"


def observed(instance: dg.DagsterInstance) -> None:
    """A drift report that says that everything moved."""
    moment = "2026-02-12T00:00:00Z"
    shift = {"feature": "f", "kind": "number", "n_reference": 99, "n_current": 99, "distance": 0.9}
    report = {
        "as_of": moment,
        "reference_from": moment,
        "reference_to": moment,
        "current_from": moment,
        "champion_version": None,
        "champion_as_of": None,
        "shifts": [shift],
        "max_distance": 0.1,
        "max_drifted_share": 0.5,
    }
    instance.report_runless_asset_event(
        dg.AssetMaterialization(DRIFT_REPORT, metadata={"drift": dg.MetadataValue.json(report)})
    )
