"""Content of items: their categories as weighted tokens, for items that nobody has met yet and for affinity.

Here: tokens from any String or List[String] attribute. Not here: numbers and times, which are plain features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys_assets.columns import ITEM
from recsys_assets.recommender.events import Floats, Ints

# A text such as a title is different for nearly every item: it tells items apart and joins none.
MAX_DISTINCT_SHARE = 0.5


@dataclass(frozen=True)
class Content:
    """A sparse items x tokens matrix with rows of length 1: row i holds tokens[indptr[i]:indptr[i + 1]]."""

    indptr: Ints
    tokens: Ints
    weights: Floats
    n_tokens: int

    def scores(self, history: Ints, weights: Floats, items: Ints | None = None) -> Floats:
        """Cosine of each item's tokens with the weighted history's, for `items` or for all."""
        asked = np.arange(len(self.indptr) - 1, dtype=np.int32) if items is None else items
        if len(history) == 0 or len(self.tokens) == 0:
            return np.zeros(len(asked), dtype=np.float32)
        places, lengths = self._places(asked)
        values = self.weights[places] * self.taste(history, weights)[self.tokens[places]]
        owner = np.repeat(np.arange(len(asked)), lengths)
        return np.bincount(owner, weights=values, minlength=len(asked)).astype(np.float32)

    def taste(self, history: Ints, weights: Floats) -> Floats:
        """[n_tokens]: the weighted history as one vector of length 1."""
        places, lengths = self._places(history)
        weighted = self.weights[places] * np.repeat(weights, lengths)
        taste = np.bincount(self.tokens[places], weights=weighted, minlength=self.n_tokens)
        norm = float(np.sqrt((taste**2).sum()))
        return (taste / norm if norm > 0 else taste).astype(np.float32)

    def _places(self, items: Ints) -> tuple[Ints, Ints]:
        """Where the tokens of these items stand, one item after the other, and how many each has."""
        lengths = self.indptr[items + 1] - self.indptr[items]
        return np.repeat(self.indptr[items], lengths) + _counters(lengths), lengths


def _counters(lengths: Ints) -> Ints:
    ends = np.cumsum(lengths)
    return (np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)).astype(np.int32)


def category_columns(frame: pl.DataFrame, id_column: str) -> list[str]:
    """List attributes, and String attributes whose values are shared between rows, in alphabetical order."""
    found = []
    for name in sorted(set(frame.columns) - {id_column}):
        values = frame[name].drop_nulls()
        joins = values.dtype == pl.String and 0 < values.n_unique() <= max(2.0, MAX_DISTINCT_SHARE * len(values))
        if joins or values.dtype == pl.List(pl.String):
            found.append(name)
    return found


def item_tokens(items: pl.DataFrame) -> pl.DataFrame:
    """One row is one item with one token, `column=value`."""
    parts = []
    for name in category_columns(items, ITEM):
        column = items.select(ITEM, pl.col(name).alias("token"))
        if items.schema[name] == pl.List(pl.String):
            column = column.explode("token")
        parts.append(column.drop_nulls().with_columns(pl.lit(f"{name}=") + pl.col("token")).unique())
    empty = pl.DataFrame(schema={ITEM: pl.String, "token": pl.String})
    return pl.concat([empty, *[p.select(ITEM, p.columns[-1]).rename({p.columns[-1]: "token"}) for p in parts]])


def fit_content(items: pl.DataFrame | None, item_ids: Sequence[str]) -> Content:
    """Rare tokens weigh more (inverse document frequency); every row has length 1."""
    n = len(item_ids)
    pairs = item_tokens(items) if items is not None else pl.DataFrame(schema={ITEM: pl.String, "token": pl.String})
    order = pl.DataFrame({ITEM: list(item_ids), "code": np.arange(n, dtype=np.int32)})
    pairs = pairs.join(order, on=ITEM).sort("code", "token")
    vocabulary = pairs["token"].unique().sort()
    codes = pairs["code"].to_numpy()
    if pairs.is_empty():
        return Content(np.zeros(n + 1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32), 0)
    numbers = pl.int_range(len(vocabulary), eager=True, dtype=pl.Int32)
    tokens = pairs["token"].replace_strict(vocabulary, numbers).to_numpy().astype(np.int32)
    idf = np.log1p(n / np.bincount(tokens, minlength=len(vocabulary)))[tokens]
    norm = np.sqrt(np.bincount(codes, weights=idf**2, minlength=n))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(codes, minlength=n)))).astype(np.int32)
    return Content(indptr, tokens, (idf / norm[codes]).astype(np.float32), len(vocabulary))
