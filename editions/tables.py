"""Tables of contracts, counters, ledger, notices and leases (instance schema); seen by `repository` only.

Nothing in `ledger_entry` is ever changed or deleted; every number elsewhere can be recomputed from it
(`audit_meters`).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.core.schema import ID, NAME, instance_metadata

_WORD = String(32)
"""Meters, kinds, phases, editions, policies: snake_case words of ours, the longest has 17 characters."""
_MONTH = String(7)
"""`YYYY-MM`."""

contract = Table(
    "contract",
    instance_metadata,
    Column("contract_id", ID, primary_key=True),
    Column("kind", _WORD, nullable=False),
    Column("edition", _WORD, nullable=False),
    Column("line_count", Integer, nullable=False),
    Column("overage", _WORD, nullable=False),
    Column("effective_from_us", BigInteger, nullable=False),
    Column("effective_until_us", BigInteger, nullable=True),
    Column("limits", Text, nullable=True),
    Column("recorded_at_us", BigInteger, nullable=False),
)

meter_counter = Table(
    "meter_counter",
    instance_metadata,
    Column("meter", _WORD, primary_key=True),
    Column("month", _MONTH, primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    # The contractual limit that notices were last written for, and the highest threshold reached under it.
    Column("noticed_limit", BigInteger, nullable=False),
    Column("noticed_threshold", Integer, nullable=False),
    # Counts taken back later; those are no longer in `taken` and `used`.
    Column("voided", BigInteger, nullable=False, server_default="0"),
)

# `step` is 0 for `reserved`, 1 for `counted` and `released`, 2 for `voided`: the key lets an effect end once, one
# way or the other, and a count be taken back once.
ledger_entry = Table(
    "ledger_entry",
    instance_metadata,
    Column("effect_id", ID, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("phase", _WORD, nullable=False),
    Column("meter", _WORD, nullable=False),
    Column("month", _MONTH, nullable=False),
    Column("kind", _WORD, nullable=False),
    Column("subject", NAME, nullable=False),
    Column("reference", NAME, nullable=False),
    Column("principal", NAME, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("ix_ledger_entry_meter_month_at", "meter", "month", "at_us", "effect_id", "step"),
)

meter_notice = Table(
    "meter_notice",
    instance_metadata,
    Column("meter", _WORD, primary_key=True),
    Column("month", _MONTH, primary_key=True),
    Column("threshold", Integer, primary_key=True, autoincrement=False),
    Column("contractual_limit", BigInteger, primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    Column("at_us", BigInteger, nullable=False),
)

call_lease = Table(
    "call_lease",
    instance_metadata,
    Column("line", ID, primary_key=True),
    Column("meter", _WORD, primary_key=True),
    Column("month", _MONTH, primary_key=True),
    Column("granted", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
)
