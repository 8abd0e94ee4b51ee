"""Instance databases as SQLite files of one directory."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from ssl import SSLContext
from typing import Final
from urllib.parse import quote

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database
from app.core.db_engine import ServerEngines
from app.core.file import new_file, put_in_place, sync_directory
from tenancy.database.home import DatabaseHome, name_database
from tenancy.errors import InstanceDatabaseMissing

_SUFFIXES: Final = ("", "-wal", "-shm")
"""A database and what SQLite keeps beside it. **Source:** sqlite.org/wal.html, "The WAL File"."""


class SqliteDirectory:
    """One SQLite file per instance in one directory. Thread-safe.

    Args:
        directory: made with mode 0700 when the first database is.
        engines: shared with all other directories.
        clock: gives transactions their time.
        templates: the directory that holds the empty, migrated file to copy; the same one for all directories.
    """

    def __init__(
        self, directory: Path, *, engines: ServerEngines, clock: Clock, templates: Path | None = None
    ) -> None:
        self._directory = directory
        self._templates = templates or directory
        self._engines = engines
        self._clock = clock
        self._making_template = threading.Lock()

    @property
    def tls(self) -> SSLContext | None:
        """Nobody proves anything: a directory."""
        return None

    def trust(self, tls_ca: str | None) -> None:
        """Nothing changes: a directory."""

    def path(self, home: DatabaseHome) -> Path:
        """Where the instance's file is, or would be."""
        return self._directory / f"{name_database(home.instance_id, 'sqlite')}.db"

    def exclusively(self, _home: DatabaseHome) -> AbstractContextManager[None]:
        """One process uses a data directory, and a file gets its name whole and once: there is nothing to shut out."""
        return nullcontext()

    def create(self, home: DatabaseHome) -> None:
        """Make an instance's file if there is none, and bring it to the newest schema."""
        path = self.path(home)
        if path.exists():
            migrate.upgrade(_url(path), "instance")
        else:
            self._copy_template(path)

    def open(self, home: DatabaseHome) -> Database:
        """The instance's database.

        Raises:
            InstanceDatabaseMissing: there is no file.
        """
        path = self.path(home)
        if not path.is_file():
            raise InstanceDatabaseMissing("The instance's database does not exist.")
        # Somebody may still hold the database of a file that is removed: he must not make an empty one by using it.
        url = f"sqlite:///file:{quote(str(path))}?mode=rw&uri=true"
        return Database(url, clock=self._clock, engines=self._engines)

    def drop(self, home: DatabaseHome) -> None:
        """Remove the instance's file, if it is there."""
        path = self.path(home)
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)

    def public_url(self, home: DatabaseHome) -> str:
        """The file's URL."""
        return _url(self.path(home))

    def migration_url(self, home: DatabaseHome) -> str:
        """The file's URL.

        Raises:
            InstanceDatabaseMissing: there is no file.
        """
        path = self.path(home)
        if not path.is_file():
            raise InstanceDatabaseMissing("The instance's database does not exist.")
        return _url(path)

    def _copy_template(self, path: Path) -> None:
        """Put a copy of the empty, migrated template in place; a second of migrations becomes some milliseconds."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._templates.mkdir(parents=True, exist_ok=True, mode=0o700)
        template = self._templates / f".template-{migrate.head('instance')}.db"
        with self._making_template:
            if not template.exists():
                draft = _draft_in(self._templates)
                with new_file(draft):
                    pass
                migrate.upgrade(_url(draft), "instance")
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
                put_in_place(draft, template)
        draft = _draft_in(self._directory)
        with template.open("rb") as source, new_file(draft) as file:
            shutil.copyfileobj(source, file)
        put_in_place(draft, path)


def _draft_in(directory: Path) -> Path:
    """A name that nobody else writes to. What a killed process leaves behind is empty of data."""
    return directory / f".draft-{secrets.token_hex(8)}"


def _url(path: Path) -> str:
    return f"sqlite:///{path}"
