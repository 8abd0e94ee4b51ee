"""The tables of License Central in the instance schema. Only repositories of this package see them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.core.schema import ID, NAME, instance_metadata

LONG = Text(4_000_000)
"""Update files and jobs: a hundred licences, several programmings at once. MariaDB makes it MEDIUMTEXT."""

item = Table(
    "item",
    instance_metadata,
    Column("sku", ID, primary_key=True),
    Column("item_id", ID, nullable=False, unique=True),
    Column("name", NAME, nullable=False),
    Column("options", Text, nullable=False),
    Column("container_types", Text, nullable=False),
    Column("returnable", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

sales_order = Table(
    "sales_order",
    instance_metadata,
    Column("order_number", ID, primary_key=True),
    Column("order_id", ID, nullable=False, unique=True),
    Column("ticket", ID, nullable=False, unique=True),
    Column("customer_reference", NAME, nullable=False),
    Column("license_count", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

order_position = Table(
    "order_position",
    instance_metadata,
    Column("order_number", ID, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

license_ = Table(
    "license",
    instance_metadata,
    Column("license_id", ID, primary_key=True),
    Column("ticket", ID, nullable=False),
    Column("order_number", ID, nullable=False),
    Column("position", Integer, nullable=False),
    Column("sku", ID, nullable=False),
    Column("item_name", NAME, nullable=False),
    Column("options", Text, nullable=False),
    Column("container_types", Text, nullable=False),
    Column("returnable", Integer, nullable=False),
    Column("state", String(32), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("container", ID, nullable=True),
    Column("fuc", BigInteger, nullable=True),
    Column("pending_transfer", ID, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
    Index("license_by_ticket", "ticket", "license_id"),
    Index("license_by_container", "container", "license_id"),
)

container = Table(
    "container",
    instance_metadata,
    Column("serial", ID, primary_key=True),
    Column("container_type", String(32), nullable=False),
    Column("key_thumbprint", ID, nullable=False),
    Column("signing_key", Text, nullable=False),
    Column("encryption_key", Text, nullable=False),
    Column("fuc_confirmed", BigInteger, nullable=False),
    Column("fuc_issued", BigInteger, nullable=False),
    Column("last_context_us", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("reason", String(32), nullable=True),
    Column("reported", Text, nullable=True),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

transfer = Table(
    "transfer",
    instance_metadata,
    Column("transfer_id", ID, primary_key=True),
    Column("natural_key", ID, nullable=True, unique=True),
    Column("open_container", ID, nullable=True, unique=True),
    Column("container", ID, nullable=False),
    Column("ticket", ID, nullable=True),
    Column("action", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("base_fuc", BigInteger, nullable=False),
    Column("fuc", BigInteger, nullable=False),
    Column("operations", LONG, nullable=False),
    Column("job", LONG, nullable=False),
    Column("update_text", LONG, nullable=True),
    Column("month", String(7), nullable=False),
    Column("op_id", NAME, nullable=False),
    Column("reason", String(64), nullable=True),
    Column("retry_at_us", BigInteger, nullable=False),
    Column("deadline_at_us", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("issued_at_us", BigInteger, nullable=True),
    Column("confirmed_at_us", BigInteger, nullable=True),
    Index("transfer_by_container", "container", "fuc"),
    Index("transfer_by_state", "state", "retry_at_us"),
)

transfer_action = Table(
    "transfer_action",
    instance_metadata,
    Column("transfer_id", ID, primary_key=True),
    Column("license_id", ID, primary_key=True),
    Column("action", String(16), nullable=False),
    Index("transfer_action_by_license", "license_id"),
)
