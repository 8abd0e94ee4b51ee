"""SQL of routing rules in the platform schema."""

from __future__ import annotations

from typing import Final, cast

from sqlalchemy import bindparam, delete, func, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.ids import InstanceId
from app.core.json import dump_json, load_object
from app.core.origin import ActorKind
from editions.catalog import EDITIONS
from lb.rule.rule import RuleSet
from tenancy import tables
from tenancy.rule.document import describe_rules, read_rules
from tenancy.rule.record import FIRST_VERSION, RuleVersion
from tenancy.rule.tables import rule_set, rule_set_version

_WITH_OWN_LINES: Final = tuple(key for key, each in EDITIONS.items() if each.server != "shared")
"""Editions that have rules; those from before a change to another one are kept and not looked at."""

_of_instance = rule_set.c.instance_id == bindparam("b_instance")
_versions_of = rule_set_version.c.instance_id == bindparam("b_instance")
_is_in_force = (rule_set_version.c.instance_id == rule_set.c.instance_id) & (
    rule_set_version.c.version == rule_set.c.version
)

_IN_FORCE = (
    select(rule_set_version).select_from(rule_set_version.join(rule_set, _is_in_force)).where(_of_instance)
)
_ALL_IN_FORCE = (
    select(rule_set_version)
    .select_from(
        rule_set_version.join(rule_set, _is_in_force).join(
            tables.instance, tables.instance.c.instance_id == rule_set.c.instance_id
        )
    )
    .where(
        rule_set.c.is_empty == 0,
        rule_set.c.instance_id > bindparam("b_after"),
        tables.instance.c.edition.in_(_WITH_OWN_LINES),
    )
    .order_by(rule_set.c.instance_id)
    .limit(bindparam("b_limit"))
)
_VERSION = select(rule_set_version).where(_versions_of, rule_set_version.c.version == bindparam("b_version"))
_VERSIONS = (
    select(rule_set_version)
    .where(_versions_of, rule_set_version.c.version < bindparam("b_before"))
    .order_by(rule_set_version.c.version.desc())
    .limit(bindparam("b_limit"))
)
_ADD = insert(rule_set)
_MOVE = (
    update(rule_set)
    .where(_of_instance, rule_set.c.version == bindparam("b_expected"))
    .values(version=rule_set.c.version + 1, is_empty=bindparam("b_empty"))
)
_ADD_VERSION = insert(rule_set_version)
_OLDEST = select(func.min(rule_set_version.c.version).label("oldest")).where(_versions_of)
_FORGET_VERSIONS = delete(rule_set_version).where(
    _versions_of, rule_set_version.c.version < bindparam("b_before")
)
_FORGET = delete(rule_set).where(_of_instance)


def find_in_force(reader: Reader, instance_id: InstanceId) -> RuleVersion | None:
    """The version in force; None: nobody has changed anything yet."""
    row = reader.first(_IN_FORCE, {"b_instance": instance_id})
    return None if row is None else _to_version(row)


def list_in_force(reader: Reader, *, after: str, limit: int) -> list[tuple[InstanceId, RuleVersion]]:
    """Rule sets in force that have rules, of instances with an id above `after` and lines of their own."""
    rows = reader.all(_ALL_IN_FORCE, {"b_after": after, "b_limit": limit})
    return [(InstanceId(row.instance_id), _to_version(row)) for row in rows]


def find_version(reader: Reader, instance_id: InstanceId, version: int) -> RuleVersion | None:
    """One version that somebody made."""
    row = reader.first(_VERSION, {"b_instance": instance_id, "b_version": version})
    return None if row is None else _to_version(row)


def list_versions(reader: Reader, instance_id: InstanceId, *, before: int, limit: int) -> list[RuleVersion]:
    """Versions below a number, newest first."""
    rows = reader.all(_VERSIONS, {"b_instance": instance_id, "b_before": before, "b_limit": limit})
    return [_to_version(row) for row in rows]


def add_version(tx: Tx, instance_id: InstanceId, version: RuleVersion) -> bool:
    """Put a version in force that follows the one in force. False if somebody else was faster."""
    if not _move(tx, instance_id, version.version, version.rules):
        return False
    tx.write(
        _ADD_VERSION,
        {
            "instance_id": instance_id,
            "version": version.version,
            "document": dump_json(describe_rules(version.rules)),
            "restored": version.restored,
            "actor_kind": version.actor_kind,
            "actor_id": version.actor_id,
            "reason": version.reason,
            "created_at_us": to_us(version.created_at),
        },
    )
    return True


def forget_versions(tx: Tx, instance_id: InstanceId, *, limit: int) -> bool:
    """Delete the oldest versions, and with the last one that there ever were rules. Whether any is left."""
    oldest = tx.scalar(_OLDEST, {"b_instance": instance_id})
    if isinstance(oldest, int):
        tx.write(_FORGET_VERSIONS, {"b_instance": instance_id, "b_before": oldest + limit})
        return True
    tx.write(_FORGET, {"b_instance": instance_id})
    return False


def _move(tx: Tx, instance_id: InstanceId, version: int, rules: RuleSet) -> bool:
    empty = int(not rules.rules)
    moved = tx.write(_MOVE, {"b_instance": instance_id, "b_expected": version - 1, "b_empty": empty})
    if moved == 1:
        return True
    first = FIRST_VERSION + 1
    return version == first and tx.insert_if_absent(
        _ADD, {"instance_id": instance_id, "version": first, "is_empty": empty}
    )


def _to_version(row: Row) -> RuleVersion:
    return RuleVersion(
        version=row.version,
        rules=read_rules(load_object(row.document)),
        restored=row.restored,
        actor_kind=cast(ActorKind, row.actor_kind),
        actor_id=row.actor_id,
        reason=row.reason,
        created_at=from_us(row.created_at_us),
    )
