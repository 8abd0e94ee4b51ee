"""SQL of an instance's own schema: its profile and access policy, and everything that decides who is let in.

Every change touches the policy row first: it raises `revision`, which tells the lines that their copy is old,
and lets changes wait for each other.
"""

from __future__ import annotations

import ipaddress
from typing import Final, cast

from sqlalchemy import bindparam, insert, select, update

from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import CustomerId, InstanceId, LineId
from app.core.json import dump_json, load_json
from tenancy.access import tables
from tenancy.access.client.repository import list_known
from tenancy.access.policy import AccessPolicy, InstanceProfile, Method, Mode, Scope, VersionedPolicy
from tenancy.access.revocation.repository import list_lists
from tenancy.access.rule import AccessRules, AccessSnapshot, make_rules
from tenancy.errors import InstanceNotReady, PolicyVersionConflict

_POLICY_ID: Final = "access"

_profile = tables.instance_profile
_policy = tables.access_policy

_TOUCH = (
    update(_policy)
    .where(_policy.c.policy_id == bindparam("b_policy"))
    .values(revision=_policy.c.revision + 1)
)
_ADD_POLICY = insert(_policy)
_PUT_POLICY = (
    update(_policy)
    .where(_policy.c.policy_id == bindparam("b_policy"), _policy.c.version == bindparam("b_expected"))
    .values(
        mode=bindparam("b_mode"),
        methods=bindparam("b_methods"),
        networks=bindparam("b_networks"),
        network_scopes=bindparam("b_network_scopes"),
        version=_policy.c.version + 1,
    )
)
_POLICY = select(_policy)
_REVISION = select(_policy.c.revision)
_PROFILE = select(_profile)
_ADD_PROFILE = insert(_profile)
_PUT_PROFILE = (
    update(_profile)
    .where(
        _profile.c.instance_id == bindparam("b_instance"),
        _profile.c.config_version < bindparam("b_config_version"),
    )
    .values(
        name=bindparam("b_name"),
        edition=bindparam("b_edition"),
        firm_code=bindparam("b_firm_code"),
        pool=bindparam("b_pool"),
        lines=bindparam("b_lines"),
        web_services=bindparam("b_web_services"),
        frozen=bindparam("b_frozen"),
        config_version=bindparam("b_config_version"),
    )
)

_CLOSED_POLICY: Final[Parameters] = {
    "policy_id": _POLICY_ID,
    "mode": "all",
    "methods": "[]",
    "networks": "[]",
    "network_scopes": "[]",
    "version": 1,
    "revision": 1,
}


def touch(tx: Tx) -> None:
    """Raise the revision; the first thing every change does.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
    """
    if tx.write(_TOUCH, {"b_policy": _POLICY_ID}) != 1:
        raise InstanceNotReady("The instance is still being set up.")


def write_profile(tx: Tx, profile: InstanceProfile) -> tuple[bool, InstanceProfile | None]:
    """Write what control wants the lines to know, with a closed policy the first time.

    Returns:
        False if the database knows this version or a newer one already; and what it knew, None the first time.
    """
    if tx.write(_TOUCH, {"b_policy": _POLICY_ID}) != 1:
        tx.write(_ADD_POLICY, _CLOSED_POLICY)
        tx.write(_ADD_PROFILE, {"customer_id": profile.customer_id, **_profile_values(profile)})
        return True, None
    known = find_profile(tx)
    values = {f"b_{name}": value for name, value in _profile_values(profile).items() if name != "instance_id"}
    return tx.write(_PUT_PROFILE, {"b_instance": profile.instance_id, **values}) == 1, known


def _profile_values(profile: InstanceProfile) -> dict[str, str | int]:
    return {
        "instance_id": profile.instance_id,
        "name": profile.name,
        "edition": profile.edition,
        "firm_code": profile.firm_code,
        "pool": profile.pool,
        "lines": dump_json(list(profile.lines)),
        "web_services": int(profile.web_services),
        "frozen": int(profile.frozen),
        "config_version": profile.config_version,
    }


def find_profile(reader: Reader) -> InstanceProfile | None:
    """What control wrote last, or None before the first time."""
    row = reader.first(_PROFILE)
    if row is None:
        return None
    return InstanceProfile(
        instance_id=InstanceId(row.instance_id),
        name=row.name,
        customer_id=CustomerId(row.customer_id),
        edition=row.edition,
        firm_code=row.firm_code,
        pool=row.pool,
        lines=tuple(LineId(line) for line in _strings(row.lines)),
        web_services=bool(row.web_services),
        frozen=bool(row.frozen),
        config_version=row.config_version,
    )


def find_revision(reader: Reader) -> int | None:
    """The revision of what `load_access` would read."""
    return cast(int | None, reader.scalar(_REVISION))


def load_access(reader: Reader) -> AccessSnapshot:
    """Read everything that decides who is let in.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
    """
    row, profile = reader.first(_POLICY), find_profile(reader)
    if row is None or profile is None:
        raise InstanceNotReady("The instance is still being set up.")
    rules = make_rules(_to_policy(row).policy, list_known(reader), lists=list_lists(reader))
    return AccessSnapshot(revision=row.revision, rules=rules, profile=profile)


def load_rules(reader: Reader) -> AccessRules:
    """Read what calls are judged by.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
    """
    return make_rules(get_policy(reader).policy, list_known(reader))


def get_policy(reader: Reader) -> VersionedPolicy:
    """Read the policy.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
    """
    row = reader.first(_POLICY)
    if row is None:
        raise InstanceNotReady("The instance is still being set up.")
    return _to_policy(row)


def put_policy(tx: Tx, policy: AccessPolicy, *, expected_version: int) -> None:
    """Replace the policy of that version; call `touch` first.

    Raises:
        PolicyVersionConflict: somebody else has changed it.
    """
    parameters: Parameters = {
        "b_policy": _POLICY_ID,
        "b_expected": expected_version,
        "b_mode": policy.mode,
        "b_methods": dump_json(sorted(policy.methods)),
        "b_networks": dump_json([str(network) for network in policy.networks]),
        "b_network_scopes": dump_json(sorted(policy.network_scopes)),
    }
    if tx.write(_PUT_POLICY, parameters) != 1:
        raise PolicyVersionConflict(
            "The access policy has been changed since you read it; read it again.",
            expected=expected_version,
            current=get_policy(tx).version,
        )


def _to_policy(row: Row) -> VersionedPolicy:
    policy = AccessPolicy(
        mode=cast(Mode, row.mode),
        methods=frozenset(cast(list[Method], _strings(row.methods))),
        networks=tuple(ipaddress.ip_network(text) for text in _strings(row.networks)),
        network_scopes=frozenset(cast(list[Scope], _strings(row.network_scopes))),
    )
    return VersionedPolicy(policy=policy, version=row.version)


def _strings(text: str) -> list[str]:
    return cast(list[str], load_json(text))
