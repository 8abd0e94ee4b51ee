"""The databases of a data directory themselves, for commands that work whether anybody serves them or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from app.core.clock import SystemClock
from app.core.db import Database
from app.settings import Settings
from tenancy.credential import credential_key
from tenancy.database.placed import PlacedDatabases
from tenancy.database.sealing import SEAL_KEY, PasswordSeal, seal_key


@contextmanager
def open_databases(settings: Settings) -> Iterator[tuple[Database, PlacedDatabases]]:
    """The platform's database and the instances', for as long as the command works.

    Raises:
        DomainError: the key that opens the passwords is missing, damaged or lies open.
    """
    data_dir, clock = settings.data_dir.resolve(), SystemClock()
    key = credential_key(data_dir / "credential.key", may_create=False)
    with closing(Database(settings.platform_url, clock=clock)) as platform_db:
        path = data_dir / SEAL_KEY
        # Before the first start of this version there is none, and nothing sealed under it.
        seal = PasswordSeal(seal_key(path), former=key) if path.exists() else PasswordSeal(key)
        databases = PlacedDatabases(platform_db, data_dir=data_dir, seal=seal, clock=clock)
        with closing(databases):
            yield platform_db, databases
