"""Opens the data directory: its lock, the keys in it, the platform database.

credential.key ─► checks secrets; lines have what is derived from it
seal.key ───────► opens passwords of databases and keys of host names; control alone has it
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.core.clock import Clock
from app.core.db import Database
from app.core.errors import DomainError
from app.core.lock import make_private, take_lock
from app.core.migrate import current, upgrade
from app.settings import Settings
from tenancy import CredentialKey, PasswordSeal, credential_key, register_embedded_servers
from tenancy.database.reseal import has_own_seals, reseal
from tenancy.database.sealing import SEAL_KEY, seal_key


class DataDirectoryInUse(DomainError):
    """Another process serves this data directory."""

    code = "data_directory_in_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What everything else is built upon.

    Attributes:
        key: checks secrets of API clients and staff.
        seal_key: what lines must not open is under this one.
        seal: opens passwords of database servers and instance databases.
    """

    key: CredentialKey
    seal_key: CredentialKey
    seal: PasswordSeal
    platform_db: Database


def lock_data_directory(data_dir: Path) -> int:
    """Be the only process that serves it, until the descriptor is closed or the process ends.

    Raises:
        DataDirectoryInUse: another one does.
    """
    make_private(data_dir)
    try:
        return take_lock(data_dir)
    except BlockingIOError:
        raise DataDirectoryInUse(
            f"Another wops serves {data_dir}. Stop it, or choose another directory with --data-dir."
        ) from None


def open_storage(settings: Settings, data_dir: Path, *, clock: Clock) -> Storage:
    """Open the keys and bring the platform database to its newest schema. The directory is locked by the caller.

    Raises:
        DomainError: a key file is missing, exposed or damaged, or the database cannot be used.
    """
    # Before the database: a start killed between the two must not look as if the key had been lost.
    key = credential_key(data_dir / "credential.key", may_create=not _has_platform(settings))
    upgrade(settings.platform_url, "platform")
    db = Database(settings.platform_url, clock=clock)
    try:
        # What lines must not open has a key of its own: theirs is the credential key.
        own_key = seal_key(data_dir / SEAL_KEY, may_create=not has_own_seals(db))
        seal = PasswordSeal(own_key, former=key)
        reseal(db, seal)
        register_embedded_servers(db, dedicated=settings.dedicated_servers)
    except BaseException:
        db.close()
        raise
    return Storage(key=key, seal_key=own_key, seal=seal, platform_db=db)


def _has_platform(settings: Settings) -> bool:
    """Whether there is a platform database already, with secrets in it that only the old key can check."""
    if settings.platform_database is None:
        return settings.platform_file.exists()
    return current(settings.platform_url) is not None
