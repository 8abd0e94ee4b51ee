"""Tables of access: what a line knows of its instance and of whoever may call it. Instance schema."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from app.core.schema import HASH, ID, LABEL, NAME, instance_metadata

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
    # 1: lines let nobody in until it is unfrozen.
    Column("frozen", Integer, nullable=False, server_default="0"),
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
    Column("secret_hash", HASH, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("disabled_at_us", BigInteger, nullable=True),
    Column("last_used_us", BigInteger, nullable=True),
    Column("expires_at_us", BigInteger, nullable=True),
    # Requests a second and at once; NULL: the platform's own.
    Column("rate_per_second", Integer, nullable=True),
    Column("burst", Integer, nullable=True),
    # For If-Match.
    Column("version", Integer, nullable=False, server_default="1"),
)

# A client has one secret, or two while it is being rotated; `api_client.secret_hash` keeps the newest for lines of
# an older wops.
client_secret = Table(
    "client_secret",
    instance_metadata,
    Column("secret_id", ID, primary_key=True),
    Column("client_id", ID, nullable=False, index=True),
    Column("secret_hash", HASH, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("ends_at_us", BigInteger, nullable=True),
    Column("last_used_us", BigInteger, nullable=True),
)

client_certificate = Table(
    "client_certificate",
    instance_metadata,
    Column("certificate_id", ID, primary_key=True),
    Column("client_id", ID, nullable=False, index=True),
    # fingerprint, issuer_subject
    Column("kind", String(16), nullable=False),
    # SHA-256 of the certificate, or of the issuing CA.
    Column("fingerprint", HASH, nullable=False),
    # PEM of the issuing CA, and the subject (RFC 4514) that it must have certified.
    Column("issuer", Text, nullable=True),
    Column("subject", Text, nullable=True),
    Column("not_after_us", BigInteger, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("last_used_us", BigInteger, nullable=True),
)

# The newest list of certificates that a pinned authority has taken back.
revocation_list = Table(
    "revocation_list",
    instance_metadata,
    # SHA-256 of the authority's subject and key: the same over its renewals.
    Column("authority", HASH, primary_key=True),
    Column("issuer", Text, nullable=False),
    # PEM of the pinned authority whose key has signed it: lines ask whether a certificate is one of its.
    Column("certificate", Text, nullable=False),
    # MariaDB makes it MEDIUMTEXT.
    Column("pem", Text(4_000_000), nullable=False),
    # Decimal; up to 20 bytes.
    Column("number", LABEL, nullable=True),
    Column("entries", Integer, nullable=False),
    Column("this_update_us", BigInteger, nullable=False),
    Column("next_update_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

# Who was refused, for the customer to see; bounded, the oldest go first.
access_failure = Table(
    "access_failure",
    instance_metadata,
    # User name of a client of this instance, or `-`.
    Column("client", NAME, primary_key=True),
    # /32, /64
    Column("network", LABEL, primary_key=True),
    Column("code", LABEL, primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("first_at_us", BigInteger, nullable=False),
    Column("last_at_us", BigInteger, nullable=False),
)
