"""Instance databases as SQLite files of one directory."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from pathlib import Path
from ssl import SSLContext
from typing import Final
from urllib.parse import quote

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database
from app.core.db_engine import ServerEngines
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
            _sync_directory(path.parent)

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
                draft = _make_draft(self._templates)
                migrate.upgrade(_url(draft), "instance")
                _put_in_place(draft, template)
        draft = _make_draft(self._directory)
        shutil.copyfile(template, draft)
        _put_in_place(draft, path)


def _make_draft(directory: Path) -> Path:
    """A file that nobody else writes to. What a killed process leaves behind is empty of data."""
    path = directory / f".draft-{secrets.token_hex(8)}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return path


def _put_in_place(draft: Path, path: Path) -> None:
    """Give a finished file its name, whole or not at all, unless somebody else was faster."""
    descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _url(path: Path) -> str:
    return f"sqlite:///{path}"
