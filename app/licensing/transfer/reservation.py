"""The first transaction of the licence path: check the context, hold the licences, take quota, open the transfer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.core.clock import to_us
from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import LicenseId, TransferId, new_id
from app.core.json import JsonObject, dump_json
from app.licensing.container import repository as containers
from app.licensing.container.container_rule import (
    Container,
    ContainerState,
    Fits,
    Refused,
    Report,
    Unexpected,
    UnexpectedReason,
    check_made_at,
    judge,
    unexpected_state,
)
from app.licensing.errors import (
    ContainerNotFound,
    ContextReplayed,
    ContextWrongContainer,
    ContextWrongFirmCode,
    LicensePending,
    TransferOpen,
)
from app.licensing.license import repository as licenses
from app.licensing.license.license import License, LicenseAction
from app.licensing.order.service import load_ticket
from app.licensing.product_item import options_to_json
from app.licensing.transfer import repository
from app.licensing.transfer.confirmation import confirm_proven
from app.licensing.transfer.job import InstanceIdentity
from app.licensing.transfer.repository import NewTransfer, OpenedTransfer, UnfinishedTransfer
from app.licensing.transfer.transfer_plan import (
    PlannedAction,
    Started,
    Target,
    TransferAction,
    TransferState,
    Wish,
    check_number,
    check_size,
    plan_actions,
)
from editions import Effect, metering, month_of
from fsb_gateway import Context, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRequest:
    """What a caller asks for.

    Attributes:
        context: read and its own signature checked.
        container: the serial that the caller means; None takes the context's word.
        wish: what to move; ignored for `auto_update`.
        authenticated: the vendor's own system asks; otherwise only a ticket's holder, who has to show the ticket before
            his context registers a container or, contradicting the books, stops it.
        priority: of its job among those of the same instance; no part of what makes two requests the same.
    """

    context: Context
    container: str | None
    action: TransferAction
    wish: Wish
    principal: str
    authenticated: bool
    priority: Priority = "interactive"

    @property
    def vouched_for(self) -> bool:
        """Whether the request comes from the vendor or with a ticket (which is looked up in any case)."""
        return self.authenticated or self.wish.ticket is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long a transfer may be in the making.

    Attributes:
        program: until it is rolled back.
        lease: until another line may take its driving over.
    """

    program: timedelta = timedelta(minutes=10)
    lease: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What came of the first transaction.

    Attributes:
        transfer_id: None when there was nothing to update.
        started: whether it is new, was found, or had been asked for before.
        opened: the transfer as it was written, if it is new; a found one has to be read.
    """

    transfer_id: TransferId | None
    started: Started
    opened: OpenedTransfer | None


def natural_key(request: TransferRequest) -> str:
    """The same request about the same counter of the same container has the same key, whoever repeats it."""
    wish = request.wish
    return hashlib.sha256(
        dump_json(
            [
                request.context.serial,
                request.context.signing_key_thumbprint,
                request.context.fuc,
                wish.ticket,
                str(request.action),
                None if wish.activate is None else sorted(wish.activate),
                sorted(wish.deactivate),
            ]
        ).encode()
    ).hexdigest()


def check_request(request: TransferRequest, identity: InstanceIdentity, *, now: datetime) -> None:
    """Refuse a request that makes no sense by itself, or a context that was not made for it.

    Raises:
        InputInvalid: it names more licences than one transfer can move.
        ContextWrongContainer: the caller names another container.
        ContextWrongFirmCode: made for another vendor's instance.
        ContextFromFuture: made by a clock that is far ahead.
    """
    context = request.context
    check_number(len(request.wish.activate or ()) + len(request.wish.deactivate))
    if request.container is not None and request.container != context.serial:
        raise ContextWrongContainer(
            f"The context comes from container {context.serial}, not from {request.container}.",
            serial=context.serial,
        )
    if context.firm_code != identity.firm_code:
        raise ContextWrongFirmCode(
            f"The context was made for firm code {context.firm_code}; this instance programs {identity.firm_code}.",
            firm_code=identity.firm_code,
        )
    check_made_at(context.serial, context.made_at, now=now)


def reserve(
    db: Database,
    request: TransferRequest,
    identity: InstanceIdentity,
    *,
    deadlines: Deadlines,
    command: Command,
) -> Reservation:
    """Open a transfer, or find the one that the same request opened before.

    Raises:
        LicensingError: why not; nothing was changed, except that a contradicting container is stopped.
        QuotaExceeded: the month's activations are used up.
    """
    check_request(request, identity, now=db.clock.now())
    opened: OpenedTransfer | None = None

    def body(tx: Tx) -> JsonObject:
        nonlocal opened
        reserving = _Reserving(tx, request, identity, deadlines=deadlines, command=command)
        value = reserving.run()
        opened = reserving.opened
        return value

    answer = db.run_command(command, body)
    value = answer.value
    if "unexpected" in value:
        raise unexpected_state(request.context.serial, UnexpectedReason(str(value["unexpected"])))
    found = value["transfer_id"]
    return Reservation(
        transfer_id=None if found is None else TransferId(str(found)),
        started=Started.REPEATED if answer.replayed else Started(str(value["started"])),
        opened=None if answer.replayed else opened,
    )


class _Reserving:
    """One run of the reserving transaction."""

    def __init__(
        self,
        tx: Tx,
        request: TransferRequest,
        identity: InstanceIdentity,
        *,
        deadlines: Deadlines,
        command: Command,
    ) -> None:
        self._tx = tx
        self._request = request
        self._context = request.context
        self._identity = identity
        self._deadlines = deadlines
        self._charge = command.charge
        self._natural_key = natural_key(request)
        self.opened: OpenedTransfer | None = None

    def run(self) -> JsonObject:
        metering.hold(self._tx, month=month_of(self._tx.now))
        registered = self._take_container()
        candidates = self._load_licenses()
        container = containers.get_container(self._tx, self._context.serial)
        verdict = Fits(newly_proven=False) if registered else judge(container, _report(self._context))
        if isinstance(verdict, Unexpected):
            return self._stop_container(container, verdict, candidates)
        if isinstance(verdict, Refused) and container.state is not ContainerState.OK:
            raise verdict.error
        unfinished = repository.list_unfinished(self._tx, container.serial, above_fuc=container.fuc_confirmed)
        repeated = self._find_repeated(unfinished, verdict)
        if repeated is not None:
            # Nothing happened under this operation id. It stays free: if that transfer is rolled back, the same
            # request under the same id opens a new one.
            self._tx.forget(self._tx.op_id)
            return {"transfer_id": repeated, "started": str(Started.REPEATED)}
        missing = [each for each in unfinished if each.fuc > self._context.fuc]
        self._refuse(unfinished, verdict)
        confirm_proven(self._tx, container, self._context)
        if self._request.action is TransferAction.AUTO_UPDATE:
            return self._bring_up_to_date(container, missing, again=isinstance(verdict, Refused))
        if isinstance(verdict, Fits) and verdict.newly_proven:
            candidates = self._load_licenses()
        return self._open_transfer(container, self._plan(container, candidates), missing)

    def _bring_up_to_date(
        self, container: Container, missing: Sequence[UnfinishedTransfer], *, again: bool
    ) -> JsonObject:
        """The newest update that the container lacks; made anew if the stored one does not fit it any more.

        Args:
            container: as it was before this context.
            missing: issued, and above the context's counter.
            again: the context was used before, so this repeats a request.
        """
        if not missing:
            return self._found(None, Started.REPEATED if again else Started.NOTHING)
        job = repository.get_job(self._tx, missing[-1].transfer_id)
        starts_too_late = int(str(job["base_fuc"])) > self._context.fuc
        if starts_too_late or job["container_key"] != dict(self._context.encryption_key):
            # Staff has accepted an older state of the container, or a new key: nothing is moved, so nothing counts.
            return self._open_transfer(container, (), missing)
        return self._found(missing[-1].transfer_id, Started.REPEATED if again else Started.FETCHED)

    def _found(self, transfer_id: TransferId | None, started: Started) -> JsonObject:
        """Answer without a new transfer; costs a call like one, unless it repeats a request."""
        if started is not Started.REPEATED:
            self._charge(self._tx)
        return {"transfer_id": transfer_id, "started": str(started)}

    def _take_container(self) -> bool:
        """Touch the container's row: it guards everything that follows. True when it is new here."""
        tx, context = self._tx, self._context
        if containers.touch_container(tx, context.serial):
            return False
        if not self._request.vouched_for:
            # Whoever registers a serial first fixes its key: not for somebody who has shown nothing.
            raise ContainerNotFound(f"Container {context.serial} is not known here.", serial=context.serial)
        if containers.register_container(tx, context):
            tx.emit(
                "container.registered",
                subject=context.serial,
                data={"serial": context.serial, "fuc": context.fuc},
            )
            return True
        containers.touch_container(tx, context.serial)
        return False

    def _load_licenses(self) -> list[License]:
        wish = self._request.wish
        found = list(load_ticket(self._tx, wish.ticket).licenses) if wish.ticket is not None else []
        known = {each.license_id for each in found}
        named = (*(wish.activate or ()), *wish.deactivate)
        for license_id in dict.fromkeys(each for each in named if each not in known):
            other = licenses.find_license(self._tx, license_id)
            if other is not None:
                found.append(other)
        return found

    def _stop_container(
        self, container: Container, verdict: Unexpected, candidates: Sequence[License]
    ) -> JsonObject:
        context = self._context
        if not self._may_accuse(verdict, candidates):
            raise unexpected_state(context.serial, verdict.reason)
        containers.set_unexpected(self._tx, context, verdict.reason)
        # The operation id stays free: once staff has decided, the same request is to be judged anew.
        self._tx.forget(self._tx.op_id)
        self._tx.emit(
            "container.unexpected_state",
            subject=context.serial,
            data={"serial": context.serial, "reason": str(verdict.reason), "reported_fuc": context.fuc},
            before=containers.audited(container),
        )
        return {"unexpected": str(verdict.reason)}

    def _may_accuse(self, verdict: Unexpected, candidates: Sequence[License]) -> bool:
        """Whether this caller's word is enough to stop the container.

        Anybody can sign a context with somebody else's serial; a holder is believed if his ticket has a licence there.
        """
        request = self._request
        if not request.vouched_for:
            return False
        if request.authenticated or verdict.reason is not UnexpectedReason.KEY_MISMATCH:
            return True
        return any(each.container == self._context.serial for each in candidates)

    def _find_repeated(
        self, unfinished: Sequence[UnfinishedTransfer], verdict: Fits | Refused
    ) -> TransferId | None:
        for each in unfinished:
            if each.natural_key == self._natural_key:
                return each.transfer_id
        if isinstance(verdict, Refused):
            return repository.find_by_natural_key(self._tx, self._natural_key)
        return None

    def _refuse(self, unfinished: Sequence[UnfinishedTransfer], verdict: Fits | Refused) -> None:
        open_ones = [each.transfer_id for each in unfinished if each.state is TransferState.RESERVED]
        if open_ones:
            raise TransferOpen(
                f"Container {self._context.serial} has a transfer in the making: send that request again to go on with"
                " it, or cancel it.",
                transfer_id=open_ones[0],
                serial=self._context.serial,
            )
        if isinstance(verdict, Refused) and not self._only_asks_again(verdict):
            raise verdict.error

    def _only_asks_again(self, verdict: Refused) -> bool:
        """The newest context once more, and nothing asked for but what is there already: a repeat of `auto_update`."""
        return self._request.action is TransferAction.AUTO_UPDATE and isinstance(
            verdict.error, ContextReplayed
        )

    def _plan(self, container: Container, candidates: Sequence[License]) -> tuple[PlannedAction, ...]:
        target = Target(serial=container.serial, container_type=container.container_type)
        return plan_actions(self._request.wish, candidates, target=target, now=self._tx.now)

    def _open_transfer(
        self, container: Container, planned: Sequence[PlannedAction], missing: Sequence[UnfinishedTransfer]
    ) -> JsonObject:
        tx, request = self._tx, self._request
        transfer_id = TransferId(new_id("trf"))
        for each in planned:
            if not licenses.hold_license(tx, each.license, transfer_id):
                raise LicensePending(
                    f"Licence {each.license.license_id} is being moved by another transfer; try again shortly.",
                    license_id=each.license.license_id,
                )
        month = month_of(tx.now)
        moves = [(each.license.license_id, each.action) for each in planned]
        metering.reserve(tx, effects_of(transfer_id, moves, principal=request.principal), month=month)
        new = self._new_transfer(transfer_id, container, planned, missing=missing, month=str(month))
        self.opened = repository.add_transfer(tx, new, moves)
        tx.emit(
            "transfer.reserved",
            subject=transfer_id,
            data={
                "transfer_id": transfer_id,
                "container": container.serial,
                "action": str(request.action),
                "fuc": new.fuc,
                "licenses": [license_id for license_id, _ in moves],
            },
        )
        self._charge(tx)
        return {"transfer_id": transfer_id, "started": str(Started.NEW)}

    def _new_transfer(
        self,
        transfer_id: TransferId,
        container: Container,
        planned: Sequence[PlannedAction],
        *,
        missing: Sequence[UnfinishedTransfer],
        month: str,
    ) -> NewTransfer:
        now, context = self._tx.now, self._context
        operations = [_operation_of(each) for each in planned]
        fuc = container.fuc_issued + 1
        steps: list[JsonObject] = [{"fuc": each.fuc, "operations": list(each.operations)} for each in missing]
        steps.append({"fuc": fuc, "operations": operations})
        check_size(len(steps), len(dump_json(steps).encode()))
        return NewTransfer(
            transfer_id=transfer_id,
            natural_key=self._natural_key,
            container=container.serial,
            ticket=self._request.wish.ticket,
            action=self._request.action,
            base_fuc=context.fuc,
            fuc=fuc,
            operations=operations,
            job={
                "instance_id": self._identity.instance_id,
                "pool": self._identity.pool,
                "firm_code": self._identity.firm_code,
                "container_serial": container.serial,
                "container_key": dict(context.encryption_key),
                "base_fuc": context.fuc,
                "context_digest": context.digest,
                "steps": steps,
                "deadline_at_us": to_us(now + self._deadlines.program),
                "priority": self._request.priority,
            },
            month=month,
            retry_at=now + min(self._deadlines.lease, self._deadlines.program),
            deadline_at=now + self._deadlines.program,
        )


def effects_of(
    transfer_id: TransferId, moves: Sequence[tuple[LicenseId, LicenseAction]], *, principal: str = ""
) -> list[Effect]:
    """What the ledger counts for a transfer: one effect per licence, numbered in the order of the licence ids."""
    ordered = sorted(moves)
    return [
        Effect(
            effect_id=f"{transfer_id}:{number}",
            kind="activation" if action is LicenseAction.ACTIVATE else "deactivation",
            subject=license_id,
            reference=transfer_id,
            principal=principal,
        )
        for number, (license_id, action) in enumerate(ordered)
    ]


def _report(context: Context) -> Report:
    return Report(key_thumbprint=context.signing_key_thumbprint, fuc=context.fuc, made_at=context.made_at)


def _operation_of(planned: PlannedAction) -> JsonObject:
    license_ = planned.license
    adds = planned.action is LicenseAction.ACTIVATE
    return {
        "op": "add_product_item" if adds else "delete_product_item",
        "license_id": license_.license_id,
        "generation": license_.generation,
        "product": options_to_json(license_.options)
        if adds
        else {"product_code": license_.options.product_code},
    }
