"""What can be wrong with a model registry, as types.

Here: errors, free of any client. Not here: the registry (registry.py).
"""

from __future__ import annotations

from recsys_assets.errors import UserFacingError


class RegistryError(UserFacingError):
    """The registry refused or could not answer."""


class RegistryUnavailable(RegistryError):  # noqa: N818
    """The tracking server or its database did not answer: nothing is known, so nothing may go on."""


class VersionMissing(RegistryError, LookupError):  # noqa: N818
    """There is no such registered version."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"model {name} has no registered version {version}")


class VersionTaken(RegistryError):  # noqa: N818
    """MLflow gave another number than the one written into the bundle; write it again with `next_version`."""

    def __init__(self, wanted: str, next_version: str) -> None:
        super().__init__(f"version {wanted} is not the next one; try {next_version}")
        self.next_version = next_version


class DigestMismatch(RegistryError):  # noqa: N818
    """The bundle's manifest is not the one that the record names."""


class RecordBroken(RegistryError):  # noqa: N818
    """A version's tag does not hold a record that can be read."""
