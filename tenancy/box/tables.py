"""Tables of boxes. Platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from app.core.schema import ID, LABEL, NAME, platform_metadata

# What staff want; the gateway is told it again and again.
box = Table(
    "box",
    platform_metadata,
    Column("name", String(128), primary_key=True),
    Column("pool", String(128), nullable=False, index=True),
    # software, pkcs11
    Column("driver", String(32), nullable=False),
    Column("operation_time_ms", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    # The instance whose own the pool is; NULL in a shared pool.
    Column("owner", ID, nullable=True),
    Column("jitter_per_mille", Integer, nullable=False, server_default="0"),
    # {"busy", "timeout", "wrong_answer", "lost_power"} in shares of all jobs; NULL: none.
    Column("faults", Text, nullable=True),
    # {"module", "label", "pin_file"} of a PKCS#11 token; never the PIN.
    Column("token", Text, nullable=True),
    # What staff say. A box that joins or leaves takes no work either way.
    Column("drained", Integer, nullable=False, server_default="0"),
    # The pool that borrows it; stays until its keys are out of the box again, after `lent_until_us` too.
    Column("lent_to", String(128), nullable=True),
    Column("lent_until_us", BigInteger, nullable=True),
    # unlimited, standard, pay_per_use
    Column("transactions", String(16), nullable=False, server_default="unlimited"),
    # All that were ever loaded.
    Column("transactions_loaded", BigInteger, nullable=False, server_default="0"),
    # joining (its keys are on their way), active, leaving
    Column("state", String(16), nullable=False, server_default="active"),
    # For If-Match.
    Column("version", Integer, nullable=False, server_default="1"),
    # staff, reconciler
    Column("drained_by", String(16), nullable=True),
)

# How boxes and pools were seen last, so that each change is told once. Healthy ones that were never anything else have
# no row.
box_condition = Table(
    "box_condition",
    platform_metadata,
    # box:<name>, pool:<name>, keys:<name> of a box
    Column("subject", NAME, primary_key=True),
    Column("state", LABEL, nullable=False),
    Column("transactions_low", Integer, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    # Compare-and-set; of a pool, guards that it keeps a working box.
    Column("version", Integer, nullable=False),
)

# What the customer of an instance is to be told; gone once it stands in the chain of his instance.
customer_note = Table(
    "customer_note",
    platform_metadata,
    # The operation id in the instance's database: written there once.
    Column("note_id", ID, primary_key=True),
    Column("instance_id", ID, nullable=False),
    Column("type", LABEL, nullable=False),
    Column("subject", NAME, nullable=False),
    Column("data", Text, nullable=False),
    Column("before_change", Text, nullable=True),
    # Who did it, in which action, why.
    Column("origin", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)
