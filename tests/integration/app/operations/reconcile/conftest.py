from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.app.operations.reconcile.ward import Ward
from tests.integration.tenancy.conftest import mariadb_admin, world
from tests.integration.tenancy.line.track import Track
from tests.integration.tenancy.world import World

__all__ = ["mariadb_admin", "track", "world"]


@pytest.fixture
def track(world: World) -> Track:
    return Track(world)


@pytest.fixture
def ward(track: Track, tmp_path: Path) -> Ward:
    return Ward(track, tmp_path)
