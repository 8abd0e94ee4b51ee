"""What no member of staff does alone: a second person approves it, and only then it starts.

    requested ──approve, by somebody else──► approved    the operation starts in the same transaction
        │ ├───reject──────────────────────► rejected     the one who asked may do so too: he takes it back
        │ └───nobody decides in 24 h──────► expired
        └ one waiting request per action, object and what is asked of it, e.g. which box a key is copied to

People are compared, not tokens: a second token of the same person is the same person. Nobody approves what is done
to himself, e.g. his own erasure; he may ask for it. Whoever may open the
control socket is the person `local`. Making tokens for other people is on record, with who made them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from tenancy.errors import StaffTokenInvalid
from tenancy.record import check_limit
from tenancy.staff import repository
from tenancy.staff.errors import (
    ApprovalByRequester,
    ApprovalBySubject,
    ApprovalClosed,
    ApprovalExpired,
    ApprovalOpen,
    ApprovalRequesterGone,
    ApprovalVersionConflict,
)
from tenancy.staff.record import LOCAL_PERSON, WRITERS, Approval, StaffPrincipal
from tenancy.staff.request import check_reason, check_remark, person_of
from tenancy.transaction import carry_out

APPROVAL_LIFE: Final = timedelta(hours=24)
"""How long a request waits for its second person. **Source:** issue 3, "Staff"."""
_EXPIRED_AT_ONCE: Final = 100
"""Requests closed in one transaction. Our own decision."""

Start = Callable[[Tx, str, JsonObject], OperationId]
"""(tx, object id, parameters): starts what was approved, inside the transaction that approves it."""
Check = Callable[[Reader, str, JsonObject], None]
"""(reader, object id, parameters): refuses, when it is asked for, what cannot be done anyway."""
Plan = Callable[[], JsonObject]
"""Finds out what exactly would be done, where that stands elsewhere than in the platform database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedAction:
    """Something that needs two people.

    Attributes:
        name: operationId of the route that asks for it.
        start: usually calls `tenancy.operation.start.start_operation`; what it raises leaves the request waiting.
        check: looks at the platform database when somebody asks; None: anything may be asked for.
        asked: parameters that are asked for. The others are found out: when they change, the same is asked for still.
    """

    name: str
    start: Start
    check: Check | None = None
    asked: tuple[str, ...] = ()

    def wish(self, parameters: JsonObject) -> JsonObject:
        """What is asked for: two requests for the same do not wait side by side."""
        return {name: parameters.get(name) for name in self.asked}


