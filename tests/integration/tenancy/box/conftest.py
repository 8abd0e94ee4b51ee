from __future__ import annotations

import pytest

from tests.integration.tenancy.box.rack import Rack
from tests.integration.tenancy.world import World


@pytest.fixture
def rack(world: World) -> Rack:
    return Rack(world)
