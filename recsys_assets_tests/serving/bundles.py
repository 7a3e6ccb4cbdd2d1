"""A small signed bundle for the serving tests, fitted for real.

Here: 60 users, 40 items, 30 days of events by a rule. Not here: any test.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

from recsys_assets.columns import INTERACTIONS
from recsys_assets.features.windows import item_feature_rows
from recsys_assets.recommender.bundle import write_bundle
from recsys_assets.recommender.ranker import feature_columns, fit_ranker
from recsys_assets.recommender.recommender import Recommender, assemble
from recsys_assets.recommender.rows import rows_at_cut
from recsys_assets.records import ModelVersion, Outcome, Verdict
from recsys_assets.serving.attestation import attest
from recsys_assets.settings import FeatureSettings, TrainingSettings
from recsys_assets.signing import sign_bundle
from recsys_assets_tests.features.rows import user_feature_rows

START, DAYS = date(2024, 1, 1), 30
AS_OF = datetime(2024, 1, 31, tzinfo=UTC)
NAME = "recommender"


def interactions() -> pl.DataFrame:
    """User u meets an item of its own half of the catalogue on every third day, so that a ranker has what to learn."""
    rows = []
    for user in range(60):
        for day in range(DAYS):
            if (user + day) % 3 == 0:
                item = (user % 2) * 20 + (user * 7 + day * day) % 20
                at = datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=day, minutes=user)
                rows.append((f"u{user:02}", f"i{item:02}", at, at.date(), 4.0, "view"))
    return pl.DataFrame(rows, schema=INTERACTIONS, orient="row")


def fitted() -> Recommender:
    """The recommender as of 31 January."""
    events, settings = (
        interactions(),
        TrainingSettings(candidates_per_source=20, min_data_in_leaf=5, num_boost_round=10),
    )
    days = [START + timedelta(days=n) for n in range(DAYS)]
    users = user_feature_rows(events, days, FeatureSettings())
    items = item_feature_rows(events, days, FeatureSettings())
    cut = AS_OF - timedelta(days=7)
    rows = rows_at_cut(events, None, None, users, items, cut=cut, settings=settings)
    params = {"num_leaves": 7, "min_data_in_leaf": 5, "num_threads": 1}
    booster = fit_ranker(rows, params=params, num_boost_round=10, seed=7, features=feature_columns(rows))
    return assemble([booster], events, None, None, users, items, as_of=AS_OF, settings=settings)


def signed_bundle(folder: Path, keys: Path, *, version: str = "3", name: str = NAME) -> str:
    """Write, sign and attest; returns the digest."""
    digest = write_bundle(fitted(), folder, model_name=name, version=version)
    sign_bundle(folder, keys)
    attested(folder, keys, version=version, digest=digest, name=name)
    return digest


def attested(folder: Path, keys: Path, *, version: str = "3", digest: str, name: str = NAME) -> None:
    """The promoter's word that one gate passed."""
    attest(
        record(version, digest, name), {"evaluation_report/told": passing(version)}, bundle=folder, keys=keys, at=AS_OF
    )


def passing(version: str) -> Verdict:
    return Verdict(check="told", model_version=version, outcome=Outcome.PASS, reason="told")


def record(version: str, digest: str, name: str = NAME) -> ModelVersion:
    """What the registry says of such a bundle."""
    return ModelVersion(
        name=name,
        version=version,
        run_id="r",
        feature_service="ranker_v1",
        table_versions={},
        code_version="0.1.0",
        bundle_digest=digest,
        as_of=AS_OF,
    )