class GuardedActions:
    """Everything that needs two people, by its name. Filled when the platform is built."""

    def __init__(self, *actions: GuardedAction) -> None:
        self._actions: dict[str, GuardedAction] = {}
        for action in actions:
            self.register(action.name, action.start, check=action.check, asked=action.asked)

    def register(
        self, name: str, start: Start, *, check: Check | None = None, asked: tuple[str, ...] = ()
    ) -> None:
        """Add an action.

        Raises:
            ValueError: there is one of that name: a defect of ours.
        """
        if name in self._actions:
            raise ValueError(f"the action {name} is registered already")
        self._actions[name] = GuardedAction(name=name, start=start, check=check, asked=asked)

    def get(self, name: str) -> GuardedAction:
        """The action of that name.

        Raises:
            LookupError: nobody has registered it: a defect of ours.
        """
        if name not in self._actions:
            raise LookupError(f"the action {name} is not registered")
        return self._actions[name]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of their registration."""
        return tuple(self._actions)


class ApprovalService:
    """Requests for approval in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database, actions: GuardedActions) -> None:
        self._db = db
        self._actions = actions

    def request(
        self,
        action: str,
        object_id: str,
        *,
        parameters: JsonObject | Plan,
        reason: str,
        by: StaffPrincipal,
        command: Command | None = None,
    ) -> Done[Approval]:
        """Ask for something that a second person has to approve.

        Args:
            parameters: what exactly is to be done, as the second person will read it; no secrets, no names of people.
                A plan is made outside the transaction; what it refuses is raised unless the command is a repeat.
            reason: 1–500 printable characters.

        Raises:
            StaffRoleInsufficient, StaffPersonMissing: the caller may not ask.
            ReasonMissing, InputInvalid: no reason, or an unfit one.
            ApprovalOpen: the same is being asked for already.
            DomainError: what the action's own check refuses.
        """
        person_id = person_of(by, WRITERS)
        check_reason(reason)
        guarded = self._actions.get(action)
        approval_id = new_id("apr")
        planned = _plan(parameters) if callable(parameters) else parameters

        def body(tx: Tx) -> JsonObject:
            if isinstance(planned, DomainError):
                raise planned
            asked = Approval(
                approval_id=approval_id,
                action=action,
                object_id=object_id,
                parameters=planned,
                reason=reason,
                state="requested",
                requested_by=person_id,
                requested_at=tx.now,
                expires_at=tx.now + APPROVAL_LIFE,
                decided_by=None,
                decided_at=None,
                operation_id=None,
                version=1,
            )
            if guarded.check is not None:
                guarded.check(tx, object_id, planned)
            _add(tx, asked, guarded.wish(planned))
            return {"approval_id": approval_id}

        answer = carry_out(self._db, command, body)
        approval = self.get_approval(str(answer.value["approval_id"]))
        return Done(value=approval, replayed=answer.replayed, created=not answer.replayed)

    def approve(
        self,
        approval_id: str,
        *,
        expected_version: int,
        by: StaffPrincipal,
        reason: str = "",
        command: Command | None = None,
    ) -> Done[Approval]:
        """Approve what somebody else has asked for: it starts in the same transaction, once.

        Raises:
            StaffRoleInsufficient, StaffPersonMissing: the caller may not approve anything.
            ApprovalNotFound, ApprovalByRequester, ApprovalClosed, ApprovalExpired, ApprovalVersionConflict:
                not this request, or not by this caller.
            ApprovalBySubject: it would be done to the caller himself.
            StaffTokenInvalid: the caller's token has been revoked a moment ago.
            ApprovalRequesterGone: who asked is no member of staff any more; reject it.
            DomainError: what the action refuses; the request goes on waiting.
        """
        person_id = person_of(by, WRITERS)
        check_remark(reason)

        def body(tx: Tx) -> JsonObject:
            if not repository.approve(tx, approval_id, version=expected_version, by=person_id):
                raise _why_not(tx, approval_id, by=person_id, version=expected_version)
            approval = repository.get_approval(tx, approval_id)
            _check_approver(tx, approval, by)
            _check_requester(tx, approval)
            start = self._actions.get(approval.action).start
            operation_id = start(tx, approval.object_id, approval.parameters)
            repository.set_operation(tx, approval_id, operation_id)
            data: JsonObject = {"state": "approved", "operation_id": operation_id, "reason": reason}
            _emit(tx, "approval.approved", approval, data=data)
            return {}

        return self._decided(approval_id, carry_out(self._db, command, body).replayed)

    def reject(
        self, approval_id: str, *, by: StaffPrincipal, reason: str, command: Command | None = None
    ) -> Done[Approval]:
        """Close a request without doing anything; the one who asked may do so too.

        Raises:
            StaffRoleInsufficient, StaffPersonMissing: the caller may not decide anything.
            ReasonMissing, InputInvalid: no reason, or an unfit one.
            ApprovalNotFound, ApprovalClosed, ApprovalExpired: there is nothing to decide.
        """
        person_id = person_of(by, WRITERS)
        check_reason(reason)

        def body(tx: Tx) -> JsonObject:
            if not repository.reject(tx, approval_id, by=person_id):
                raise _why_not(tx, approval_id, by=None, version=None)
            approval = repository.get_approval(tx, approval_id)
            _emit(tx, "approval.rejected", approval, data={"state": "rejected", "reason": reason})
            return {}

        return self._decided(approval_id, carry_out(self._db, command, body).replayed)

    def expire_overdue(self) -> int:
        """Close requests that nobody decided in time; returns how many."""
        overdue = self._db.read(
            lambda reader: repository.list_overdue_approvals(reader, limit=_EXPIRED_AT_ONCE)
        )
        if not overdue:
            return 0

        def body(tx: Tx) -> JsonObject:
            return {"expired": sum(_expire(tx, approval) for approval in overdue)}

        answer = self._db.run_tx(new_id("op"), body, origin=system_origin("approval.expire"))
        return int(str(answer.value["expired"]))

    def get_approval(self, approval_id: str) -> Approval:
        """Read one request.

        Raises:
            ApprovalNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_approval(reader, approval_id))

    def list_approvals(self, *, after: str = "", limit: int = 25, waiting: bool = False) -> list[Approval]:
        """Requests with an id above `after`, oldest first; all of them, or those that can be decided.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(
            lambda reader: repository.list_approvals(reader, after=after, limit=limit, waiting=waiting)
        )

    def _decided(self, approval_id: str, replayed: bool) -> Done[Approval]:
        return Done(value=self.get_approval(approval_id), replayed=replayed)


