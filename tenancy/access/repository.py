"""SQL of an instance's own schema: its profile, access policy and API clients.

Every change touches the policy row first: it raises `revision`, which tells the lines that their copy is old,
and lets changes wait for each other.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import bindparam, insert, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import ApiClientId, CustomerId, InstanceId, LineId
from app.core.json import dump_json, load_json
from tenancy.access import tables
from tenancy.access.policy import (
    AccessPolicy,
    AccessSnapshot,
    ApiClient,
    InstanceProfile,
    KnownClient,
    Method,
    Mode,
    Scope,
    VersionedPolicy,
)
from tenancy.errors import ClientNotFound, InstanceNotReady, PolicyVersionConflict

_POLICY_ID: Final = "access"

_profile = tables.instance_profile
_policy = tables.access_policy
_client = tables.api_client

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
        config_version=bindparam("b_config_version"),
    )
)
_CLIENTS = select(_client)
_CLIENTS_BY_NAME = select(_client).order_by(_client.c.name)
_CLIENT = select(_client).where(_client.c.client_id == bindparam("b_client"))
_ADD_CLIENT = insert(_client)
_ROTATE = (
    update(_client)
    .where(_client.c.client_id == bindparam("b_client"))
    .values(secret_hash=bindparam("b_secret_hash"))
)
_DISABLE = (
    update(_client)
    .where(_client.c.client_id == bindparam("b_client"), _client.c.disabled_at_us.is_(None))
    .values(disabled_at_us=bindparam("b_now"))
)
_USED = (
    update(_client)
    .where(
        _client.c.client_id == bindparam("b_client"),
        (_client.c.last_used_us.is_(None)) | (_client.c.last_used_us < bindparam("b_used")),
    )
    .values(last_used_us=bindparam("b_used"))
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


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """An API client to be stored."""

    client_id: ApiClientId
    name: str
    username: str
    secret_hash: str
    scopes: frozenset[Scope]


def touch(tx: Tx) -> None:
    """Raise the revision; the first thing every change does.

    Raises:
        InstanceNotReady: the instance has not been configured yet.
    """
    if tx.write(_TOUCH, {"b_policy": _POLICY_ID}) != 1:
        raise InstanceNotReady("The instance is still being set up.")


def write_profile(tx: Tx, profile: InstanceProfile) -> bool:
    """Write what control wants the lines to know, with a closed policy the first time.

    Returns:
        False if the database knows this version or a newer one already.
    """
    if tx.write(_TOUCH, {"b_policy": _POLICY_ID}) != 1:
        tx.write(_ADD_POLICY, _CLOSED_POLICY)
        tx.write(_ADD_PROFILE, {"customer_id": profile.customer_id, **_profile_values(profile)})
        return True
    values = {f"b_{name}": value for name, value in _profile_values(profile).items() if name != "instance_id"}
    return tx.write(_PUT_PROFILE, {"b_instance": profile.instance_id, **values}) == 1


def _profile_values(profile: InstanceProfile) -> dict[str, str | int]:
    return {
        "instance_id": profile.instance_id,
        "name": profile.name,
        "edition": profile.edition,
        "firm_code": profile.firm_code,
        "pool": profile.pool,
        "lines": dump_json(list(profile.lines)),
        "web_services": int(profile.web_services),
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
    clients = (
        KnownClient(client=_to_client(each), secret_hash=each.secret_hash) for each in reader.all(_CLIENTS)
    )
    return AccessSnapshot(
        revision=row.revision,
        policy=_to_policy(row).policy,
        clients={known.client.username: known for known in clients},
        profile=profile,
    )


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


def add_client(tx: Tx, new: NewClient) -> bool:
    """Store an API client; call `touch` first. False if the user name is taken."""
    return tx.insert_if_absent(
        _ADD_CLIENT,
        {
            "client_id": new.client_id,
            "name": new.name,
            "username": new.username,
            "secret_hash": new.secret_hash,
            "scopes": dump_json(sorted(new.scopes)),
            "created_at_us": to_us(tx.now),
            "disabled_at_us": None,
            "last_used_us": None,
        },
    )


def get_client(reader: Reader, client_id: ApiClientId) -> ApiClient:
    """Read one API client.

    Raises:
        ClientNotFound: the instance has none of that id.
    """
    row = reader.first(_CLIENT, {"b_client": client_id})
    if row is None:
        raise ClientNotFound("There is no such API client.")
    return _to_client(row)


def list_clients(reader: Reader) -> list[ApiClient]:
    """All API clients by name, the disabled ones too."""
    return [_to_client(row) for row in reader.all(_CLIENTS_BY_NAME)]


def rotate_secret(tx: Tx, client_id: ApiClientId, *, secret_hash: str) -> None:
    """Replace a secret; call `touch` first.

    Raises:
        ClientNotFound: the instance has none of that id.
    """
    if tx.write(_ROTATE, {"b_client": client_id, "b_secret_hash": secret_hash}) != 1:
        raise ClientNotFound("There is no such API client.")


def disable_client(tx: Tx, client_id: ApiClientId) -> bool:
    """Shut an API client out; call `touch` first. False if it was shut out before."""
    return tx.write(_DISABLE, {"b_client": client_id, "b_now": to_us(tx.now)}) == 1


def record_use(tx: Tx, used: dict[ApiClientId, int]) -> None:
    """Store when API clients were last let in, microseconds since 1970; never goes back."""
    tx.write_many(_USED, [{"b_client": client_id, "b_used": at} for client_id, at in sorted(used.items())])


def _to_policy(row: Row) -> VersionedPolicy:
    policy = AccessPolicy(
        mode=cast(Mode, row.mode),
        methods=frozenset(cast(list[Method], _strings(row.methods))),
        networks=tuple(ipaddress.ip_network(text) for text in _strings(row.networks)),
        network_scopes=frozenset(cast(list[Scope], _strings(row.network_scopes))),
    )
    return VersionedPolicy(policy=policy, version=row.version)


def _to_client(row: Row) -> ApiClient:
    return ApiClient(
        client_id=ApiClientId(row.client_id),
        name=row.name,
        username=row.username,
        scopes=frozenset(cast(list[Scope], _strings(row.scopes))),
        created_at=from_us(row.created_at_us),
        disabled_at=None if row.disabled_at_us is None else from_us(row.disabled_at_us),
        last_used_at=None if row.last_used_us is None else from_us(row.last_used_us),
    )


def _strings(text: str) -> list[str]:
    return cast(list[str], load_json(text))
