"""What one kind of server does for `PlacedDatabases`, and what of that a line needs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from ssl import SSLContext
from typing import Protocol

from app.core.db import Database
from tenancy.database.home import DatabaseHome


class DatabaseAccess(Protocol):
    """How one gets at the databases of a server or directory, knowing no administrator. Thread-safe, blocking."""

    @property
    def tls(self) -> SSLContext | None:
        """How the server proves who it is."""
        ...

    def trust(self, tls_ca: str | None) -> None:
        """Have the server prove itself by another authority from now on."""
        ...

    def open(self, home: DatabaseHome) -> Database:
        """Ready to connect; makes nothing that is not there.

        Raises:
            InstanceDatabaseMissing: it is known not to be there.
        """
        ...

    def migration_url(self, home: DatabaseHome) -> str:
        """Its URL with password."""
        ...


class DatabaseDriver(DatabaseAccess, Protocol):
    """The databases of one server or one directory. Thread-safe, blocking; remembers no instance."""

    def exclusively(self, home: DatabaseHome, /) -> AbstractContextManager[None]:
        """Nobody else makes or removes this database meanwhile, in whatever process."""
        ...

    def create(self, home: DatabaseHome) -> None:
        """Make the database with the newest schema, or finish what was begun. Safe to repeat and to kill."""
        ...

    def drop(self, home: DatabaseHome) -> None:
        """Remove the database and its user, if they are there."""
        ...

    def public_url(self, home: DatabaseHome) -> str:
        """Its URL without password."""
        ...
