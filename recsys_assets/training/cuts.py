"""The moments at which the past is cut from the labels, and which of them each of the two fits may use.

Here: dates and row selection. Not here: features, labels or fitting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

import polars as pl

from recsys_assets.columns import UTC_TIME
from recsys_assets.settings import GateSettings, TrainingSettings

CUT = "cut"
LABEL = "label"


@dataclass(frozen=True)
class Cuts:
    """A row of cut `c` has features from before c and labels from [c, c + label_days). Newest first.

    `holdout` are the cuts whose labels end before the test period [test_from, as_of) begins; `release` the newest.
    """

    as_of: datetime
    test_from: datetime
    release: tuple[datetime, ...]
    holdout: tuple[datetime, ...]

    @classmethod
    def of(cls, as_of: datetime, training: TrainingSettings, gate: GateSettings) -> Cuts:
        """With 7 label days, 14 test days and 2 cuts: release at -7 and -14 days, holdout at -21 and -28.

        Cuts are `cut_step_days` apart, so that the labels of neighbouring cuts may overlap: see `folds`.
        """
        step = training.cut_step_days or training.label_days
        skipped = ceil(gate.test_days / step)
        every = [as_of - timedelta(days=training.label_days + step * k) for k in range(training.cuts + skipped)]
        return cls(
            as_of=as_of,
            test_from=as_of - timedelta(days=gate.test_days),
            release=tuple(every[: training.cuts]),
            holdout=tuple(every[skipped:]),
        )

    @property
    def all(self) -> tuple[datetime, ...]:
        return tuple(sorted({*self.release, *self.holdout}, reverse=True))

    @property
    def unseen(self) -> tuple[datetime, ...]:
        """Cuts that the holdout fit has not seen: it is measured on their rows."""
        return tuple(cut for cut in self.all if cut not in self.holdout and cut >= self.test_from)


def rows_of(rows: pl.DataFrame, cuts: Sequence[datetime]) -> pl.DataFrame:
    """The rows of these cuts."""
    return rows.filter(pl.col(CUT).is_in(pl.Series(cuts, dtype=UTC_TIME).implode()))


def folds(
    rows: pl.DataFrame, cuts: Sequence[datetime], *, label_days: int, most: int = 2
) -> list[tuple[pl.DataFrame, pl.DataFrame]]:
    """(cuts whose labels end before it, the cut) for the newest `most` cuts: validation in time order, for tuning."""
    label = timedelta(days=label_days)
    pairs = [
        (rows_of(rows, [older for older in cuts if older + label <= cut]), rows_of(rows, [cut]))
        for cut in sorted(cuts)[-most:]
    ]
    return [(fit, judge) for fit, judge in pairs if _usable(fit) and _usable(judge)]


def _usable(rows: pl.DataFrame) -> bool:
    return rows[LABEL].n_unique() > 1
