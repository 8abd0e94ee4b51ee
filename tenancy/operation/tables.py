"""Tables of operations. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.core.schema import ID, LABEL, platform_metadata

operation = Table(
    "operation",
    platform_metadata,
    Column("operation_id", ID, primary_key=True),
    Column("kind", LABEL, nullable=False),
    Column("object_id", ID, nullable=False),
    # The object while the operation is unfinished, NULL afterwards: one unfinished operation per object.
    Column("active_object_id", ID, nullable=True, unique=True),
    # queued, running, succeeded, failed, recovering, recovered, fatal
    Column("state", String(16), nullable=False),
    # [{"name", "state", "attempts", "finished_at", "waiting_for"}]
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
    # What was asked for, for the steps.
    Column("parameters", Text, nullable=True),
    # Who asked: written into the audit chain with every step.
    Column("requested_by", Text, nullable=True),
    Index("ix_operation_state_due", "state", "due_at_us"),
)

# Append-only; the number is the SSE event id.
operation_log = Table(
    "operation_log",
    platform_metadata,
    Column("operation_id", ID, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    # What happened: `tenancy.operation.transition.Event`.
    Column("event", LABEL, nullable=False),
    Column("step", LABEL, nullable=False),
    Column("message", Text, nullable=False),
)
