"""What a platform is: it stores manifests under compare-and-swap, makes them real, and says how far it got.

Here: the Protocol, its status record and its typed errors. Not here: any implementation, any manifest's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, runtime_checkable

from recsys_assets.errors import UserFacingError

Manifest = dict[str, Any]

INFERENCE_SERVICE: Final = "InferenceService"
VIRTUAL_SERVICE: Final = "VirtualService"
DESTINATION_RULE: Final = "DestinationRule"

ANNOTATION_PREFIX: Final = "recsys-assets.dev/"
MODEL_VERSION_ANNOTATION: Final = ANNOTATION_PREFIX + "model-version"
STICKY_HEADER_ANNOTATION: Final = ANNOTATION_PREFIX + "sticky-header"
RELEASE_ANNOTATION: Final = ANNOTATION_PREFIX + "release-id"
PHASE_ANNOTATION: Final = ANNOTATION_PREFIX + "phase"
# Salts the users' buckets. Without it the release id does; without that the route's name.
SALT_ANNOTATION: Final = ANNOTATION_PREFIX + "salt"


class Whatever(Enum):
    """The type of ANY: a writer that does not care which version stands there."""

    ANY = "any"


ANY: Final = Whatever.ANY
AnyVersion = Literal[Whatever.ANY]
# A resourceVersion: exactly this one must stand. None: nothing may stand. ANY: the last writer wins.
Expected = str | None | AnyVersion


class PlatformError(UserFacingError):
    """Something about one object; `kind` and `name` say which, `reason` says what."""

    def __init__(self, kind: str, name: str, reason: str) -> None:
        super().__init__(f"{kind}/{name}: {reason}")
        self.kind, self.name, self.reason = kind, name, reason


class Conflict(PlatformError):  # noqa: N818 - the words of the Kubernetes API
    """Another version stands there than the writer expected: read again, decide again."""


class NotFound(PlatformError):  # noqa: N818
    """There is no such object."""


class Invalid(PlatformError):  # noqa: N818
    """The manifest breaks a rule; nothing was stored. `field` is the place in the manifest."""

    def __init__(self, kind: str, name: str, field: str, rule: str) -> None:
        super().__init__(kind, name, f"{field}: {rule}")
        self.field, self.rule = field, rule


class Refused(Invalid):
    """An admission webhook or policy of the platform said no; nothing was stored. `rule` is what it said."""


class Forbidden(PlatformError):  # noqa: N818
    """The platform does not let this identity do that."""


class Unavailable(PlatformError):  # noqa: N818
    """The platform itself does not answer. It says nothing about the object."""


class Missing(Unavailable):
    """The platform lacks what the object needs to be stored at all, such as its kind; `reason` names it."""


@dataclass(frozen=True)
class ServiceStatus:
    """How far the platform got with one object.

    `ready` is about the present `generation`: a Ready left over from an older generation is not ready. `weights` are
    the basis points that the gateway really gives to each service (VirtualService only), so that share taken from
    a service that is not ready is seen.
    """

    ready: bool
    generation: int
    observed_generation: int
    url: str | None
    reason: str
    weights: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@runtime_checkable
class Platform(Protocol):
    """The five things that serving and rollout may ask. Every call may raise Unavailable."""

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object as it stands, with metadata.resourceVersion, metadata.generation and status; None if absent."""

    def list(self, kind: str) -> list[Manifest]:
        """All objects of a kind, by name."""

    def apply(self, manifest: Manifest, *, expected: Expected) -> Manifest:
        """Store the whole manifest and return it as it now stands.

        Raises Invalid before anything is stored, and Conflict when something else than `expected` stands there. The
        resourceVersion changes when anything but the status changed, the generation when the spec changed.
        """

    def delete(self, kind: str, name: str, *, expected: str | AnyVersion = ANY) -> bool:
        """Remove the object; True if it was there. Raises Conflict when another version than `expected` stands."""

    def status(self, kind: str, name: str) -> ServiceStatus:
        """How far the platform got. Raises NotFound."""
