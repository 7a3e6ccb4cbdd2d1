"""recsys_assets: recommender updates that are safe, as gated Dagster assets."""
