from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Database
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet
from tests.integration.tenancy.world import KEY
from tests.service.database import EngineKind
from tests.service.pki import make_server_authority
from tests.service.placed import MariaDbAdmin, placed_databases


@pytest.fixture(scope="session")
def tls_ca() -> str:
    """A certificate authority that no server's certificate comes from."""
    return make_server_authority().pem


@pytest.fixture
def fleet(
    engine_kind: EngineKind,
    platform_db: Database,
    tmp_path: Path,
    clock: FakeClock,
    request: pytest.FixtureRequest,
) -> Iterator[Fleet]:
    """The platform database and the instances' are of the same kind."""
    admin: MariaDbAdmin | None = None
    if engine_kind == "mariadb":
        admin = request.getfixturevalue("mariadb_admin")
    with placed_databases(platform_db, data_dir=tmp_path, key=KEY, clock=clock, admin=admin) as databases:
        yield Fleet(platform_db, databases)
