"""Tables of the audit. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Table, Text, UniqueConstraint

from app.core.schema import HASH, ID, platform_metadata

# Signed now and then: how far a chain had come, and what its last hash was. They form a chain themselves.
audit_checkpoint = Table(
    "audit_checkpoint",
    platform_metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    # `platform`, or an instance's id.
    Column("chain", ID, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("chain_hash", HASH, nullable=False),
    Column("signed_at_us", BigInteger, nullable=False),
    # Of the checkpoint before.
    Column("previous_hash", HASH, nullable=False),
    Column("hash", HASH, nullable=False),
    Column("key_id", ID, nullable=False),
    # Ed25519, base64url.
    Column("signature", Text, nullable=False),
    UniqueConstraint("chain", "sequence", name="uq_audit_checkpoint_chain"),
)
