"""Tables of the audit. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from app.core.schema import HASH, ID, platform_metadata

# Signed now and then: how far the chains had come that had grown. They form a chain themselves.
audit_checkpoint = Table(
    "audit_checkpoint",
    platform_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # JSON: chain (`platform`, or an instance's id), number and hash of its newest entry.
    Column("links", Text, nullable=False),
    Column("signed_at_us", BigInteger, nullable=False),
    # 1: the first of a day; kept for ever, the others for a week.
    Column("anchor", Integer, nullable=False),
    # Of the checkpoint before, and of the anchor before.
    Column("previous_hash", HASH, nullable=False),
    Column("anchor_hash", HASH, nullable=False),
    Column("key_id", ID, nullable=False),
    # Ed25519, base64url.
    Column("signature", Text, nullable=False),
)
