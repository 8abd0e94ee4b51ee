"""Stored passwords come under the seal's own key when the platform starts, and stay readable all the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.ids import new_id
from tenancy.credential import CredentialKey
from tenancy.database import repository
from tenancy.database.reseal import has_own_seals, reseal
from tenancy.database.sealing import PasswordSeal, seal_key
from tenancy.errors import CredentialKeyMissing
from tenancy.server.errors import DatabasePasswordDamaged

CREDENTIAL = CredentialKey(bytes(range(32)))
FORMER = PasswordSeal(CREDENTIAL)
SEAL = PasswordSeal(CredentialKey(bytes(range(1, 33))), former=CREDENTIAL)


@dataclass(frozen=True)
class Stored:
    """What an older wops has stored: as many servers as instances, the password of each its own id."""

    platform: Database

    def add(self, count: int, *, seal: PasswordSeal = FORMER) -> list[str]:
        owners = []
        with self.platform.engine.begin() as connection:
            for _ in range(count):
                server, instance = new_id("srv"), new_id("ins")
                connection.execute(
                    text(
                        "INSERT INTO server (server_id, name, kind, purpose, site, country, capacity, used, state,"
                        " address, admin_user, admin_password, version, created_at_us) VALUES (:id, :id, 'mariadb',"
                        " 'shared', 'here', 'DE', 10, 0, 'active', 'db:3306', 'a', :sealed, 1, 1)"
                    ),
                    {"id": server, "sealed": seal.seal(server, owner=server)},
                )
                connection.execute(
                    text(
                        "INSERT INTO instance_database (instance_id, server_id, database_name, user_name, password,"
                        " created_at_us) VALUES (:id, :server, :id, :id, :sealed, 1)"
                    ),
                    {"id": instance, "server": server, "sealed": seal.seal(instance, owner=instance)},
                )
                owners += [server, instance]
        return owners

    def damage(self, instance: str) -> None:
        with self.platform.engine.begin() as connection:
            connection.execute(
                text("UPDATE instance_database SET password = 'v1.AAAA' WHERE instance_id = :id"),
                {"id": instance},
            )

    def sealed(self) -> dict[str, str]:
        rows = self.platform.read(
            lambda reader: [
                row for form in ("v1.", "v2.") for row in repository.list_sealed(reader, form, limit=5000)
            ]
        )
        return {row.owner: row.sealed for row in rows}


@pytest.fixture
def stored(platform_db: Database) -> Stored:
    return Stored(platform_db)


def test_what_was_sealed_under_the_credential_key_is_sealed_anew_once(stored: Stored) -> None:
    owners = stored.add(3)
    assert not has_own_seals(stored.platform)
    assert (reseal(stored.platform, SEAL), reseal(stored.platform, SEAL)) == (6, 0)
    sealed = stored.sealed()
    assert set(sealed) == set(owners)
    for owner in owners:
        assert SEAL.open(sealed[owner], owner=owner) == owner
        # What lines have opens nothing of it.
        with pytest.raises(DatabasePasswordDamaged):
            FORMER.open(sealed[owner], owner=owner)
    assert has_own_seals(stored.platform)


def test_key_of_a_host_name_alone_is_reason_enough_to_keep_the_seal_key(stored: Stored) -> None:
    with stored.platform.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO front_host (host_id, host, certificate, private_key, fingerprint, subject, issuer,"
                " not_before_us, not_after_us, version, created_at_us, changed_at_us)"
                " VALUES ('hst_1', 'lc.example', 'c', 'v1.k', 'f', 's', 'i', 1, 2, 1, 1, 1)"
            )
        )
    assert has_own_seals(stored.platform)


def test_more_than_fit_into_one_transaction_are_sealed_anew(stored: Stored) -> None:
    stored.add(520)
    assert reseal(stored.platform, SEAL) == 1040
    assert all(each.startswith("v2.") for each in stored.sealed().values())


def test_damaged_password_stays_as_it_is_and_holds_up_no_other(stored: Stored) -> None:
    owners = stored.add(2)
    stored.damage(owners[1])
    assert reseal(stored.platform, SEAL) == 3
    assert stored.sealed()[owners[1]] == "v1.AAAA"


def test_password_that_is_changed_meanwhile_keeps_what_it_was_changed_to(stored: Stored) -> None:
    (_, instance) = stored.add(1)
    (old,) = [
        each
        for each in stored.platform.read(lambda reader: repository.list_sealed(reader, "v1.", limit=10))
        if each.owner == instance
    ]
    stored.damage(instance)
    changed = stored.platform.run_tx(
        new_id("op"), lambda tx: {"done": repository.replace_sealed(tx, old, "v2.new")}
    )
    assert (changed.value, stored.sealed()[instance]) == ({"done": False}, "v1.AAAA")


def test_seal_key_that_is_lost_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    with pytest.raises(CredentialKeyMissing) as refused:
        seal_key(path)
    assert "database password" in refused.value.message
    assert list(tmp_path.iterdir()) == []
    made = seal_key(path, may_create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert seal_key(path).derive("x") == made.derive("x")
