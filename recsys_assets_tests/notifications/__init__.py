"""Tests of recsys_assets.notifications."""
