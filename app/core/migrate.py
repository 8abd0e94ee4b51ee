"""Bringing a database to the newest schema of its tree.

Two trees: `platform` and `instance`, in `migrations/`. One DDL statement per revision and each repeatable
(`if_not_exists`), because MariaDB cannot take DDL back: a migration killed in the middle is simply run again.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

Tree = Literal["platform", "instance"]

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
_REVISION_FILE: Final = re.compile(r"(\d{4})_\w+\.py")


@lru_cache
def head(tree: Tree) -> str:
    """The newest revision of a tree, read from the file names without importing Alembic."""
    found = [match[1] for match in map(_REVISION_FILE.fullmatch, _file_names(tree)) if match]
    return max(found)


def _file_names(tree: Tree) -> list[str]:
    return [path.name for path in (MIGRATIONS / tree / "versions").iterdir()]


def current(url: str) -> str | None:
    """The revision a database is at; None when it was never migrated."""
    engine = create_engine(url, poolclass=NullPool)
    try:
        return _current(engine)
    finally:
        engine.dispose()


def _current(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        value = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if value is None else str(value)


def upgrade(url: str, tree: Tree) -> bool:
    """Run the revisions that a database does not have yet; says whether there were any.

    Safe to repeat and to kill. Two at once on one database are the caller's mistake.
    """
    if current(url) == head(tree):
        return False
    # Alembic costs a tenth of a second to import; a start on a migrated database does without it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS / tree))
    config.attributes["url"] = url
    command.upgrade(config, "head")
    return True
