from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from app.core.db import Database
from tests.fake.clock import FakeClock
from tests.integration.app.licensing.world import Boxes, World

settings.register_profile("long", parent=settings.get_profile("wops"))


@pytest.fixture
def boxes(tmp_path: Path, clock: FakeClock) -> Iterator[Boxes]:
    made = Boxes(tmp_path, clock)
    yield made
    made.close()


@pytest.fixture
def world(instance_db: Database, boxes: Boxes) -> World:
    """An instance with a contract and one item, CAD."""
    made = World(instance_db, boxes)
    made.sell(activations=100)
    made.item()
    return made
