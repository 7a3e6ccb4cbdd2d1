"""The resources by key, built from settings. Here: wiring. Not here: what a resource does.

Building touches no file and no network: every resource opens what it needs when it is first used.
"""

from typing import Any

from recsys_assets.resources.feature_store import FeatureStoreResource
from recsys_assets.resources.platform import PlatformResource
from recsys_assets.resources.registry import ModelRegistryResource
from recsys_assets.resources.tables import TablesResource
from recsys_assets.resources.tracking import TrackingResource
from recsys_assets.settings import Settings


def build_resources(settings: Settings) -> dict[str, Any]:
    """What the assets ask for by key: tables, feature_store, tracking, registry, platform."""
    home, mlflow = str(settings.home), settings.stores.mlflow or ""
    return {
        "tables": TablesResource.of(settings),
        "feature_store": FeatureStoreResource.of(settings),
        "tracking": TrackingResource(home=home, experiment=settings.model_name, tracking_uri=mlflow),
        "registry": ModelRegistryResource(home=home, model_name=settings.model_name, tracking_uri=mlflow),
        "platform": PlatformResource.from_settings(settings),
    }
