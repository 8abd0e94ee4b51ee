"""Tables of lines. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, UniqueConstraint

from app.core.schema import ID, platform_metadata

# Permanent lines have a row once something was said about them; temporary ones as long as they are there.
line = Table(
    "line",
    platform_metadata,
    Column("line_id", ID, nullable=False),
    Column("instance_id", ID, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # 0 to 256
    Column("weight", Integer, nullable=False),
    # planned, joining, active, leaving, ended; permanent ones are active
    Column("phase", String(16), nullable=False),
    # Who has taken it out of service: staff, customer, reconciler; NULL: it is in service.
    Column("out_by", String(16), nullable=True),
    Column("out_reason", Text, nullable=True),
    Column("out_since_us", BigInteger, nullable=True),
    # Of a temporary one: its contract row, from when to when, and the server that it has a place on.
    Column("contract_id", ID, nullable=True),
    Column("starts_at_us", BigInteger, nullable=True),
    Column("ends_at_us", BigInteger, nullable=True),
    Column("server_id", ID, nullable=True),
    # For If-Match.
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    UniqueConstraint("line_id", name="uq_line_id"),
)

# Guards that a line stays in service: whoever changes one writes here first.
line_set = Table(
    "line_set",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("version", Integer, nullable=False),
)
