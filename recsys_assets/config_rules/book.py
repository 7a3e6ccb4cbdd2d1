"""All rules, in the order in which they are said.

Here: the list, and asking all of it. Not here: a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from recsys_assets.config_rules import days, files, models, people, places, releases, serving, sources, stores
from recsys_assets.config_rules.rule import Rule

if TYPE_CHECKING:
    from recsys_assets.settings import Settings

_MODULES: Final = (places, sources, days, models, releases, serving, stores, people, files)
RULES: Final[tuple[Rule, ...]] = tuple(
    found for module in _MODULES for found in vars(module).values() if isinstance(found, Rule)
)


def contradictions(settings: Settings) -> list[str]:
    """Every message of a rule that is broken and refuses the settings."""
    return [said for each in RULES if not each.warning for said in each.check(settings)]


def doubts(settings: Settings) -> list[str]:
    """Every message of a rule that is broken and refuses nothing."""
    return [said for each in RULES if each.warning for said in each.check(settings)]


def table() -> str:
    """The rules as a table in Markdown."""
    rows = [f"| {each.law} | {_named(each)} | {'warning' if each.warning else 'error'} |" for each in RULES]
    return "\n".join(["| what must hold | settings | otherwise |", "|---|---|---|", *rows])


def _named(of: Rule) -> str:
    return ", ".join(f"`{name}`" for name in of.settings)
