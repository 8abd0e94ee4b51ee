from __future__ import annotations

import pytest

from tests.integration.tenancy.line.track import Track
from tests.integration.tenancy.world import World


@pytest.fixture
def track(world: World) -> Track:
    return Track(world)
