"""Tables of this package: seven in the platform schema, three in every instance's own.

Times are microseconds since 1970 UTC, booleans 0 or 1, lists and maps compact JSON.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint

from app.core.schema import ID, NAME, instance_metadata, platform_metadata

LABEL = String(64)
"""Names that become URL segments and user names; tenancy/name.py keeps them at 40 characters."""
SECRET_HASH = String(64)
"""HMAC-SHA256 in hexadecimal digits."""

# Platform schema -----------------------------------------------------------------------------------------------

customer = Table(
    "customer",
    platform_metadata,
    Column("customer_id", ID, primary_key=True),
    Column("name", LABEL, nullable=False, unique=True),
    Column("display_name", NAME, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

instance = Table(
    "instance",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("customer_id", ID, nullable=False, index=True),
    Column("name", LABEL, nullable=False, unique=True),
    Column("edition", String(32), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("country", String(2), nullable=False),
    Column("firm_code", BigInteger, nullable=False, unique=True),
    Column("pool", String(128), nullable=False),
    # provisioning, ready, failed: what wops has done with it.
    Column("state", String(16), nullable=False),
    # unknown, ok, degraded, down: what the probes see of it.
    Column("health", String(16), nullable=False),
    # Without password; NULL until the database exists.
    Column("database_url", String(512), nullable=True),
    # What should hold and what the instance database has been told; they differ while a push is due.
    Column("config_version", Integer, nullable=False),
    Column("applied_version", Integer, nullable=False),
    # When a dated contract begins or ends next, so that the configuration is pushed again.
    Column("config_due_us", BigInteger, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
)

firm_code = Table(
    "firm_code",
    platform_metadata,
    Column("firm_code", BigInteger, primary_key=True, autoincrement=False),
    Column("instance_id", ID, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

contract = Table(
    "contract",
    platform_metadata,
    Column("contract_id", ID, primary_key=True),
    Column("instance_id", ID, nullable=False),
    # base, temporary_lines
    Column("kind", String(32), nullable=False),
    Column("edition", String(32), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("overage", String(16), nullable=False),
    Column("effective_from_us", BigInteger, nullable=False),
    Column("effective_until_us", BigInteger, nullable=True),
    Column("limits", Text, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
    UniqueConstraint("instance_id", "kind", "effective_from_us", name="uq_contract_start"),
)

box = Table(
    "box",
    platform_metadata,
    Column("name", String(128), primary_key=True),
    Column("pool", String(128), nullable=False, index=True),
    Column("driver", String(32), nullable=False),
    Column("operation_time_ms", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

staff_token = Table(
    "staff_token",
    platform_metadata,
    Column("token_id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("role", String(16), nullable=False),
    Column("token_hash", SECRET_HASH, nullable=False, unique=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger, nullable=True),
)

operation = Table(
    "operation",
    platform_metadata,
    Column("operation_id", ID, primary_key=True),
    Column("kind", LABEL, nullable=False),
    Column("object_id", ID, nullable=False),
    # The object while the operation is unfinished, NULL afterwards: one unfinished operation per object.
    Column("active_object_id", ID, nullable=True, unique=True),
    # queued, running, succeeded, failed
    Column("state", String(16), nullable=False),
    # [{"name", "state", "attempts", "finished_at_us"}]
    Column("steps", Text, nullable=False),
    Column("current_step", Integer, nullable=False),
    # Of the current step.
    Column("attempts", Integer, nullable=False),
    Column("due_at_us", BigInteger, nullable=False),
    Column("owner", ID, nullable=True),
    Column("lease_until_us", BigInteger, nullable=True),
    Column("deadline_at_us", BigInteger, nullable=False),
    Column("error_code", LABEL, nullable=True),
    Column("error_message", Text, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("finished_at_us", BigInteger, nullable=True),
    # Raised by every change: compare-and-set, and the fencing token of the owner.
    Column("version", Integer, nullable=False),
    Index("ix_operation_state_due", "state", "due_at_us"),
)

# Instance schema -----------------------------------------------------------------------------------------------

instance_profile = Table(
    "instance_profile",
    instance_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("name", LABEL, nullable=False),
    Column("customer_id", ID, nullable=False),
    Column("edition", String(32), nullable=False),
    Column("firm_code", BigInteger, nullable=False),
    Column("pool", String(128), nullable=False),
    # ["shared-1"]
    Column("lines", Text, nullable=False),
    Column("web_services", Integer, nullable=False),
    Column("config_version", Integer, nullable=False),
)

access_policy = Table(
    "access_policy",
    instance_metadata,
    # Always "access": one row, touched first by every change of who may come in.
    Column("policy_id", String(16), primary_key=True),
    Column("mode", String(8), nullable=False),
    Column("methods", Text, nullable=False),
    Column("networks", Text, nullable=False),
    # What a caller may do who is let in by his network alone.
    Column("network_scopes", Text, nullable=False),
    # Of the policy, for If-Match.
    Column("version", Integer, nullable=False),
    # Of policy, clients and profile together: what a line compares to know whether its copy is old.
    Column("revision", Integer, nullable=False),
)

api_client = Table(
    "api_client",
    instance_metadata,
    Column("client_id", ID, primary_key=True),
    Column("name", LABEL, nullable=False),
    Column("username", NAME, nullable=False, unique=True),
    Column("secret_hash", SECRET_HASH, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("disabled_at_us", BigInteger, nullable=True),
    Column("last_used_us", BigInteger, nullable=True),
)
