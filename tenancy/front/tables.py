"""Tables of the front: platform schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from app.core.schema import HASH, ID, LABEL, NAME, platform_metadata

front_host = Table(
    "front_host",
    platform_metadata,
    Column("host_id", ID, primary_key=True),
    # A-labels in small letters.
    Column("host", NAME, nullable=False, unique=True),
    # NULL: the whole platform.
    Column("instance_id", ID, nullable=True, index=True),
    # PEM: the host's own certificate, then its chain.
    Column("certificate", Text, nullable=False),
    # PEM under AES-GCM with a key derived from the seal's, which lines do not have; bound to the host's id.
    Column("private_key", Text, nullable=False),
    Column("fingerprint", HASH, nullable=False),
    Column("subject", Text, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("not_before_us", BigInteger, nullable=False),
    # The earliest of the chain.
    Column("not_after_us", BigInteger, nullable=False),
    # For If-Match; raised by every new certificate.
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

denied_network = Table(
    "denied_network",
    platform_metadata,
    Column("denied_id", ID, primary_key=True),
    Column("network", LABEL, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("until_us", BigInteger, nullable=True),
    Column("created_at_us", BigInteger, nullable=False),
)
