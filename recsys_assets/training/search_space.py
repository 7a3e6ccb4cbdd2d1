"""The hyper-parameters that may be searched, once: Optuna searches them, and what was found is held against them.

Here: names, ranges and scales. Not here: searching (tuning.py), or the defaults.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Value = int | float


class Trial(Protocol):
    """What is used of an Optuna trial."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


@dataclass(frozen=True)
class Parameter:
    """One axis. Both bounds are inside; `log` searches its logarithm evenly."""

    name: str
    kind: Literal["int", "float"]
    low: float
    high: float
    log: bool = False

    def suggest(self, trial: Trial) -> Value:
        if self.kind == "int":
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def nearest(self, value: Value) -> Value:
        """The same value, or the bound that it lies beyond."""
        inside = min(max(value, self.low), self.high)
        return int(inside) if self.kind == "int" else inside

    def holds(self, value: Value) -> bool:
        return self.low <= value <= self.high and (self.kind == "float" or float(value).is_integer())


SPACE: tuple[Parameter, ...] = (
    Parameter("learning_rate", "float", 0.01, 0.2, log=True),
    Parameter("num_leaves", "int", 7, 63, log=True),
    Parameter("min_data_in_leaf", "int", 10, 300, log=True),
    Parameter("num_boost_round", "int", 50, 400, log=True),
    Parameter("feature_fraction", "float", 0.1, 1.0),
    Parameter("lambda_l2", "float", 0.001, 10.0, log=True),
)


class OutsideSpace(ValueError):  # noqa: N818
    """A stored value does not belong to the search space; the message names every one."""


def validated(values: dict[str, Value]) -> dict[str, Value]:
    """The same values, or OutsideSpace where a name is unknown or a value is out of its range."""
    known = {parameter.name: parameter for parameter in SPACE}
    wrong = [f"{name}={value}" for name, value in values.items() if name not in known or not known[name].holds(value)]
    if wrong:
        raise OutsideSpace(f"not in the search space: {', '.join(sorted(wrong))}")
    return values
