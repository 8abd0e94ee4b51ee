"""Tables of staff: people, tokens, approvals, support access. Platform schema, the uses of an access excepted."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.core.schema import HASH, ID, LABEL, NAME, instance_metadata, platform_metadata

person = Table(
    "person",
    platform_metadata,
    Column("person_id", ID, primary_key=True),
    # In small letters, e.g. an e-mail address; NULL once the person has been erased.
    Column("name", NAME, nullable=True, unique=True),
    # The name under the person's own key, as it stands in audit chains.
    Column("sealed_name", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("erased_at_us", BigInteger, nullable=True),
)

# One key per person, wrapped under a key derived from the credential key. Erasing the row makes every sealed name of
# that person unreadable, wherever it is stored.
subject_key = Table(
    "subject_key",
    platform_metadata,
    Column("person_id", ID, primary_key=True),
    Column("wrapped_key", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

staff_token = Table(
    "staff_token",
    platform_metadata,
    Column("token_id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("role", String(16), nullable=False),
    Column("token_hash", HASH, nullable=False, unique=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger, nullable=True),
    Column("person_id", ID, nullable=True),
    # While it is being rotated: the secret before, and until when it holds.
    Column("previous_hash", HASH, nullable=True, index=True),
    Column("previous_ends_at_us", BigInteger, nullable=True),
)

approval = Table(
    "approval",
    platform_metadata,
    Column("approval_id", ID, primary_key=True),
    # OpenAPI operationId of what is to be done.
    Column("action", LABEL, nullable=False),
    Column("object_id", ID, nullable=False),
    Column("parameters", Text, nullable=False),
    Column("reason", Text, nullable=False),
    # requested, approved, rejected, expired
    Column("state", String(16), nullable=False),
    Column("requested_by", ID, nullable=False),
    Column("requested_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("decided_by", ID, nullable=True),
    Column("decided_at_us", BigInteger, nullable=True),
    # What the approval started.
    Column("operation_id", ID, nullable=True),
    # action:object[:digest of what is asked] while requested, NULL afterwards: one open request for the same thing.
    Column("open_key", NAME, nullable=True, unique=True),
    Column("version", Integer, nullable=False),
    Index("ix_approval_state_expires", "state", "expires_at_us"),
)

support_access = Table(
    "support_access",
    platform_metadata,
    Column("access_id", ID, primary_key=True),
    Column("instance_id", ID, nullable=False, index=True),
    Column("person_id", ID, nullable=False),
    Column("reason", Text, nullable=False),
    Column("hours", Integer, nullable=False),
    # read, write
    Column("scope", String(8), nullable=False),
    # requested, approved, refused, revoked, expired
    Column("state", String(16), nullable=False),
    Column("requested_at_us", BigInteger, nullable=False),
    # Until when the customer may answer, then until when the access holds.
    Column("expires_at_us", BigInteger, nullable=False),
    Column("decided_by", NAME, nullable=True),
    Column("decided_at_us", BigInteger, nullable=True),
    Column("version", Integer, nullable=False),
    # instance:person while it is requested, NULL afterwards: nobody asks twice at a time.
    Column("open_key", NAME, nullable=True, unique=True),
)

# Instance schema: when support has been there, for the customer to see; one row for each access and hour.
support_use = Table(
    "support_use",
    instance_metadata,
    Column("access_id", ID, primary_key=True),
    # Whole hours since 1970-01-01T00:00Z.
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("first_at_us", BigInteger, nullable=False),
    # OpenAPI operationId of the first thing done in that hour.
    Column("action", String(128), nullable=False),
)
