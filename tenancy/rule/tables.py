"""Tables of routing rules: platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from app.core.schema import ID, NAME, platform_metadata

LONG = Text(1_000_000)
"""62 rules and their networks. MariaDB makes it MEDIUMTEXT."""

rule_set = Table(
    "rule_set",
    platform_metadata,
    # No row: version 1, which is empty.
    Column("instance_id", ID, primary_key=True),
    # In force; for If-Match.
    Column("version", Integer, nullable=False),
    # 1: it has no rules, and front doors need not read it.
    Column("is_empty", Integer, nullable=False),
)

# Never changed and, while the instance is there, never deleted.
rule_set_version = Table(
    "rule_set_version",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # {"rules": [...], "sources": {...}}
    Column("document", LONG, nullable=False),
    # Version that was put back by this one.
    Column("restored", Integer, nullable=True),
    # client, staff, system; and a stable id that names no person.
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", NAME, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)
