"""Asking for support access, deciding about it, using it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.clock import to_text, to_us
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.errors import InputInvalid
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import Origin, system_origin
from tenancy.database.port import InstanceDatabases
from tenancy.record import check_limit
from tenancy.repository import get_instance
from tenancy.staff.errors import (
    HoursUnfit,
    SupportAccessClosed,
    SupportAccessExpired,
    SupportAccessMissing,
    SupportAccessOpen,
    SupportAccessReadOnly,
    SupportAccessVersionConflict,
)
from tenancy.staff.record import StaffPrincipal, StaffRole
from tenancy.staff.request import check_reason, person_of
from tenancy.staff.support import repository
from tenancy.staff.support.record import (
    ANSWER_WITHIN,
    LEAST_HOURS,
    MOST_HOURS,
    SUPPORT_SCOPES,
    SupportAccess,
    SupportScope,
    SupportUse,
)
from tenancy.transaction import carry_out

_EXPIRED_AT_ONCE: Final = 100
"""Accesses closed in one transaction. Our own decision."""
_MOST_REMEMBERED: Final = 1_000
"""Uses that a process remembers to have written; forgetting one costs one statement. Our own decision."""
_HOUR_US: Final = 3_600_000_000
_ASKERS: Final[frozenset[StaffRole]] = frozenset({"support", "admin"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportWish:
    """What support asks a customer for.

    Attributes:
        reason: as the customer will read it.
        hours: how long it shall hold, 3–168.
    """

    instance_id: InstanceId
    reason: str
    hours: int
    scope: SupportScope = "read"


class SupportService:
    """Support access: decided in the platform database, used in the instance's. Thread-safe, blocking.

    Args:
        db: the platform database.
        databases: in which the uses are written.
    """

    def __init__(self, db: Database, databases: InstanceDatabases) -> None:
        self._db = db
        self._databases = databases
        self._noted: set[tuple[str, int]] = set()

    def request_access(
        self, wish: SupportWish, *, by: StaffPrincipal, command: Command | None = None
    ) -> Done[SupportAccess]:
        """Ask an instance's customer to be let in.

        Raises:
            StaffRoleInsufficient, StaffPersonMissing: the caller may not ask.
            ReasonMissing, HoursUnfit, InputInvalid: an unfit wish.
            InstanceNotFound: there is no such instance.
            SupportAccessOpen: the same person has asked already and waits for the answer.
        """
        person_id = person_of(by, _ASKERS)
        _check(wish)
        access_id = new_id("sup")

        def body(tx: Tx) -> JsonObject:
            access = SupportAccess(
                access_id=access_id,
                instance_id=wish.instance_id,
                person_id=person_id,
                reason=wish.reason,
                hours=wish.hours,
                scope=wish.scope,
                state="requested",
                requested_at=tx.now,
                expires_at=tx.now + ANSWER_WITHIN,
                decided_by=None,
                decided_at=None,
                version=1,
            )
            _add(tx, access)
            get_instance(tx, wish.instance_id)
            return {"access_id": access_id}

        answer = carry_out(self._db, command, body)
        access = self.get_access(str(answer.value["access_id"]))
        return Done(value=access, replayed=answer.replayed, created=not answer.replayed)

    def approve_access(
        self,
        instance_id: InstanceId,
        access_id: str,
        *,
        expected_version: int,
        by: str,
        command: Command | None = None,
    ) -> Done[SupportAccess]:
        """The customer lets support in, for as long as they have asked for.

        Args:
            by: id of the customer's API client.

        Raises:
            SupportAccessNotFound, SupportAccessClosed, SupportAccessExpired, SupportAccessVersionConflict:
                there is nothing of that instance to be decided.
        """

        def decide(tx: Tx, access: SupportAccess) -> bool:
            until = tx.now + timedelta(hours=access.hours)
            if not repository.approve(tx, access, version=expected_version, by=by, until=until):
                return False
            data: JsonObject = {"state": "approved", "until": to_text(until)}
            _emit(tx, "support_access.approved", access, data)
            return True

        return self._decide(access_id, instance_id, decide, command=command, version=expected_version)

    def refuse_access(
        self,
        instance_id: InstanceId,
        access_id: str,
        *,
        expected_version: int,
        by: str,
        command: Command | None = None,
    ) -> Done[SupportAccess]:
        """The customer does not let support in.

        Raises:
            SupportAccessNotFound, SupportAccessClosed, SupportAccessExpired, SupportAccessVersionConflict:
                there is nothing of that instance to be decided.
        """

        def decide(tx: Tx, access: SupportAccess) -> bool:
            if not repository.refuse(tx, access, version=expected_version, by=by):
                return False
            _emit(tx, "support_access.refused", access, {"state": "refused"})
            return True

        return self._decide(access_id, instance_id, decide, command=command, version=expected_version)

    def revoke_access(
        self, instance_id: InstanceId, access_id: str, *, by: str, command: Command | None = None
    ) -> Done[SupportAccess]:
        """The customer lets support in no longer: from the next request on.

        Raises:
            SupportAccessNotFound, SupportAccessClosed, SupportAccessExpired: nothing of that instance holds.
        """

        def decide(tx: Tx, access: SupportAccess) -> bool:
            if not repository.revoke(tx, access, by=by):
                return False
            _emit(tx, "support_access.revoked", access, {"state": "revoked"})
            return True

        return self._decide(access_id, instance_id, decide, command=command, version=None)

    def use_access(
        self, instance_id: InstanceId, *, scope: SupportScope, by: StaffPrincipal, origin: Origin
    ) -> SupportAccess:
        """Go into an instance; the customer finds it in his audit chain, once for each access and hour.

        Raises:
            SupportAccessMissing, SupportAccessReadOnly: the customer does not let this person in, or only to look.
        """
        access = None
        if by.person_id is not None:
            person_id = by.person_id
            access = self._db.read(lambda reader: repository.find_holding(reader, instance_id, person_id))
        if access is None:
            raise SupportAccessMissing(
                "The customer of this instance has not let you in; ask for support access."
            )
        if scope == "write" and access.scope != "write":
            raise SupportAccessReadOnly("The customer of this instance lets you look, and change nothing.")
        self._note_use(access, origin)
        return access

    def get_access(self, access_id: str, *, instance_id: InstanceId | None = None) -> SupportAccess:
        """Read one access; of that instance, if one is named.

        Raises:
            SupportAccessNotFound: there is none like that.
        """
        return self._db.read(lambda reader: repository.get_access(reader, access_id, instance_id))

    def list_accesses(
        self, *, after: str = "", limit: int = 25, instance_id: InstanceId | None = None
    ) -> list[SupportAccess]:
        """Accesses with an id above `after`, oldest first; those of one instance, if one is named.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(
            lambda reader: repository.list_accesses(reader, after=after, limit=limit, instance_id=instance_id)
        )

    def list_uses(
        self, instance_id: InstanceId, access_id: str, *, after: int = -1, limit: int = 25
    ) -> list[tuple[int, SupportUse]]:
        """When an access was used: (hour since 1970, use) after an hour, oldest first.

        Raises:
            SupportAccessNotFound: the instance has no such access.
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        self.get_access(access_id, instance_id=instance_id)
        return self._databases.open(instance_id).read(
            lambda reader: repository.list_uses(reader, access_id, after=after, limit=limit)
        )

    def expire_overdue(self) -> int:
        """Close accesses whose time is over; returns how many."""
        overdue = self._db.read(lambda reader: repository.list_overdue(reader, limit=_EXPIRED_AT_ONCE))
        if not overdue:
            return 0

        def body(tx: Tx) -> JsonObject:
            return {"expired": sum(_expire(tx, access) for access in overdue)}

        answer = self._db.run_tx(new_id("op"), body, origin=system_origin("supportAccess.expire"))
        return int(str(answer.value["expired"]))

    def _decide(
        self,
        access_id: str,
        instance_id: InstanceId,
        decide: Callable[[Tx, SupportAccess], bool],
        *,
        command: Command | None,
        version: int | None,
    ) -> Done[SupportAccess]:
        # How many hours were asked for never changes, so it may be read before.
        access = self.get_access(access_id, instance_id=instance_id)

        def body(tx: Tx) -> JsonObject:
            if not decide(tx, access):
                raise _why_not(repository.get_access(tx, access_id, instance_id), version)
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_access(access_id), replayed=answer.replayed)

    def _note_use(self, access: SupportAccess, origin: Origin) -> None:
        hour = to_us(self._db.clock.now()) // _HOUR_US
        if (access.access_id, hour) in self._noted:
            return

        def body(tx: Tx) -> JsonObject:
            if repository.add_use(tx, access.access_id, hour=hour, action=origin.action):
                data: JsonObject = {"person_id": access.person_id, "scope": access.scope}
                tx.emit("support_access.used", subject=access.access_id, data=data)
            return {}

        self._databases.open(access.instance_id).run_tx(new_id("op"), body, origin=origin)
        if len(self._noted) >= _MOST_REMEMBERED:
            self._noted.clear()
        self._noted.add((access.access_id, hour))


def _add(tx: Tx, access: SupportAccess) -> None:
    """Store a request; the unique key of what waits decides who was first."""
    if not repository.add_access(tx, access):
        found = repository.find_open(tx, access.instance_id, access.person_id)
        overdue = found is not None and _expire(tx, found)
        if not (overdue and repository.add_access(tx, access)):
            raise SupportAccessOpen(
                "You have asked already; the customer has not answered yet.",
                access_id=None if found is None else found.access_id,
            )
    data: JsonObject = {
        "instance_id": access.instance_id,
        "person_id": access.person_id,
        "reason": access.reason,
        "hours": access.hours,
        "scope": access.scope,
    }
    tx.emit("support_access.requested", subject=access.access_id, data=data)


def _expire(tx: Tx, access: SupportAccess) -> bool:
    if not repository.expire(tx, access.access_id):
        return False
    data: JsonObject = {"instance_id": access.instance_id, "state": "expired"}
    # What it was before is what the reader can see of it: an approved one has somebody who decided.
    was = "requested" if access.decided_at is None else "approved"
    tx.emit("support_access.expired", subject=access.access_id, data=data, before={"state": was})
    return True


def _emit(tx: Tx, kind: str, access: SupportAccess, data: JsonObject) -> None:
    before: JsonObject = {"state": "approved" if kind.endswith("revoked") else "requested"}
    tx.emit(kind, subject=access.access_id, data={"instance_id": access.instance_id, **data}, before=before)


def _why_not(found: SupportAccess, version: int | None) -> Exception:
    """Why an access cannot be decided like that; without a version, why it cannot be revoked."""
    if found.state == "expired":
        return SupportAccessExpired("The time for this has run out.")
    if found.state == "requested" and version is not None:
        return SupportAccessVersionConflict(
            "The access is not as you have read it; read it again.", expected=version, version=found.version
        )
    return SupportAccessClosed("The access is not in a state in which this can be done.", state=found.state)


def _check(wish: SupportWish) -> None:
    check_reason(wish.reason)
    if not LEAST_HOURS <= wish.hours <= MOST_HOURS:
        raise HoursUnfit("Support access lasts for 3 to 168 hours.", field="hours")
    if wish.scope not in SUPPORT_SCOPES:
        raise InputInvalid("Support access is for reading or for writing.", field="scope")
