"""A data directory of an older wops, whose database passwords were sealed under the credential key."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.container import Platform
from app.settings import Settings
from tenancy.credential import credential_key
from tenancy.database.sealing import PasswordSeal
from tenancy.errors import CredentialKeyMissing
from tests.fake.clock import FakeClock

SERVER = "srv_0000000000000000000000000000000a"


class Storage:
    """The part of a platform that opens its storage."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.settings = Settings(data_dir=data_dir)

    async def start(self) -> None:
        """Start and end a platform."""
        platform = Platform(self.settings, clock=FakeClock())
        try:
            await platform.start()
        finally:
            await platform.stop()

    @property
    def stored(self) -> str:
        with closing(sqlite3.connect(self.settings.platform_file)) as connection:
            found = connection.execute("SELECT admin_password FROM server WHERE server_id = ?", [SERVER])
            return str(found.fetchone()[0])

    def make_old(self) -> None:
        """As an older wops has left it: no key of the seal's own, a password under the credential key."""
        (self.data_dir / "seal.key").unlink()
        former = PasswordSeal(credential_key(self.data_dir / "credential.key", may_create=False))
        with closing(sqlite3.connect(self.settings.platform_file)) as connection, connection:
            connection.execute(
                "INSERT INTO server (server_id, name, kind, purpose, site, country, capacity, used, state, address,"
                " admin_user, admin_password, version, created_at_us) VALUES (?, 'old', 'mariadb', 'shared', 'here',"
                " 'DE', 10, 0, 'draining', '127.0.0.1:1', 'a', ?, 1, 1)",
                [SERVER, former.seal("geheim", owner=SERVER)],
            )


def test_old_passwords_come_under_the_new_key_and_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "data")
    asyncio.run(storage.start())
    storage.make_old()
    assert storage.stored.startswith("v1.")
    asyncio.run(storage.start())
    assert storage.stored.startswith("v2.")
    former = credential_key(storage.data_dir / "credential.key", may_create=False)
    own = credential_key(storage.data_dir / "seal.key", may_create=False)
    assert PasswordSeal(own, former=former).open(storage.stored, owner=SERVER) == "geheim"
    asyncio.run(storage.start())
    (storage.data_dir / "seal.key").rename(storage.data_dir / "away")
    with pytest.raises(CredentialKeyMissing):
        asyncio.run(storage.start())
    assert not (storage.data_dir / "seal.key").exists()
