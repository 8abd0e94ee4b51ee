"""Tables of self-healing: platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text

from app.core.schema import ID, LABEL, NAME, platform_metadata

reconcile_lease = Table(
    "reconcile_lease",
    platform_metadata,
    Column("name", LABEL, primary_key=True),
    Column("holder", ID, nullable=False),
    # Grows with every change of holder: whoever acts shows it, and an older one is refused.
    Column("token", BigInteger, nullable=False),
    Column("valid_until_us", BigInteger, nullable=False),
    # Written by whoever acts, so that two who do at the same time see each other.
    Column("touched", BigInteger, nullable=False),
)

reconcile_decision = Table(
    "reconcile_decision",
    platform_metadata,
    Column("decision_id", ID, primary_key=True),
    Column("part", NAME, nullable=False),
    Column("group_key", LABEL, nullable=False),
    Column("action", String(16), nullable=False),
    Column("wanted", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("verdict", String(16), nullable=False),
    # [{"witness", "verdict", "detail"}]
    Column("evidence", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    # open, met, not_met, failed; NULL: nothing was done.
    Column("outcome", String(16), nullable=True),
    Column("outcome_code", String(64), nullable=True),
    Column("outcome_at_us", BigInteger, nullable=True),
    # Of a person who was called: who has released the part.
    Column("released_by", ID, nullable=True),
    Column("released_at_us", BigInteger, nullable=True),
    Column("decided_at_us", BigInteger, nullable=False),
    # What the reason holds for, and until when at the latest; NULL: written by a wops that did not tell.
    Column("scope", NAME, nullable=True),
    Column("until_us", BigInteger, nullable=True),
)

reconcile_pause = Table(
    "reconcile_pause",
    platform_metadata,
    Column("scope", NAME, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("paused_by", ID, nullable=False),
    Column("until_us", BigInteger, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
)
