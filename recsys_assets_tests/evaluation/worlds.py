"""Small evaluations made by hand: models with given numbers for given users.

Here: builders for the tests of this room. Not here: any test.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from recsys_assets.evaluation.evaluate import CHALLENGER, CHAMPION, RECENT_POPULARITY, Evaluation, Reference, Scored
from recsys_assets.evaluation.metrics import metric_names
from recsys_assets.evaluation.splits import LONG_TAIL, NEW_USERS, WARM_USERS
from recsys_assets.settings import GateSettings

GATE = GateSettings(bootstrap_samples=400)
HOME = Path("unused")
CUT, AS_OF = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 29, tzinfo=UTC)


def frame(values: Sequence[float], *, prefix: str = "u", popularity: float = 0.01) -> pl.DataFrame:
    """One row for each value; every metric of a user is that value, but for the popularity of what is shown."""
    users = [f"{prefix}{n:04}" for n in range(len(values))]
    columns = {name: pl.Series(values, dtype=pl.Float64) for name in metric_names()}
    made = pl.DataFrame({"user_id": pl.Series(users, dtype=pl.String), **columns})
    return made.with_columns(popularity_share_at_10=pl.lit(popularity))


def model(
    name: str,
    *,
    new: Sequence[float] = (0.2, 0.4) * 30,
    warm: Sequence[float] = (0.3, 0.5) * 30,
    tail: Sequence[float] = (0.1, 0.3) * 30,
    coverage: float = 0.4,
    outside: float = 0.6,
    popularity: float = 0.01,
) -> Scored:
    """A model with these numbers for 60 new and 60 warm users, and for 60 users with long-tail items in their truth."""
    news, warms = frame(new, prefix="n", popularity=popularity), frame(warm, prefix="w", popularity=popularity)
    slices = {NEW_USERS: news, WARM_USERS: warms, LONG_TAIL: frame(tail, popularity=popularity)}
    return Scored(name, pl.concat([news, warms]), slices, coverage, outside)


def evaluation(
    challenger: Scored | None = None,
    *,
    champion: Scored | None = None,
    floor: Scored | None = None,
    reference: Reference | None = None,
    leak: str | None = None,
) -> Evaluation:
    """An evaluation of version 7 against champion 3, unless another reference is given."""
    models = {CHALLENGER: challenger or model(CHALLENGER), RECENT_POPULARITY: floor or model(RECENT_POPULARITY)}
    known = reference or Reference("3")
    if known.version is not None and known.problem is None:
        models[CHAMPION] = champion or model(CHAMPION)
    users = models[CHALLENGER].rows.height
    return Evaluation("7", known, CUT, AS_OF, users, models, leak)


FIRST = Reference()
BROKEN = Reference("3", "champion 3 cannot be compared with: there is no holdout of version 3")
