"""What is done about own host names, by their customer and by staff."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from tenancy import repository as platform
from tenancy.credential import CredentialKey
from tenancy.database.sealing import PasswordSeal
from tenancy.front import repository
from tenancy.front.errors import (
    HostKeyDamaged,
    HostNotFound,
    HostsTooMany,
    HostTaken,
    HostVersionConflict,
)
from tenancy.front.host import MOST_HOSTS, HostId, HostRecord, ServedHost
from tenancy.front.host_name import read_host
from tenancy.front.host_proof import HostProof
from tenancy.front.server_certificate import ServerCertificate, check_for_host, read_server_certificate
from tenancy.lifecycle.errors import InstanceErased
from tenancy.record import check_limit
from tenancy.server.errors import DatabasePasswordDamaged
from tenancy.transaction import carry_out

_PURPOSE: Final = "host-keys"
_FIRST_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCertificate:
    """What somebody uploads for a host name.

    Attributes:
        chain: PEM; its own certificate first.
        key: PEM, without a password.
    """

    chain: str
    key: str = field(repr=False)


class HostService:
    """Own host names in the platform database. Thread-safe, blocking.

    An owner is an instance, or None: the platform itself.

    Args:
        db: the platform database.
        key: seals private keys; lines do not have it.
        proof: says whether a name is the customer's who brings it.
    """

    def __init__(self, db: Database, *, key: CredentialKey, proof: HostProof) -> None:
        self._db = db
        self._seal = PasswordSeal(key, purpose=_PURPOSE)
        self._proof = proof

    def add_host(
        self,
        owner: InstanceId | None,
        host: str,
        given: HostCertificate,
        *,
        proven: bool,
        command: Command | None = None,
    ) -> Done[HostRecord]:
        """Have the front serve a host name of its own.

        Args:
            owner: whose it is.
            host: U-labels or A-labels.
            given: what the front proves it with.
            proven: whether somebody has made sure that the name is the owner's; else a public authority must have.
            command: who asked; its fingerprint keyed, for there is a private key in it.

        Raises:
            HostUnfit, HostCertificateMalformed, HostCertificateUnfit, HostCertificateExpired, HostKeyUnfit: what is
                wrong with it.
            HostNotProven: see `proven`.
            HostTaken: somebody has it already.
            HostsTooMany: the instance has as many as it can have.
            InstanceNotFound, InstanceErased: there is no such owner.
        """
        name, now = read_host(host), self._db.clock.now()
        certificate = _read(given, name, now=now)
        host_id = HostId(new_id("hst"))
        if not proven:
            self._proof.check(certificate, name, now=now)
        sealed = self._seal.seal(certificate.key, owner=host_id)

        def body(tx: Tx) -> JsonObject:
            if owner is not None:
                _check_room(tx, owner)
            record = _new_record(tx, host_id, name, owner, certificate)
            if not repository.add_host(tx, record, sealed_key=sealed):
                raise HostTaken("That host name is in use already.", field="host")
            tx.emit("front_host.added", subject=host_id, data=_describe(record))
            return {"host_id": host_id}

        answer = carry_out(self._db, command, body)
        stored = self.get_host(owner, HostId(str(answer.value["host_id"])))
        return Done(value=stored, replayed=answer.replayed, created=not answer.replayed)

    def get_host(self, owner: InstanceId | None, host_id: HostId) -> HostRecord:
        """Read one host name of an owner.

        Raises:
            HostNotFound: the owner has none of that id.
            InstanceNotFound, InstanceErased: there is no such owner.
        """
        return self._db.read(lambda reader: _get(reader, owner, host_id))

    def owner_of(self, host_id: HostId) -> InstanceId | None:
        """Whose a host name is.

        Raises:
            HostNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_host(reader, host_id)).instance_id

    def list_hosts_of(self, owner: InstanceId) -> list[HostRecord]:
        """The host names of an instance, by name.

        Raises:
            InstanceNotFound, InstanceErased: there is no such instance.
        """

        def body(reader: Reader) -> list[HostRecord]:
            _check_owner(reader, owner)
            return repository.list_hosts_of(reader, owner)

        return self._db.read(body)

    def list_hosts(self, *, after: str = "", limit: int = 25) -> list[HostRecord]:
        """All host names with an id above `after`, of whomever, oldest first.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_hosts(reader, after=after, limit=limit))

    def renew_host(
        self,
        owner: InstanceId | None,
        host_id: HostId,
        given: HostCertificate,
        *,
        version: int,
        command: Command | None = None,
    ) -> Done[HostRecord]:
        """Prove a host name with another certificate from now on.

        Raises:
            HostCertificateMalformed, HostCertificateUnfit, HostCertificateExpired, HostKeyUnfit: what is wrong with it.
            HostNotFound: the owner has none of that id.
            InstanceNotFound, InstanceErased: there is no such owner.
            HostVersionConflict: it has been changed since the caller read it.
        """
        known = self.get_host(owner, host_id)
        certificate = _read(given, known.host, now=self._db.clock.now())
        sealed = self._seal.seal(certificate.key, owner=host_id)

        def body(tx: Tx) -> JsonObject:
            old = _same_version(_get(tx, owner, host_id), version)
            if not repository.renew_host(tx, old, certificate, sealed_key=sealed):
                raise _conflict()
            new = replace(old, fingerprint=certificate.fingerprint, not_after=certificate.not_after)
            tx.emit("front_host.renewed", subject=host_id, data=_describe(new), before=_describe(old))
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_host(owner, host_id), replayed=answer.replayed)

    def remove_host(
        self, owner: InstanceId | None, host_id: HostId, *, version: int, command: Command | None = None
    ) -> Done[None]:
        """Serve a host name no longer; certificate and key are forgotten.

        Raises:
            HostNotFound, InstanceNotFound, InstanceErased, HostVersionConflict: see `renew_host`.
        """

        def body(tx: Tx) -> JsonObject:
            old = _same_version(_get(tx, owner, host_id), version)
            if not repository.remove_host(tx, old):
                raise _conflict()
            tx.emit("front_host.removed", subject=host_id, data=_owned(owner), before=_describe(old))
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=None, replayed=answer.replayed)

    def list_served(self) -> tuple[list[ServedHost], list[HostRecord]]:
        """Every host name with its key for the front, and those whose key cannot be opened any more."""
        served: list[ServedHost] = []
        damaged: list[HostRecord] = []
        for each in self._db.read(repository.list_sealed):
            try:
                served.append(ServedHost(record=each.record, key=self._open(each)))
            except HostKeyDamaged:
                damaged.append(each.record)
        return served, damaged

    def _open(self, sealed: repository.SealedHost) -> str:
        try:
            return self._seal.open(sealed.sealed_key, owner=sealed.record.host_id)
        except DatabasePasswordDamaged:
            raise HostKeyDamaged("A stored private key cannot be opened.", host=sealed.record.host) from None


def _read(given: HostCertificate, host: str, *, now: datetime) -> ServerCertificate:
    certificate = read_server_certificate(given.chain, given.key)
    check_for_host(certificate, host, now=now)
    return certificate


def _check_owner(reader: Reader, owner: InstanceId) -> None:
    if platform.get_instance(reader, owner).state == "erased":
        raise InstanceErased("The instance's data have been erased.")


def _check_room(tx: Tx, owner: InstanceId) -> None:
    """Two at once conflict at the newest event of the chain: the later one runs again and counts the other."""
    _check_owner(tx, owner)
    if repository.count_hosts(tx, owner) >= MOST_HOSTS:
        raise HostsTooMany(f"An instance has at most {MOST_HOSTS} host names.", most=MOST_HOSTS)


def _new_record(
    tx: Tx, host_id: HostId, host: str, owner: InstanceId | None, certificate: ServerCertificate
) -> HostRecord:
    return HostRecord(
        host_id=host_id,
        host=host,
        instance_id=owner,
        chain=certificate.chain,
        fingerprint=certificate.fingerprint,
        subject=certificate.subject,
        issuer=certificate.issuer,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        version=_FIRST_VERSION,
        created_at=tx.now,
        changed_at=tx.now,
    )


def _get(reader: Reader, owner: InstanceId | None, host_id: HostId) -> HostRecord:
    """What is another owner's does not exist."""
    if owner is not None:
        _check_owner(reader, owner)
    found = repository.get_host(reader, host_id)
    if found.instance_id != owner:
        raise HostNotFound("There is no such host name.")
    return found


def _same_version(host: HostRecord, version: int) -> HostRecord:
    if host.version != version:
        raise _conflict()
    return host


def _conflict() -> HostVersionConflict:
    return HostVersionConflict("The host name has got another certificate meanwhile; read it again.")


def _owned(owner: InstanceId | None) -> JsonObject:
    return {} if owner is None else {"instance_id": owner}


def _describe(host: HostRecord) -> JsonObject:
    """What events say of a host name; a subject may name a person."""
    return {
        **_owned(host.instance_id),
        "host": host.host,
        "fingerprint": host.fingerprint,
        "not_after": host.not_after.isoformat(),
    }
