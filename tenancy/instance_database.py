"""Every instance has a database of its own; this is where they are made and opened."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakValueDictionary

from app.core import migrate
from app.core.clock import Clock
from app.core.db import Database
from app.core.ids import InstanceId
from tenancy.errors import InstanceDatabaseMissing

_INSTANCE_ID: Final = re.compile(r"[a-z]+_[0-9a-f]{32}\Z")
_MOST_OPEN: Final = 200
"""Databases kept open at once; each holds a few connections, that is file handles and some 100 KB. Our own decision."""
_POOL_SIZE: Final = 4


class InstanceDatabases(Protocol):
    """The instance databases of one database server, or of one directory. Thread-safe."""

    def create(self, instance_id: InstanceId) -> str:
        """Make an instance's database if there is none and bring it to the newest schema.

        Safe to repeat and to kill. Returns its URL without password.
        """
        ...

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database; opened when first asked for, closed when many others were used since.

        Raises:
            InstanceDatabaseMissing: it has not been created, or is gone.
        """
        ...

    def close(self) -> None:
        """Close all that are open."""
        ...


class SqliteInstanceDatabases:
    """One SQLite file per instance in one directory.

    Args:
        directory: made with mode 0700 when the first database is.
        clock: gives transactions their time.
        most_open: how many stay open when nobody uses them.
    """

    def __init__(self, directory: Path, *, clock: Clock, most_open: int = _MOST_OPEN) -> None:
        self._directory = directory
        self._clock = clock
        self._most_open = most_open
        self._lock = threading.Lock()
        # Alembic keeps the migration under way in a module: one at a time in a process.
        self._migrating = threading.Lock()
        self._recent: OrderedDict[InstanceId, Database] = OrderedDict()
        # One file has one Database as long as anybody holds it: its lock is what lets writers queue fairly.
        self._alive: WeakValueDictionary[InstanceId, Database] = WeakValueDictionary()

    def path(self, instance_id: InstanceId) -> Path:
        """Where the instance's file is, or would be."""
        if not _INSTANCE_ID.match(instance_id):
            raise InstanceDatabaseMissing("That is no instance id.")
        return self._directory / f"{instance_id}.db"

    def create(self, instance_id: InstanceId) -> str:
        """Make an instance's file if there is none, bring it to the newest schema, and return its URL."""
        path = self.path(instance_id)
        if path.exists():
            with self._migrating:
                migrate.upgrade(_url(path), "instance")
        else:
            self._copy_template(path)
        return _url(path)

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database.

        Raises:
            InstanceDatabaseMissing: there is no file; SQLite would make an empty one.
        """
        with self._lock:
            database = (
                self._recent.get(instance_id) or self._alive.get(instance_id) or self._open_new(instance_id)
            )
            self._recent[instance_id] = database
            self._recent.move_to_end(instance_id)
            if len(self._recent) > self._most_open:
                _, oldest = self._recent.popitem(last=False)
                oldest.close()
            return database

    def close(self) -> None:
        """Close all that are open."""
        with self._lock:
            for database in list(self._alive.values()):
                database.close()
            self._recent.clear()
            self._alive.clear()

    def _open_new(self, instance_id: InstanceId) -> Database:
        path = self.path(instance_id)
        if not path.is_file():
            raise InstanceDatabaseMissing("The instance's database does not exist.")
        with self._migrating:
            # The file may come from an older wops; on a current one this is one small read.
            migrate.upgrade(_url(path), "instance")
        database = Database(_url(path), clock=self._clock, pool_size=_POOL_SIZE)
        self._alive[instance_id] = database
        return database

    def _copy_template(self, path: Path) -> None:
        """Put a copy of the empty, migrated template in place; a second of migrations becomes some milliseconds."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        template = self._directory / f".template-{migrate.head('instance')}.db"
        with self._migrating:
            if not template.exists():
                self._make_template(template)
        draft = self._draft()
        shutil.copyfile(template, draft)
        _put_in_place(draft, path)

    def _make_template(self, template: Path) -> None:
        draft = self._draft()
        migrate.upgrade(_url(draft), "instance")
        _put_in_place(draft, template)

    def _draft(self) -> Path:
        """A file that nobody else writes to. What a killed process leaves behind is empty of data."""
        path = self._directory / f".draft-{secrets.token_hex(8)}"
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
