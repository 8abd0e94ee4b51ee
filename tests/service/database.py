"""Fresh, migrated databases for tests: migrated once per session and engine, then copied.

A copy of an SQLite file costs a millisecond, a MariaDB database from the template's own table definitions
some fifty; Alembic would take a second each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.core.migrate import upgrade
from tests.service.mariadb import MariaDbServer

Tree = Literal["instance", "platform"]
EngineKind = Literal["sqlite", "mariadb"]


@dataclass(frozen=True, slots=True)
class _Template:
    """What a migrated MariaDB database consists of."""

    database: str
    definitions: tuple[str, ...]
    filled: tuple[str, ...]


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
        self._templates: dict[Tree, _Template] = {}
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

    def _mariadb_template(self, tree: Tree) -> _Template:
        if tree not in self._templates:
            server = self._server()
            access = server.create_database(f"template_{tree}")
            upgrade(access.url, tree=tree)
            self._templates[tree] = _read_template(server, access.database)
        return self._templates[tree]

    def _clone(self, template: _Template, name: str) -> str:
        server = self._server()
        access = server.create_database(name)
        server.execute(
            f"USE `{name}`",
            # Definitions come in the order of names, not of references.
            "SET SESSION foreign_key_checks=0",
            *template.definitions,
            *(
                f"INSERT INTO `{table}` SELECT * FROM `{template.database}`.`{table}`"
                for table in template.filled
            ),
        )
        return access.url


def _read_template(server: MariaDbServer, database: str) -> _Template:
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
    return _Template(database=database, definitions=tuple(definitions), filled=tuple(filled))
