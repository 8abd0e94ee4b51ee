"""Tables of probes. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from app.core.schema import LABEL, platform_metadata

probe_result = Table(
    "probe_result",
    platform_metadata,
    Column("probe", LABEL, primary_key=True),
    Column("started_at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("finished_at_us", BigInteger, nullable=False),
    # 1: everything held.
    Column("held", Integer, nullable=False),
    # [{"check", "instance", "other", "outcome", "detail"}]
    Column("checks", Text, nullable=False),
)
