"""One rule about several settings at once: what must hold, and what to say where it does not.

Here: the record and its decorator. Not here: any rule, or what is refused by one setting alone (settings.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

Check = Callable[["Settings"], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """`law` is what must hold, in words, and `settings` whom it is about; `check` yields a message for each breach.

    A message names the settings, the values that were found and what to do. A `warning` is said, but refuses nothing.
    """

    name: str
    law: str
    settings: tuple[str, ...]
    check: Check
    warning: bool = False


def rule(law: str, *settings: str, warning: bool = False) -> Callable[[Check], Rule]:
    """Make a rule of a generator of messages; the function's name is the rule's."""

    def made(check: Check) -> Rule:
        return Rule(check.__name__, law, settings, check, warning)

    return made


def number(value: float) -> str:
    """As a person would write it: no exponent, no trailing zeros."""
    return f"{value:.10f}".rstrip("0").rstrip(".")
