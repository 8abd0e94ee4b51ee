"""Tables of customers, instances and where they are placed: platform schema. Boxes, operations, staff have theirs.

Times are microseconds since 1970 UTC, booleans 0 or 1, lists and maps compact JSON.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text, UniqueConstraint

from app.core.schema import HASH, ID, LABEL, NAME, platform_metadata

customer = Table(
    "customer",
    platform_metadata,
    Column("customer_id", ID, primary_key=True),
    Column("name", LABEL, nullable=False, unique=True),
    Column("display_name", NAME, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    # For If-Match.
    Column("version", Integer, nullable=False, server_default="1"),
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
    # provisioning, ready, frozen, ended, erased, failed: what wops has done with it.
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
    # For If-Match: raised by every change that staff or customer make to the instance itself.
    Column("version", Integer, nullable=False, server_default="1"),
    # After the end of its contract: not to be erased before.
    Column("retained_until_us", BigInteger, nullable=True),
    # The name under which it was placed, once it was renamed: lines and boxes keep theirs. NULL: the name.
    Column("placed_as", LABEL, nullable=True),
)

# Every name that an instance has or had, for ever: lines, boxes and user names are made of it, and nobody else may
# be found under an address that was somebody's. Instances from before this table are added with their first rename.
instance_name = Table(
    "instance_name",
    platform_metadata,
    Column("name", LABEL, primary_key=True),
    Column("instance_id", ID, nullable=False),
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
    # Where the instance may be placed, e.g. ["DE"]; NULL in rows from before there was a choice: Germany.
    Column("countries", Text, nullable=True),
    UniqueConstraint("instance_id", "kind", "effective_from_us", name="uq_contract_start"),
)

server = Table(
    "server",
    platform_metadata,
    Column("server_id", ID, primary_key=True),
    Column("name", LABEL, nullable=False, unique=True),
    # sqlite (a directory), mariadb
    Column("kind", String(16), nullable=False),
    # shared, dedicated
    Column("purpose", String(16), nullable=False),
    Column("site", LABEL, nullable=False),
    Column("country", String(2), nullable=False),
    # How many instances it may hold, and how many it holds: a guarded counter.
    Column("capacity", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    # active, draining (keeps what it has, takes nothing new), retired
    Column("state", String(16), nullable=False),
    # Directory, or host:port.
    Column("address", String(512), nullable=False),
    Column("admin_user", LABEL, nullable=True),
    # AES-GCM under a key derived from the seal's own, bound to the server's id.
    Column("admin_password", Text, nullable=True),
    # PEM of the CA that the server's certificate comes from; NULL: the connection is not encrypted.
    Column("tls_ca", Text, nullable=True),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)

placement = Table(
    "placement",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    # 0 holds the database; a High Availability instance has one server per line.
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("server_id", ID, nullable=False, index=True),
    Column("created_at_us", BigInteger, nullable=False),
    UniqueConstraint("instance_id", "server_id", name="uq_placement_server"),
)

instance_database = Table(
    "instance_database",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("server_id", ID, nullable=False),
    # Of a file or a database: made from the instance's id, never from what somebody typed.
    Column("database_name", LABEL, nullable=False, unique=True),
    Column("user_name", LABEL, nullable=True),
    # AES-GCM under a key derived from the seal's own, bound to the instance's id; NULL on SQLite.
    Column("password", Text, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
)

instance_migration = Table(
    "instance_migration",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("target", String(32), nullable=False),
    # done, failed
    Column("state", String(16), nullable=False),
    Column("from_revision", String(32), nullable=True),
    Column("to_revision", String(32), nullable=True),
    Column("attempts", Integer, nullable=False),
    Column("error_code", LABEL, nullable=True),
    Column("error_message", Text, nullable=True),
    Column("finished_at_us", BigInteger, nullable=False),
)

instance_export = Table(
    "instance_export",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    # Id of the operation that made it.
    Column("export_id", ID, primary_key=True),
    # 1: made at the end of the contract.
    Column("final", Integer, nullable=False),
    Column("file_name", NAME, nullable=False),
    Column("sha256", HASH, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # The text of manifest.json, as it is in the file.
    Column("manifest", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("deleted_at_us", BigInteger, nullable=True),
)

erasure_certificate = Table(
    "erasure_certificate",
    platform_metadata,
    Column("instance_id", ID, primary_key=True),
    Column("document", Text, nullable=False),
    Column("key_id", ID, nullable=False),
    Column("signature", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
)
