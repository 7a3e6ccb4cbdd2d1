"""What a route's rule asks for, in the words that every gateway understands: arms, their basis points, shadow, salt.

Here: one reading of the rule for VirtualService, HTTPRoute and status alike. Not here: how either is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from recsys_assets import visitor_id
from recsys_assets.platform.interface import RELEASE_ANNOTATION, SALT_ANNOTATION, Manifest
from recsys_assets.platform.kubernetes.record import digest
from recsys_assets.platform.local.bucket import BUCKETS

# Where a gateway pod tells how it splits, and the names of the route's entries. The access log's reader skips the first
# and the last two of them; Envoy filters match the split by its name, and read the salt from the name of the entry.
WELL_KNOWN: Final = "/.well-known/recsys-route"
WELL_KNOWN_ENTRY: Final = "recsys-route"
SPLIT_ENTRY: Final = "recsys-split"
SINGLE_ENTRY: Final = "recsys-single"
SALT_ENTRY: Final = "recsys-salt"
REFUSED_ENTRY: Final = "refused"
ABOUT_ENTRY: Final = "recsys-about"


@dataclass(frozen=True)
class Arm:
    """One service with its share; `variant` marks its requests."""

    service: str
    variant: str
    weight_bp: int


@dataclass(frozen=True)
class Split:
    """The split of one route. `arms` are in the order of the manifest, canary first."""

    route: str
    arms: tuple[Arm, ...]
    shadow: str | None
    salt: str
    header: str

    @property
    def is_shared(self) -> bool:
        """Whether more than one service gets users, so that somebody must say which user goes where."""
        return sum(arm.weight_bp > 0 for arm in self.arms) > 1

    @property
    def stable(self) -> Arm:
        return self.arms[-1]

    @property
    def weights(self) -> dict[str, int]:
        return {arm.service: arm.weight_bp for arm in self.arms}

    @property
    def revision(self) -> str:
        """One text for one split: what a gateway must tell to be up to date."""
        return digest(asdict(self))

    @property
    def entry(self) -> str:
        return SPLIT_ENTRY if self.is_shared else SINGLE_ENTRY

    @property
    def salt_entry(self) -> str:
        """Header and salt in the name of a route's entry, where the gateway's program reads them.

        In hexadecimal, since an HTTPRoute takes only small letters, digits, dots and dashes there.
        """
        return f"{SALT_ENTRY}.{self.header.encode().hex()}.{self.salt.encode().hex()}"


def read_split(manifest: Manifest) -> Split:
    """Of a manifest that passed validation."""
    name: str = manifest["metadata"]["name"]
    rule: Mapping[str, Any] = manifest["spec"]["http"][0]
    annotations: Mapping[str, str] = manifest["metadata"].get("annotations") or {}
    return Split(
        route=name,
        arms=_arms(rule["route"]),
        shadow=rule["mirror"]["host"] if rule.get("mirror") else None,
        salt=annotations.get(SALT_ANNOTATION) or annotations.get(RELEASE_ANNOTATION) or name,
        header=visitor_id.HEADER,
    )


def _arms(route: list[Mapping[str, Any]]) -> tuple[Arm, ...]:
    weights = [int(entry.get("weight", BUCKETS if len(route) == 1 else 0)) for entry in route]
    scale = BUCKETS // sum(weights)
    roles = ["stable"] if len(route) == 1 else ["canary", "stable"]
    return tuple(
        Arm(str(entry["destination"]["host"]), role, weight * scale)
        for entry, role, weight in zip(route, roles, weights, strict=True)
    )