def _plan(plan: Plan) -> JsonObject | DomainError:
    try:
        return plan()
    except DomainError as error:
        return error


def _add(tx: Tx, asked: Approval, wish: JsonObject) -> None:
    """Store a request; the unique key of what waits decides who was first."""
    if not repository.add_approval(tx, asked, wish):
        found = repository.find_open_approval(tx, asked.action, asked.object_id, wish)
        overdue = found is not None and _expire(tx, found)
        if not (overdue and repository.add_approval(tx, asked, wish)):
            raise ApprovalOpen(
                "The same thing has been asked for already and waits for its approval.",
                approval_id=None if found is None else found.approval_id,
            )
    data: JsonObject = {
        "action": asked.action,
        "object_id": asked.object_id,
        "parameters": asked.parameters,
        "reason": asked.reason,
        "requested_by": asked.requested_by,
    }
    tx.emit("approval.requested", subject=asked.approval_id, data=data)


def _expire(tx: Tx, approval: Approval) -> bool:
    if not repository.expire_approval(tx, approval.approval_id):
        return False
    _emit(tx, "approval.expired", approval, data={"state": "expired"})
    return True


def _emit(tx: Tx, kind: str, approval: Approval, *, data: JsonObject) -> None:
    about: JsonObject = {"action": approval.action, "object_id": approval.object_id}
    tx.emit(kind, subject=approval.approval_id, data={**about, **data}, before={"state": "requested"})


def _check_approver(tx: Tx, approval: Approval, by: StaffPrincipal) -> None:
    """The token was looked at before this transaction began; what is approved counts as of now."""
    if approval.object_id == by.person_id:
        raise ApprovalBySubject("Nobody approves what is done to himself.")
    if by.token_id != LOCAL_PERSON and not repository.holds(tx, by.token_id):
        raise StaffTokenInvalid("The token has expired or been revoked.")


def _check_requester(tx: Tx, approval: Approval) -> None:
    """Two people want it only if the first of them is still there."""
    asked_by = approval.requested_by
    if asked_by != LOCAL_PERSON and not repository.has_token(tx, asked_by):
        raise ApprovalRequesterGone("Whoever asked for this has no token any more; ask for it anew.")


def _why_not(tx: Tx, approval_id: str, *, by: str | None, version: int | None) -> Exception:
    """Why a request cannot be decided like that."""
    found = repository.get_approval(tx, approval_id)
    if found.requested_by == by:
        return ApprovalByRequester("Nobody approves what he has asked for himself.")
    if found.state == "expired":
        return ApprovalExpired("Nobody decided in time; ask for it again.")
    if found.state != "requested":
        return ApprovalClosed("The request has been decided already.", state=found.state)
    return ApprovalVersionConflict(
        "The request is not the one that you have read; read it again.",
        expected=version,
        version=found.version,
    )
