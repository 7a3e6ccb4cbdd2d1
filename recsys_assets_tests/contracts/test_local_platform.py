"""The contract of a Platform, asked of the local manifest store.

Here: the fixture. Not here: the claims (`platform_contract.py`), and what is the store's own affair.
"""

from pathlib import Path

import pytest

from recsys_assets.platform.interface import Platform
from recsys_assets.platform.local.store import ManifestStore
from recsys_assets_tests.contracts.platform_contract import PlatformContract


class TestLocalPlatform(PlatformContract):
    @pytest.fixture
    def platform(self, tmp_path: Path) -> Platform:
        return ManifestStore(tmp_path / "manifests.db")
