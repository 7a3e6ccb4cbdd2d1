"""The model registry's aliases, kept in memory, for houses in which what a registry does has no part.

Here: the five things that a desk asks of a registry. Not here: MLflow (recsys_assets/resources/registry.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from recsys_assets.records import ModelVersion


@dataclass
class Aliases:
    """`known` by version. Only the `registered` ones are listed; None lists all."""

    known: Mapping[str, ModelVersion]
    now: dict[str, str] = field(default_factory=dict)
    registered: tuple[str, ...] | None = None

    def set_alias(self, alias: Literal["champion", "challenger"], version: str) -> None:
        self.now[alias] = version

    def drop_alias(self, alias: Literal["champion", "challenger"]) -> None:
        self.now.pop(alias, None)

    def champion(self) -> ModelVersion | None:
        return self.known.get(self.now.get("champion", ""))

    def challenger(self) -> ModelVersion | None:
        return self.known.get(self.now.get("challenger", ""))

    def versions(self) -> list[ModelVersion]:
        return [self.known[version] for version in self.registered or self.known]
