from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.tenancy.lifecycle.life import Life
from tests.integration.tenancy.world import World


@pytest.fixture
def life(world: World, tmp_path: Path) -> Life:
    """The life of instances over the world."""
    return Life(world, tmp_path)
