"""Instances that are placed and nothing more: what databases of instances need to be tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pymysql

from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from editions.catalog import EDITIONS
from tenancy.database.placed import PlacedDatabases
from tenancy.server.placing import place


@dataclass(frozen=True)
class Fleet:
    platform: Database
    databases: PlacedDatabases

    def placed(self, edition: str = "datacenter", *, lines: int = 1) -> InstanceId:
        """An instance with places on servers and no database yet."""
        instance_id = InstanceId(new_id("ins"))

        def body(tx: Tx) -> JsonObject:
            place(tx, instance_id, edition=EDITIONS[edition], lines=lines, country="DE")
            return {}

        self.platform.run_tx(new_id("op"), body)
        return instance_id

    def made(self, edition: str = "datacenter") -> InstanceId:
        """An instance with a database."""
        instance_id = self.placed(edition)
        self.databases.create(instance_id)
        return instance_id


def mark(database: Database, text: str = "x") -> None:
    """Write something that can be found again."""

    def body(tx: Tx) -> JsonObject:
        tx.emit("test.marked", subject=text, data={})
        return {}

    database.run_tx(f"mark:{text}", body)


def look(cursor: Any, statement: str) -> list[tuple[Any, ...]]:
    cursor.execute(statement)
    return list(cursor.fetchall())


class Raw:
    """A driver's cursor, for statements that no transaction of ours runs; what it has done is rolled back."""

    def __init__(self, database: Database) -> None:
        self._connection = database.engine.raw_connection()

    def __enter__(self) -> pymysql.cursors.Cursor:
        cursor: pymysql.cursors.Cursor = self._connection.cursor()  # type: ignore[assignment]
        return cursor

    def __exit__(self, *_: object) -> None:
        self._connection.rollback()
        self._connection.close()


def tables_of(fleet: Fleet, instance_id: InstanceId) -> list[str]:
    with Raw(fleet.databases.open(instance_id)) as cursor:
        cursor.execute("SHOW TABLES")
        return [row[0] for row in cursor.fetchall()]
