"""The two schemas, and the tables that both of them have.

Instance schema: one database per instance (licences, transfers, ledger, outbox, what a line needs to know).
Platform schema: one database for control (customers, instances, contracts, servers, boxes, operations).
Packages add their own tables to the metadata they belong to; migrations are written by hand and compared
with it by a test.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

ID = String(64)
"""Ids, keys and codes: ASCII, short enough for every index."""
NAME = String(191)
"""Names people choose. 191 characters of utf8mb4 fit an InnoDB index of 767 bytes.

Source: MariaDB 10.11 manual, "InnoDB Limitations".
"""
LABEL = String(64)
"""Names that become URL segments, user names and words of ours; people's choices are kept at 40 characters."""
HASH = String(64)
"""SHA-256 or HMAC-SHA256 in hexadecimal digits."""

instance_metadata = MetaData()
platform_metadata = MetaData()


def add_kernel_tables(metadata: MetaData) -> None:
    """Add `op`, `outbox_sequence` and `outbox_event` to a schema."""
    Table(
        "op",
        metadata,
        Column("op_id", NAME, primary_key=True),
        Column("fingerprint", String(64), nullable=False),
        Column("answer", Text, nullable=True),
        Column("created_at_us", BigInteger, nullable=False),
        Index("ix_op_created_at", "created_at_us"),
    )
    Table(
        "outbox_sequence",
        metadata,
        Column("name", String(32), primary_key=True),
        Column("last", BigInteger, nullable=False),
    )
    Table(
        "outbox_event",
        metadata,
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("event_id", ID, nullable=False, unique=True),
        Column("type", String(64), nullable=False),
        Column("subject", NAME, nullable=False),
        Column("op_id", NAME, nullable=False),
        Column("data", Text, nullable=False),
        Column("occurred_at_us", BigInteger, nullable=False),
        Column("delivery", Integer, nullable=False),
        # Audit: who, by which action, why, what it was before; and the chain that shows any later change.
        Column("actor", Text, nullable=True),
        Column("action", String(128), nullable=True),
        Column("request_id", ID, nullable=True),
        Column("reason", Text, nullable=True),
        Column("before_change", Text, nullable=True),
        Column("hash", HASH, nullable=True),
    )


add_kernel_tables(instance_metadata)
add_kernel_tables(platform_metadata)
