"""What `feast -c recsys_assets/feature_repo apply` registers: the views of features/views.py for the settings in force.

Here: names that Feast's command looks for. Not here: any definition of its own.
"""

from recsys_assets.features.views import build_views
from recsys_assets.settings import load_settings

_settings = load_settings()
_views = build_views(_settings.features, _settings.path("feast"))

user = _views.user
item = _views.item
user_features = _views.user_features
item_features = _views.item_features
ranker_v1 = _views.service
