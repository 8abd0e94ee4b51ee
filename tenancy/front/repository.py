"""SQL of own host names and denied networks: platform schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.db_statement import Parameters
from app.core.ids import InstanceId
from tenancy.front import tables
from tenancy.front.denied import DeniedId, DeniedNetwork
from tenancy.front.errors import HostNotFound
from tenancy.front.host import HostId, HostRecord
from tenancy.front.server_certificate import ServerCertificate

_host = tables.front_host
_denied = tables.denied_network

_ADD_HOST = insert(_host)
_HOST = select(_host).where(_host.c.host_id == bindparam("b_host"))
_HOSTS_OF = select(_host).where(_host.c.instance_id == bindparam("b_instance")).order_by(_host.c.host)
_HOSTS = (
    select(_host)
    .where(_host.c.host_id > bindparam("b_after"))
    .order_by(_host.c.host_id)
    .limit(bindparam("b_limit"))
)
_ALL_HOSTS = select(_host).order_by(_host.c.host)
_ANY_HOST = select(_host.c.host_id).limit(1)
_COUNT_HOSTS = (
    select(func.count().label("hosts"))
    .select_from(_host)
    .where(_host.c.instance_id == bindparam("b_instance"))
)
_RENEW = (
    update(_host)
    .where(_host.c.host_id == bindparam("b_host"), _host.c.version == bindparam("b_expected"))
    .values(
        certificate=bindparam("b_certificate"),
        private_key=bindparam("b_private_key"),
        fingerprint=bindparam("b_fingerprint"),
        subject=bindparam("b_subject"),
        issuer=bindparam("b_issuer"),
        not_before_us=bindparam("b_not_before"),
        not_after_us=bindparam("b_not_after"),
        changed_at_us=bindparam("b_now"),
        version=_host.c.version + 1,
    )
)
_REMOVE_HOST = delete(_host).where(
    _host.c.host_id == bindparam("b_host"), _host.c.version == bindparam("b_expected")
)
_REMOVE_HOSTS_OF = delete(_host).where(_host.c.instance_id == bindparam("b_instance"))
_ADD_DENIED = insert(_denied)
_DENIED = (
    select(_denied)
    .where(_denied.c.denied_id > bindparam("b_after"))
    .order_by(_denied.c.denied_id)
    .limit(bindparam("b_limit"))
)
_ONE_DENIED = select(_denied).where(_denied.c.denied_id == bindparam("b_denied"))
_IN_FORCE = (
    select(_denied)
    .where(or_(_denied.c.until_us.is_(None), _denied.c.until_us > bindparam("b_now")))
    .order_by(_denied.c.denied_id)
)
_COUNT_DENIED = (
    select(func.count().label("denied"))
    .select_from(_denied)
    .where(or_(_denied.c.until_us.is_(None), _denied.c.until_us > bindparam("b_now")))
)
_REMOVE_DENIED = delete(_denied).where(_denied.c.denied_id == bindparam("b_denied"))
_REMOVE_ENDED = delete(_denied).where(
    _denied.c.network == bindparam("b_network"), _denied.c.until_us <= bindparam("b_now")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHost:
    """A host name and its private key as it is stored."""

    record: HostRecord
    sealed_key: str = field(repr=False)


def has_hosts(reader: Reader) -> bool:
    """Whether there is any own host name, with its sealed key."""
    return reader.first(_ANY_HOST) is not None


def add_host(tx: Tx, record: HostRecord, *, sealed_key: str) -> bool:
    """Store a host name. False if it is in use."""
    return tx.insert_if_absent(
        _ADD_HOST,
        {
            "host_id": record.host_id,
            "host": record.host,
            "instance_id": record.instance_id,
            "certificate": record.chain,
            "private_key": sealed_key,
            "fingerprint": record.fingerprint,
            "subject": record.subject,
            "issuer": record.issuer,
            "not_before_us": to_us(record.not_before),
            "not_after_us": to_us(record.not_after),
            "version": record.version,
            "created_at_us": to_us(record.created_at),
            "changed_at_us": to_us(record.changed_at),
        },
    )


def get_host(reader: Reader, host_id: HostId) -> HostRecord:
    """Read one host name.

    Raises:
        HostNotFound: there is none of that id.
    """
    row = reader.first(_HOST, {"b_host": host_id})
    if row is None:
        raise HostNotFound("There is no such host name.")
    return _to_host(row)


def list_hosts_of(reader: Reader, instance_id: InstanceId) -> list[HostRecord]:
    """The host names of an instance, by name."""
    return [_to_host(row) for row in reader.all(_HOSTS_OF, {"b_instance": instance_id})]


def list_hosts(reader: Reader, *, after: str, limit: int) -> list[HostRecord]:
    """Host names with an id above `after`, oldest first."""
    return [_to_host(row) for row in reader.all(_HOSTS, {"b_after": after, "b_limit": limit})]


def list_sealed(reader: Reader) -> list[SealedHost]:
    """Every host name with its key, by name."""
    return [SealedHost(record=_to_host(row), sealed_key=row.private_key) for row in reader.all(_ALL_HOSTS)]


def count_hosts(reader: Reader, instance_id: InstanceId) -> int:
    """How many host names an instance has."""
    return int(str(reader.scalar(_COUNT_HOSTS, {"b_instance": instance_id})))


def renew_host(tx: Tx, old: HostRecord, certificate: ServerCertificate, *, sealed_key: str) -> bool:
    """Give a host name, as it was read, another certificate. False if somebody else was faster."""
    parameters: Parameters = {
        "b_host": old.host_id,
        "b_expected": old.version,
        "b_certificate": certificate.chain,
        "b_private_key": sealed_key,
        "b_fingerprint": certificate.fingerprint,
        "b_subject": certificate.subject,
        "b_issuer": certificate.issuer,
        "b_not_before": to_us(certificate.not_before),
        "b_not_after": to_us(certificate.not_after),
        "b_now": to_us(tx.now),
    }
    return tx.write(_RENEW, parameters) == 1


def remove_host(tx: Tx, old: HostRecord) -> bool:
    """Forget a host name as it was read. False if somebody else was faster."""
    return tx.write(_REMOVE_HOST, {"b_host": old.host_id, "b_expected": old.version}) == 1


def remove_hosts_of(tx: Tx, instance_id: InstanceId) -> None:
    """Forget all host names of an instance, and their keys."""
    tx.write(_REMOVE_HOSTS_OF, {"b_instance": instance_id})


def add_denied(tx: Tx, denied: DeniedNetwork) -> bool:
    """Store a denied network in place of one that has ended. False if it is denied already."""
    network = str(denied.network)
    tx.write(_REMOVE_ENDED, {"b_network": network, "b_now": to_us(tx.now)})
    return tx.insert_if_absent(
        _ADD_DENIED,
        {
            "denied_id": denied.denied_id,
            "network": network,
            "reason": denied.reason,
            "until_us": None if denied.until is None else to_us(denied.until),
            "created_at_us": to_us(denied.created_at),
        },
    )


def list_denied(reader: Reader, *, after: str, limit: int) -> list[DeniedNetwork]:
    """Denied networks with an id above `after`, oldest first; also those that have ended."""
    return [_to_denied(row) for row in reader.all(_DENIED, {"b_after": after, "b_limit": limit})]


def find_denied(reader: Reader, denied_id: DeniedId) -> DeniedNetwork | None:
    """The denied network of that id."""
    row = reader.first(_ONE_DENIED, {"b_denied": denied_id})
    return None if row is None else _to_denied(row)


def list_in_force(reader: Reader, now: datetime) -> list[DeniedNetwork]:
    """Networks that are denied now."""
    return [_to_denied(row) for row in reader.all(_IN_FORCE, {"b_now": to_us(now)})]


def count_denied(reader: Reader, now: datetime) -> int:
    """How many networks are denied now."""
    return int(str(reader.scalar(_COUNT_DENIED, {"b_now": to_us(now)})))


def remove_denied(tx: Tx, denied_id: DeniedId) -> bool:
    """Deny a network no longer. False if it was not."""
    return tx.write(_REMOVE_DENIED, {"b_denied": denied_id}) == 1


def _to_host(row: Row) -> HostRecord:
    return HostRecord(
        host_id=HostId(row.host_id),
        host=row.host,
        instance_id=None if row.instance_id is None else InstanceId(row.instance_id),
        chain=row.certificate,
        fingerprint=row.fingerprint,
        subject=row.subject,
        issuer=row.issuer,
        not_before=from_us(row.not_before_us),
        not_after=from_us(row.not_after_us),
        version=row.version,
        created_at=from_us(row.created_at_us),
        changed_at=from_us(row.changed_at_us),
    )


def _to_denied(row: Row) -> DeniedNetwork:
    return DeniedNetwork(
        denied_id=DeniedId(row.denied_id),
        network=ip_network(row.network),
        reason=row.reason,
        until=None if row.until_us is None else from_us(row.until_us),
        created_at=from_us(row.created_at_us),
    )
