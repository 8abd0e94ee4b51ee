"""What the rest of the platform asks of instance databases, wherever they lie."""

from __future__ import annotations

from ssl import SSLContext
from typing import Protocol

from app.core.db import Database
from app.core.ids import InstanceId
from tenancy.database.home import DatabaseHome
from tenancy.server.record import ServerId


class ServedDatabases(Protocol):
    """The databases that a process serves, as far as lines ask. Thread-safe, blocking."""

    def open(self, instance_id: InstanceId) -> Database:
        """The instance's database; opened when first asked for, closed when many others were used since.

        Raises:
            InstanceDatabaseMissing: it has not been created, or is gone or empty; only `create` makes a schema.
            DatabaseUnavailable: nobody can say now where it is, or whether its schema is new enough.
        """
        ...

    def forget(self, instance_id: InstanceId) -> None:
        """Let go of what is known about a database: another process has removed it."""
        ...

    def is_current(self, instance_id: InstanceId) -> bool:
        """Whether the database has the newest schema.

        Raises:
            InstanceDatabaseMissing: it has not been created, or is empty.
            DatabaseUnavailable: it does not answer.
        """
        ...

    def close(self) -> None:
        """Close all that are open."""
        ...


class InstanceDatabases(ServedDatabases, Protocol):
    """The databases of all instances, with what control does about them. Thread-safe, blocking."""

    def create(self, instance_id: InstanceId) -> str:
        """Make an instance's database if there is none and bring it to the newest schema.

        Safe to repeat and to kill. Returns its URL without password.

        Raises:
            InstanceNotPlaced: no server holds a place for it.
            ServerUnreachable, ServerRejected: its server does not do it now.
        """
        ...

    def drop(self, instance_id: InstanceId) -> None:
        """Remove database, user and everything that is known about them. Safe to repeat and to kill.

        The instance keeps its place on the server; `tenancy.server.placing.release` gives it back.

        Raises:
            ServerUnreachable, ServerRejected: its server does not do it now.
        """
        ...

    def renew_server(self, server_id: ServerId, tls_ca: str | None) -> None:
        """Take over another way to a server: connections made from now on ask for the new authority."""
        ...

    def line_home(self, instance_id: InstanceId) -> DatabaseHome:
        """Where the database is, for a line in a process of its own: with its password, a directory from the root.

        Raises:
            InstanceDatabaseMissing: it has not been created.
            DatabasePasswordDamaged: its stored password cannot be opened.
        """
        ...

    def migration_url(self, instance_id: InstanceId) -> str:
        """The database's URL with its password, for the migration runner alone: never log or store it.

        Raises:
            InstanceDatabaseMissing: it has not been created.
        """
        ...

    def migration_tls(self, instance_id: InstanceId) -> SSLContext | None:
        """What goes with that URL: how the server proves who it is. None where nobody listens in between.

        Raises:
            InstanceDatabaseMissing: it has not been created.
        """
        ...
