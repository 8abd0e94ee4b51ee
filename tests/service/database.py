"""Fresh, migrated databases for tests: migrated once per session and engine, then copied.

A copy of an SQLite file costs a millisecond, a MariaDB database from the template's own table definitions
some fifty; Alembic would take a second each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from app.core.migrate import upgrade
from tests.service.mariadb import MariaDbServer

Tree = Literal["instance", "platform"]
EngineKind = Literal["sqlite", "mariadb"]


@dataclass(frozen=True, slots=True)
class MariaDbTemplate:
    """What a migrated MariaDB database consists of."""

    database: str
    definitions: tuple[str, ...]
    filled: tuple[str, ...]

    @classmethod
    def of(cls, server: MariaDbServer, database: str) -> Self:
        """Read what is in a database."""
        with server.connect_admin() as connection, connection.cursor() as cursor:
            cursor.execute(f"USE `{database}`")
            cursor.execute("SHOW TABLES")
            tables = [str(row[0]) for row in cursor.fetchall()]
            definitions = []
            filled = []
            for table in tables:
                cursor.execute(f"SHOW CREATE TABLE `{table}`")
                definitions.append(str(cursor.fetchall()[0][1]))
                if cursor.execute(f"SELECT 1 FROM `{table}` LIMIT 1"):
                    filled.append(table)
        return cls(database=database, definitions=tuple(definitions), filled=tuple(filled))

    def copy_into(self, database: str) -> list[str]:
        """Statements that fill an empty database of the same server."""
        return [
            f"USE `{database}`",
            # Definitions come in the order of names, not of references.
            "SET SESSION foreign_key_checks=0",
            *self.definitions,
            *(f"INSERT INTO `{each}` SELECT * FROM `{self.database}`.`{each}`" for each in self.filled),
        ]


class DatabaseMaker:
    """Makes databases of either tree on either engine. Belongs to one test session and one thread.

    Args:
        folder: where SQLite files go.
        server: gives the private MariaDB server; called when the first database on it is wanted.
    """

    def __init__(self, folder: Path, server: Callable[[], MariaDbServer]) -> None:
        self._folder = folder
        self._server = server
        self._files: dict[Tree, Path] = {}
        self._templates: dict[Tree, MariaDbTemplate] = {}
        self._count = 0

    def create(self, kind: EngineKind, tree: Tree) -> str:
        """Make a migrated, otherwise empty database; returns its URL, with a user that sees it alone."""
        self._count += 1
        if kind == "sqlite":
            path = self._folder / f"{tree}_{self._count}.sqlite3"
            shutil.copyfile(self._sqlite_template(tree), path)
            return f"sqlite:///{path}"
        return self._clone(self._mariadb_template(tree), f"{tree}_{self._count}")

    def remove(self, url: str) -> None:
        """Remove what `create` made; its connections are closed by then."""
        name = url.rsplit("/", 1)[1]
        if not url.startswith("sqlite:"):
            self._server().drop_database(name)
            return
        for suffix in ("", "-wal", "-shm"):
            (self._folder / f"{name}{suffix}").unlink(missing_ok=True)

    def _sqlite_template(self, tree: Tree) -> Path:
        if tree not in self._files:
            path = self._folder / f"template_{tree}.sqlite3"
            upgrade(f"sqlite:///{path}", tree=tree)
            wal = path.with_name(f"{path.name}-wal")
            assert not wal.exists(), f"the migration left {wal.name}: a copy of the file alone would lack it"
            self._files[tree] = path
        return self._files[tree]

    def _mariadb_template(self, tree: Tree) -> MariaDbTemplate:
        if tree not in self._templates:
            server = self._server()
            access = server.create_database(f"template_{tree}")
            upgrade(access.url, tree=tree)
            self._templates[tree] = MariaDbTemplate.of(server, access.database)
        return self._templates[tree]

    def _clone(self, template: MariaDbTemplate, name: str) -> str:
        server = self._server()
        access = server.create_database(name)
        server.execute(*template.copy_into(name))
        return access.url
