"""Settings for the tests of the rules: the packaged ones with some places changed.

Here: reading and changing. Not here: any rule.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from recsys_assets.config_rules.book import RULES
from recsys_assets.settings import PACKAGED_CONFIG, Settings

HOME = Path("/srv/recsys")
PACKAGED: dict[str, Any] = yaml.safe_load(PACKAGED_CONFIG.read_text(encoding="utf-8"))


def changed(change: dict[str, Any], base: dict[str, Any] = PACKAGED) -> dict[str, Any]:
    """The document with a value put at each place, such as `rollout.plan.alpha`."""
    made = copy.deepcopy(base)
    for place, value in change.items():
        *sections, last = place.split(".")
        inner = made
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return made


def settings_with(change: dict[str, Any], *, home: Path = HOME, base: dict[str, Any] = PACKAGED) -> Settings:
    """Settings whose sections are right one by one, whatever they say together."""
    places = {"home": home, "config_dir": Path("/srv/config"), "config_file": Path("/srv/config/recsys.yaml")}
    return Settings.model_validate(changed(change, base) | places)


def said(rule: str, change: dict[str, Any], **more: Any) -> list[str]:
    """What one rule says of the changed settings."""
    (found,) = [each for each in RULES if each.name == rule]
    return list(found.check(settings_with(change, **more)))
