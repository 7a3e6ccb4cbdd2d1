"""For each rule: settings at its boundary, which are accepted, and one step past it, with words of the message.

Here: the table. Not here: asking it (test_rules.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """`accepted` and `refused` are changes to the packaged settings; `words` stand in the message for `refused`."""

    accepted: dict[str, Any]
    refused: dict[str, Any]
    words: tuple[str, ...]


IN_JOBS = "traffic.in_jobs"
PLAN = "rollout.plan"
HOOK = "notifications.webhooks"
COLUMNS = {"user_id": "u", "item_id": "i", "event_time": "t"}
PODS = {"platform": "kubernetes"}


def hooks(*urls: str, **more: Any) -> list[dict[str, Any]]:
    return [{"url": url, **more} for url in urls]


# The packaged days are 216. Labels take 7, the test window 14, and cuts lie 7 apart: the first one that may be learned
# from lies 21 days before the end, and of six the oldest 56.
CASES: dict[str, list[Case]] = {
    "data_places_are_understood": [
        Case({"data.interactions.paths": ["/data/*.csv"]}, {"data.interactions.paths": ["gs://b/*.csv"]}, ("gs://",)),
        Case(
            {"data.interactions.paths": ["clicks/a:b.csv"]}, {"data.interactions.paths": ["hdfs://b/x"]}, ("hdfs://",)
        ),
        Case({"data.items.path": "s3://bucket/x.csv"}, {"data.items.path": "abfs://b@c/x.csv"}, ("data.items.path",)),
        Case({"data.items.path": "{home}/x.csv"}, {"data.items.path": "{HOME}/x.csv"}, ("'{HOME}' is not filled in",)),
        Case({"data.users.path": "../x.csv"}, {"data.users.path": "http://h/x.csv"}, ("s3://bucket/key",)),
        Case({"data.users.path": "x.csv"}, {"data.users.path": "file:///x.csv"}, ("file://",)),
        Case({"data.users.path": "a/~x.csv"}, {"data.users.path": "~/x.csv"}, ("~ is not filled in",)),
        Case({"data.users.path": "a%20b.csv"}, {"data.users.path": "%USERPROFILE%/x.csv"}, ("variables",)),
        Case({"data.users.path": "a.csv"}, {"data.users.path": "$DATA/x.csv"}, ("variables",)),
        Case({"data.users.path": "C/x.csv"}, {"data.users.path": "C:/x.csv"}, ("Windows",)),
        Case({"data.users.path": "a/b.csv"}, {"data.users.path": "a\\b.csv"}, ("Windows",)),
        Case({"data.users.path": "a b.csv"}, {"data.users.path": "a.csv "}, ("blank",)),
        Case({"data.items.path": "s3://b-1/x"}, {"data.items.path": "S3://b-1/x"}, ("small letters",)),
        Case({"data.items.path": "s3://b-1/x"}, {"data.items.path": "s3:/b-1/x"}, ("s3://bucket/key",)),
        Case({"data.items.path": "s3://b-1/x"}, {"data.items.path": "s3://b-1"}, ("a key",)),
        Case({"data.items.path": "s3://b-1/x"}, {"data.items.path": "s3a://b-1/x"}, ("s3a://",)),
        Case(
            {"traffic.future": {"paths": ["{home}/r/*.parquet"], "columns": COLUMNS}},
            {"traffic.future": {"paths": ["{home}/r/*.parquet", "az://r/x"], "columns": COLUMNS}},
            ("traffic.future.paths[1]", "az://"),
        ),
    ],
    "local_places_are_understood": [
        Case(
            {"collector.tokens_file": "{home}/t"}, {"collector.tokens_file": "s3://b-1/t"}, ("collector.tokens_file",)
        ),
        Case({"traffic.token_file": "/run/t"}, {"traffic.token_file": "~/t"}, ("traffic.token_file", "local path")),
        Case(
            {HOOK: hooks("https://a", secret_file="s")},
            {HOOK: hooks("https://a", secret_file="vault://s")},
            ("notifications.webhooks[0].secret_file", "vault://"),
        ),
    ],
    "token_files_differ": [
        Case(
            {"traffic.token_file": "{home}/keys/token"},
            {"traffic.token_file": "{home}/keys/collector_tokens.json"},
            ("traffic.token_file", "collector.tokens_file"),
        ),
    ],
    "formats_are_known": [
        Case({"data.items.path": "a.CSV.gz"}, {"data.items.path": "a.xlsx"}, ("data.items.path", ".xlsx", "jsonl")),
        Case({"data.items.path": "a.log", "data.items.format": "csv"}, {"data.items.path": "*.log"}, ("ends in .log",)),
        Case(
            {"data.interactions.paths": ["clicks-*", "b.ndjson.zst"]},
            {"data.interactions.paths": ["a.csv", "b.csv.bz2"]},
            ("data.interactions.paths[1]", ".bz2"),
        ),
    ],
    "formats_agree": [
        Case(
            {"data.items.path": "a.txt", "data.items.format": "jsonl"},
            {"data.items.path": "a.parquet", "data.items.format": "csv"},
            ("data.items.path 'a.parquet' is read as csv", "tells parquet"),
        ),
    ],
    "value_range_has_a_column": [
        Case(
            {"data.interactions.columns": COLUMNS | {"value": "v"}},
            {"data.interactions.columns": COLUMNS},
            ("data.interactions.value_range [1, 5]", "maps no value"),
        ),
    ],
    "columns_are_read_once": [
        Case(
            {"data.interactions.columns": COLUMNS | {"value": "v"}},
            {"data.interactions.columns": COLUMNS | {"value": "i"}},
            ("'i' as item_id and value",),
        ),
    ],
    "separators_differ": [
        Case(
            {"data.items.format": "csv", "data.items.separator": ","},
            {"data.items.format": "csv", "data.items.separator": " "},
            ("data.items.attributes.genres.separator ' '",),
        ),
    ],
    "one_cut_fits_before_the_test_window": [
        Case({"data.end_date": "1997-10-12"}, {"data.end_date": "1997-10-11"}, ("are 21 days", "need 22")),
        Case({"gate.test_days": 203}, {"gate.test_days": 204}, ("gate.test_days 204", "need 218")),
        Case({"data.end_date": None, "gate.test_days": 9_999}, {"gate.test_days": 9_999}, ("bring more days",)),
    ],
    "all_cuts_fit": [
        Case({"data.end_date": "1997-11-16"}, {"data.end_date": "1997-11-15"}, ("training.cuts 6 lies 56 days",)),
    ],
    "drift_has_a_reference": [
        Case({"drift.current_days": 215}, {"drift.current_days": 216}, ("drift.current_days 216 takes all",)),
    ],
    "drift_windows_fit": [
        Case({"drift.reference_days": 209}, {"drift.reference_days": 210}, ("210 and drift.current_days 7",)),
    ],
    "feature_windows_fit": [
        Case({"features.windows_days": [216]}, {"features.windows_days": [7, 217]}, ("features.windows_days 217",)),
    ],
    "lookback_is_longer_than_labels": [
        Case({"training.lookback_days": 8}, {"training.lookback_days": 7}, ("training.lookback_days 7",)),
    ],
    "volume_limits_are_ordered": [
        Case(
            {"data.min_volume_ratio": 1.4, "data.max_volume_ratio": 1.5},
            {"data.min_volume_ratio": 1.5, "data.max_volume_ratio": 1.5},
            ("data.min_volume_ratio 1.5", "data.max_volume_ratio 1.5"),
        ),
    ],
    "candidates_fill_the_list": [
        Case({"serving.top_k": 80}, {"serving.top_k": 81}, ("serving.top_k 81", "training.candidates_per_source 80")),
    ],
    "candidates_fill_the_metric": [
        Case(
            {"training.candidates_per_source": 10},
            {"training.candidates_per_source": 9},
            ("training.candidates_per_source 9", "ndcg_at_10"),
        ),
    ],
    "metric_is_known": [
        Case({"gate.metric": "recall_at_10"}, {"gate.metric": "ndcg@10"}, ("gate.metric 'ndcg@10'", "mrr_at_10")),
        Case({"gate.metric": "mrr_at_10"}, {"gate.metric": "popularity_share_at_10"}, ("choose one of",)),
    ],
    "enough_test_users_can_be_there": [
        Case({"gate.max_test_users": 30}, {"gate.max_test_users": 29}, ("min_test_users 30", "max_test_users 29")),
    ],
    "enough_slice_users_can_be_there": [
        Case({"gate.max_test_users": 20}, {"gate.max_test_users": 19}, ("min_slice_users 20", "max_test_users 19")),
    ],
    "samples_reach_the_quantile": [
        Case(
            {"gate.alpha": 0.01, "gate.bootstrap_samples": 100},
            {"gate.alpha": 0.005, "gate.bootstrap_samples": 100},
            ("gate.bootstrap_samples 100", "gate.alpha 0.005", "at least 200"),
        ),
    ],
    # The shadow takes 7 s, each of three steps 2 + 3.
    "windows_close_before_the_deadline": [
        Case(
            {f"{PLAN}.deadline_seconds": 22.1},
            {f"{PLAN}.deadline_seconds": 22},
            ("deadline_seconds 22 ", "3 steps", "attribution_seconds 2 ", "22 s"),
        ),
        Case(
            {f"{PLAN}.attribution_seconds": 74, f"{PLAN}.deadline_seconds": 240},
            {f"{PLAN}.attribution_seconds": 3_600, f"{PLAN}.deadline_seconds": 240},
            ("attribution_seconds 3600", "no release could ever pass"),
        ),
    ],
    # 200 at 10, 25 and 50 % are 3,200 visits, and 200 of the shadow: at 17 a second 200 s, and 22 besides.
    "replayed_users_suffice": [
        Case(
            {"traffic.rate": 17, f"{PLAN}.deadline_seconds": 223},
            {"traffic.rate": 17, f"{PLAN}.deadline_seconds": 222},
            ("traffic.rate 17", "min_visitors_per_arm 200", "222 s at the soonest"),
        ),
        Case({IN_JOBS: False, "traffic.rate": 0.1}, {"traffic.rate": 0.1}, ("raise the rate",)),
    ],
    "replayed_users_are_named": [
        Case({IN_JOBS: False, "traffic.future": None}, {"traffic.future": None}, ("traffic.in_jobs true", "future")),
    ],
    "lease_is_shorter_than_the_deadline": [
        Case(
            {f"{PLAN}.lease_seconds": 499, f"{PLAN}.deadline_seconds": 500},
            {f"{PLAN}.lease_seconds": 500, f"{PLAN}.deadline_seconds": 500},
            ("rollout.plan.lease_seconds 500", "rollout.plan.deadline_seconds 500"),
        ),
    ],
    "ticks_renew_the_lease": [
        Case(
            {"rollout.tick_seconds": 19.9, f"{PLAN}.lease_seconds": 30},
            {"rollout.tick_seconds": 20, f"{PLAN}.lease_seconds": 30},
            ("rollout.tick_seconds 20", "rollout.plan.lease_seconds 30"),
        ),
    ],
    "guard_counts_as_alive": [
        Case(
            {"rollout.guard_interval_seconds": 14.9},
            {"rollout.guard_interval_seconds": 15},
            ("rollout.guard_interval_seconds 15 is not below 15 s",),
        ),
        Case(
            {"rollout.guard_interval_seconds": 1.9, f"{PLAN}.lease_seconds": 2},
            {"rollout.guard_interval_seconds": 2, f"{PLAN}.lease_seconds": 2},
            ("lease_seconds is 2)",),
        ),
    ],
    "quantiles_have_one_limit": [
        Case(
            {f"{PLAN}.latency_limits": [{"quantile": 0.9, "max_ratio": 2}, {"quantile": 0.95, "max_ratio": 2}]},
            {f"{PLAN}.latency_limits": [{"quantile": 0.9, "max_ratio": 2}, {"quantile": 0.9, "max_ratio": 3}]},
            ("the quantile 0.9 has two limits",),
        ),
        Case(
            {f"{PLAN}.latency_limits": [{"quantile": 0.98, "max_ratio": 2}]},
            {f"{PLAN}.latency_limits": [{"quantile": 0.99, "max_ratio": 2}]},
            ("max_p99_ratio is one of them",),
        ),
    ],
    "visitors_reach_the_burn_in": [
        Case({f"{PLAN}.min_visitors_per_arm": 50}, {f"{PLAN}.min_visitors_per_arm": 49}, ("49", "below 50")),
    ],
    "bake_outlasts_the_window": [
        Case({f"{PLAN}.bake_seconds": 2}, {f"{PLAN}.bake_seconds": 1.9}, ("bake_seconds 1.9", "attribution_seconds 2")),
    ],
    "caps_can_matter": [
        Case(
            {f"{PLAN}.metrics": [{"name": "bought", "statistic": "any_event", "margin": 0.1}]},
            {f"{PLAN}.metrics": [{"name": "bought", "statistic": "any_event", "margin": 0.1, "cap": 3}]},
            ("bought: cap 3",),
        ),
    ],
    "margins_agree": [
        Case(
            {f"{PLAN}.margin": 0.2, f"{PLAN}.metrics": [{"name": "engagement", "margin": 0.2}]},
            {f"{PLAN}.margin": 0.2, f"{PLAN}.metrics": [{"name": "engagement", "margin": 0.1}]},
            ("rollout.plan.margin 0.2 has no effect", "the margin 0.1"),
        ),
    ],
    "rows_fill_two_leaves": [
        Case(
            {"training.min_rows": 200, "training.min_data_in_leaf": 100},
            {"training.min_rows": 199, "training.min_data_in_leaf": 100},
            ("training.min_rows 199", "training.min_data_in_leaf 100", "ask for 200"),
        ),
    ],
    "replay_is_not_refused": [
        Case({"traffic.rate": 20_000}, {"traffic.rate": 20_001}, ("traffic.rate 20001", "20000 events a second")),
    ],
    # 10 requests a second for 100 s at 500 bytes are 500,000 bytes.
    "gateway_log_holds_a_release": [
        Case(
            {
                "serving.gateway_log_bytes": 500_000,
                "serving.gateway_log_files": 1,
                "traffic.rate": 10,
                f"{PLAN}.deadline_seconds": 90,
                f"{PLAN}.bake_seconds": 10,
            },
            {
                "serving.gateway_log_bytes": 499_999,
                "serving.gateway_log_files": 1,
                "traffic.rate": 10,
                f"{PLAN}.deadline_seconds": 90,
                f"{PLAN}.bake_seconds": 10,
            },
            ("serving.gateway_log_bytes 499999 times gateway_log_files 1", "500000 bytes"),
        ),
    ],
    "host_fits_an_address": [
        Case({"serving.host": "localhost"}, {"serving.host": "::1"}, ("serving.host '::1'",)),
        Case({"serving.host": "10.0.0.1"}, {"serving.host": "http://10.0.0.1"}, ("serving.host",)),
    ],
    "host_is_loopback": [
        Case({"serving.host": "127.0.0.2"}, {"serving.host": "0.0.0.0"}, ("serving.host 0.0.0.0", "no login")),
    ],
    "ports_differ": [
        Case(
            {"serving.dagster_port": 3_001},
            {"serving.dagster_port": 8_080},
            ("serving.gateway_port and serving.dagster_port are both 8080",),
        ),
        Case(
            {"serving.mlflow_port": 8_081, "stores.mlflow": "http://tracker:5000"},
            {"serving.mlflow_port": 8_081},
            ("serving.gateway_admin_port and serving.mlflow_port are both 8081",),
        ),
        Case(PODS | {"serving.collector_port": 8_081}, {"serving.collector_port": 8_081}, ("collector_port",)),
    ],
    "model_ports_are_their_own": [
        Case(
            {"serving.collector_port": 8_099}, {"serving.collector_port": 8_100}, ("collector_port 8100 lies within",)
        ),
        Case(
            {"serving.collector_port": 8_200}, {"serving.collector_port": 8_199}, ("collector_port 8199 lies within",)
        ),
    ],
    "model_ports_suffice": [
        Case({"serving.model_port_last": 8_102}, {"serving.model_port_last": 8_101}, ("8101 are 2 ports", "needs 3")),
    ],
    "online_store_leaves_time": [
        Case(
            {"serving.online_store_timeout_ms": 249, "serving.latency_budget_ms": 250},
            {"serving.online_store_timeout_ms": 250, "serving.latency_budget_ms": 250},
            ("online_store_timeout_ms 250", "latency_budget_ms 250"),
        ),
    ],
    "timeouts_are_a_range": [
        Case(
            {"serving.min_timeout_ms": 50, "serving.online_store_timeout_ms": 50},
            {"serving.min_timeout_ms": 51, "serving.online_store_timeout_ms": 50},
            ("min_timeout_ms 51", "online_store_timeout_ms 50"),
        ),
    ],
    "budget_fits_the_gateway": [
        Case({"serving.latency_budget_ms": 5_000}, {"serving.latency_budget_ms": 5_001}, ("latency_budget_ms 5001",)),
    ],
    "bodies_fit_into_memory": [
        Case(
            {"collector.max_body_bytes": 100, "collector.max_pending_bytes": 100},
            {"collector.max_body_bytes": 101, "collector.max_pending_bytes": 100},
            ("collector.max_body_bytes 101", "collector.max_pending_bytes 100"),
        ),
    ],
    "one_client_is_limited": [
        Case(
            {"collector.client_events_per_second": 50_000},
            {"collector.client_events_per_second": 50_001},
            ("collector.client_events_per_second 50001",),
        ),
    ],
    "stores_lie_apart": [
        Case(
            {"stores.tables": "s3://b-1/x", "stores.bundles": "s3://b-1/xy"},
            {"stores.tables": "s3://b-1/x", "stores.bundles": "s3://b-1/x/y"},
            ("stores.tables s3://b-1/x", "stores.bundles s3://b-1/x/y"),
        ),
        Case({"stores.tables": "s3://b-1"}, {"stores.tables": "s3://b-1", "stores.bundles": "s3://b-1/x"}, ("prefix",)),
    ],
    "secrets_differ": [
        Case(
            {"stores.ledger_url_env": "LEDGER", "stores.online_password_env": "PASSWORD"},
            {"stores.ledger_url_env": "SECRET", "stores.online_password_env": "SECRET"},
            ("stores.ledger_url_env and stores.online_password_env both name SECRET",),
        ),
    ],
    "password_has_a_store": [
        Case(
            {"stores.online_password_env": "PASSWORD", "stores.online": "redis://r:6379/0"},
            {"stores.online_password_env": "PASSWORD"},
            ("stores.online_password_env PASSWORD", "stores.online"),
        ),
    ],
    "s3_is_used": [
        Case(
            {"stores.s3": {"region": "eu-central-1"}, "data.items.path": "s3://b-1/x"},
            {"stores.s3": {"region": "eu-central-1"}},
            ("stores.s3.region", "has no effect"),
        ),
    ],
    "stores_are_reachable_from_pods": [
        Case(
            {"stores.mlflow": "http://localhost:5000"}, PODS | {"stores.mlflow": "http://localhost:5000"}, ("mlflow",)
        ),
        Case(
            PODS | {"stores.online": "redis://10.0.0.1:6379/0"},
            PODS | {"stores.online": "redis://127.0.0.1:6379/0"},
            ("stores.online redis://127.0.0.1:6379/0",),
        ),
    ],
    "data_are_reachable_from_pods": [
        Case(
            PODS | {"data.users.path": "{home}/u.parquet"},
            PODS | {"data.users.path": "/data/u.parquet"},
            ("data.users.path '/data/u.parquet'",),
        ),
    ],
    "requests_fit_limits": [
        Case(
            {"kubernetes.resources.cpu": "1000m"}, {"kubernetes.resources.cpu": "1001m"}, ("cpu 1001m", "cpu_limit 1")
        ),
        Case(
            {"kubernetes.resources_by_role": {"canary": {"memory": "2048Mi"}}},
            {"kubernetes.resources_by_role": {"canary": {"memory": "2049Mi"}}},
            ("kubernetes.resources_by_role.canary.memory 2049Mi",),
        ),
        Case(
            {"kubernetes.resources_by_step": {"ranker_model": {"memory": "2Gi"}}},
            {"kubernetes.resources_by_step": {"ranker_model": {"memory": "3G"}}},
            ("kubernetes.resources_by_step.ranker_model.memory 3G",),
        ),
    ],
    "replicas_grow_by_a_metric": [
        Case(
            {"kubernetes.autoscaling": {"metric": "cpu", "max_replicas": 2}},
            {"kubernetes.autoscaling": {"max_replicas": 2}},
            ("max_replicas 2", "metric none"),
        ),
    ],
    "connecting_ends_first": [
        Case(
            {"kubernetes.connect_timeout_seconds": 15},
            {"kubernetes.connect_timeout_seconds": 15.5},
            ("connect_timeout_seconds 15.5", "request_timeout_seconds 15"),
        ),
    ],
    "accounts_differ": [
        Case(
            {"kubernetes.service_accounts.guard": "recsys-watch"},
            {"kubernetes.service_accounts.guard": "recsys-dagster"},
            ("kubernetes.service_accounts.dagster and .guard are both recsys-dagster",),
        ),
    ],
    "cluster_names_are_valid": [
        Case(
            {"kubernetes.gateway.hosts": ["*.example.com", "shop.example.com"]},
            {"kubernetes.gateway.hosts": ["Shop_1.example.com"]},
            ("kubernetes.gateway.hosts 'Shop_1.example.com'",),
        ),
        Case(
            {"kubernetes.gateway.labels": {"istio": "a" * 63}},
            {"kubernetes.gateway.labels": {"istio": "a" * 64}},
            ("kubernetes.gateway.labels 'istio'",),
        ),
    ],
    "receivers_differ": [
        Case(
            {HOOK: hooks("https://a.example/x", "https://a.example/y")},
            {HOOK: hooks("https://a.example/x", "https://A.example:443/x/")},
            ("notifications.webhooks[0].url and notifications.webhooks[1].url",),
        ),
    ],
    "events_are_listed_once": [
        Case(
            {HOOK: hooks("https://a", events=["held", "promoted"])},
            {HOOK: hooks("https://a", events=["held", "held"])},
            ("notifications.webhooks[0].events lists held twice",),
        ),
    ],
    "approvals_are_heard_of": [
        Case(
            {f"{PLAN}.needs_approval": True, HOOK: hooks("https://a")},
            {f"{PLAN}.needs_approval": True},
            ("rollout.plan.needs_approval true", "there is no receiver"),
        ),
        Case(
            {HOOK: hooks("https://a", events=["held"])},
            {f"{PLAN}.needs_approval": True, HOOK: hooks("https://a", events=["held"])},
            ("no receiver lists approval_asked",),
        ),
    ],
    "links_lead_somewhere": [
        Case(
            PODS | {HOOK: hooks("https://a"), "notifications.ui_url": "https://dagster.example"},
            PODS | {HOOK: hooks("https://a")},
            ("notifications.ui_url is not set",),
        ),
    ],
}
