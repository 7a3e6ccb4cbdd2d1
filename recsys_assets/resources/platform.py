"""The platform as a Dagster resource, and what must run before it is used.

Here: settings turned into a Platform. Not here: what a platform does (`recsys_assets/platform`).
"""

import dagster as dg

from recsys_assets.platform.interface import ANY, AnyVersion, Expected, Manifest, Platform, ServiceStatus
from recsys_assets.settings import Settings, load_settings


def require_place_to_serve(context: dg.AssetExecutionContext, settings: Settings) -> None:
    """Fail a run that would serve at its end where that cannot begin: before the training, not after it."""
    from recsys_assets.platform.interface import PlatformError

    asked = context.op_execution_context.job_def.asset_layer.executable_asset_keys
    if dg.AssetKey("challenger_service") not in asked:
        return
    try:
        PlatformResource.from_settings(settings).require_startable()
    except PlatformError as refused:
        raise dg.Failure(f"nothing was trained, as it could not be served: {refused}", allow_retries=False) from refused


class PlatformResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Resource key `platform`. `home` and `config_file` name the settings that it is built from."""

    home: str
    config_file: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "PlatformResource":
        return cls(home=str(settings.home), config_file=str(settings.config_file))

    def settings(self) -> Settings:
        from pathlib import Path

        return load_settings(home=Path(self.home), config=Path(self.config_file))

    def connect(self) -> Platform:
        """The platform that the settings name. Opens nothing that is not there yet but its own store."""
        from recsys_assets.platform.build import open_platform

        return open_platform(self.settings())

    def require_startable(self) -> None:
        """Raises where `ensure_running` would fail now for something that only a person can mend: a port, a chart."""
        settings = self.settings()
        if settings.platform == "kubernetes":
            self.ensure_running()
        else:
            from recsys_assets.platform.local import stack

            stack.require_startable(settings)

    def ensure_running(self, *more: str) -> None:
        """Start the core stack (supervisor, reconciler, gateway, collector), and `more` programs, where not running.

        On a cluster all of that is installed, or it is not: raises Missing that names what is not there.
        """
        settings = self.settings()
        if settings.platform == "kubernetes":
            from recsys_assets.platform.kubernetes.installed import require_installed

            require_installed(settings.kubernetes)
        else:
            from recsys_assets.platform.local import stack

            stack.start(settings, (*stack.CORE, *more))

    def get(self, kind: str, name: str) -> Manifest | None:
        return self.connect().get(kind, name)

    def list(self, kind: str) -> list[Manifest]:
        return self.connect().list(kind)

    def apply(self, manifest: Manifest, *, expected: Expected) -> Manifest:
        return self.connect().apply(manifest, expected=expected)

    def delete(self, kind: str, name: str, *, expected: str | AnyVersion = ANY) -> bool:
        return self.connect().delete(kind, name, expected=expected)

    def status(self, kind: str, name: str) -> ServiceStatus:
        return self.connect().status(kind, name)
