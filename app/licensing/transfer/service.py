"""The licence path from a request to an update: reserve → program → issue, and what keeps it going when something dies.

    request ──► reserve (transaction 1) ──► box programs ──► issue (transaction 2) ──► update
                      │                        │ slow: 202, and `drive_due` finishes it
                      │                        │ refused or past the deadline: roll_back (nothing counted)
                      └── killed anywhere: the reserved transfer is due again after its lease, with the same job id

No thread and no connection is held while a box works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol

from anyio import to_thread

from app.core.clock import from_us
from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import TransferId
from app.core.json import JsonObject, JsonValue
from app.licensing.errors import ContainerBlocked, ContainerUnexpectedState, TransferRolledBack
from app.licensing.transfer import outcome, repository
from app.licensing.transfer.confirmation import confirm_by_receipt
from app.licensing.transfer.repository import DueTransfer, OpenedTransfer
from app.licensing.transfer.reservation import Deadlines, InstanceIdentity, TransferRequest, reserve
from app.licensing.transfer.transfer_plan import Started, Transfer, TransferState
from fsb_gateway import (
    BoxQueueFull,
    Context,
    FsbProtocolError,
    FsbRejected,
    FsbUnavailable,
    JobPending,
    PoolUnknown,
    ProgrammingJob,
    ProgrammingOperation,
    ProgrammingResult,
    ProgrammingStep,
)

DUE_AT_ONCE: Final = 50
"""Left-over transfers taken up in one sweep; the next sweep takes the rest."""

ASK_AGAIN_AFTER: Final = timedelta(seconds=1)
"""First pause before a slow or unreachable box is asked again for a transfer; it doubles up to the lease. Our own
decision."""

_log = logging.getLogger(__name__)


class Programmer(Protocol):
    """The part of the gateway's client that the licence path needs."""

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job programmed, waiting at most `wait` for it."""
        ...


class TransferService:
    """Transfers of one instance.

    Args:
        db: the instance's database.
        identity: gives the instance's firm code and pool as they are now.
        programmer: the gateway.
        wait: how long a caller waits for a slow box before he gets the transfer's address instead.
    """

    def __init__(
        self,
        db: Database,
        *,
        identity: Callable[[], InstanceIdentity],
        programmer: Programmer,
        deadlines: Deadlines | None = None,
        wait: timedelta = timedelta(seconds=20),
    ) -> None:
        self._db = db
        self._identity = identity
        self._programmer = programmer
        self._deadlines = deadlines or Deadlines()
        self._wait = wait
        self._driving: dict[TransferId, asyncio.Event] = {}

    async def start_transfer(
        self, request: TransferRequest, command: Command, *, wait: timedelta | None = None
    ) -> tuple[Transfer | None, Started]:
        """Carry a request out as far as it goes within the wait.

        Returns:
            The transfer (still `reserved` when the box is slow; None when there was nothing to update), and
            how it came about.

        Raises:
            LicensingError, QuotaExceeded: refused; nothing changed.
            TransferRolledBack, BoxQueueFull: no box could do it; nothing was counted.
        """

        def open_transfer() -> tuple[OpenedTransfer | None, Started]:
            found = reserve(self._db, request, self._identity(), deadlines=self._deadlines, command=command)
            if found.opened is not None or found.transfer_id is None:
                return found.opened, found.started
            return self._open(found.transfer_id), found.started

        opened, started = await to_thread.run_sync(open_transfer)
        if opened is None:
            return None, started
        transfer = await self._drive(opened, self._wait if wait is None else wait)
        if transfer.state is TransferState.ROLLED_BACK:
            raise _rolled_back(transfer)
        return transfer, started

    def _open(self, transfer_id: TransferId) -> OpenedTransfer:
        return self._db.read(lambda reader: repository.open_transfer(reader, transfer_id))

    async def _drive(self, opened: OpenedTransfer, wait: timedelta) -> Transfer:
        transfer_id = opened.transfer.transfer_id
        if opened.job is None:
            return opened.transfer
        ended = self._driving.get(transfer_id)
        if ended is not None:
            # Another request of this process drives it: wait for that one, not for the box.
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), wait.total_seconds())
            return await to_thread.run_sync(self.get_transfer, transfer_id)
        ended = self._driving[transfer_id] = asyncio.Event()
        try:
            return await self._program(opened.transfer, opened.job, wait)
        finally:
            del self._driving[transfer_id]
            ended.set()

    async def _program(self, transfer: Transfer, job: JsonObject, wait: timedelta) -> Transfer:
        if self._db.clock.now() >= transfer.deadline_at:
            return await self._give_up(transfer, "deadline_passed")
        try:
            result = await self._programmer.program(job_from_json(transfer.transfer_id, job), wait=wait)
        except (FsbUnavailable, FsbProtocolError, PoolUnknown) as error:
            # Nothing is decided: the job is sent again, under the same id, until the deadline.
            _log.warning("box_not_reached", extra={"transfer_id": transfer.transfer_id, "code": error.code})
            return await self._let_go(transfer)
        except FsbRejected as error:
            ended = await self._give_up(transfer, error.code)
            if ended.state is not TransferState.ROLLED_BACK:
                return ended
            raise (error if isinstance(error, BoxQueueFull) else _rolled_back(ended)) from error
        if isinstance(result, JobPending):
            return await self._let_go(transfer)
        return await to_thread.run_sync(outcome.issue, self._db, transfer, result)

    async def _let_go(self, transfer: Transfer) -> Transfer:
        """Leave a transfer to the next sweep, which asks for its result soon instead of when the lease ends.

        From when its caller has stopped waiting, each pause is as long as all before it.
        """
        now = self._db.clock.now()
        waited = now - transfer.created_at - self._wait
        pause = min(max(waited, ASK_AGAIN_AFTER), self._deadlines.lease)
        until = min(now + pause, transfer.deadline_at)

        def let_go(tx: Tx) -> JsonObject:
            repository.let_go(tx, transfer.transfer_id, until=until)
            tx.forget(tx.op_id)
            return {}

        await to_thread.run_sync(self._db.run_tx, Command().op_id, let_go)
        return transfer

    async def _give_up(self, transfer: Transfer, reason: str) -> Transfer:
        """Roll back, unless somebody else was faster; how the transfer ended is the answer, whoever ended it."""

        def roll_back() -> Transfer:
            outcome.roll_back(self._db, transfer, reason)
            return self.get_transfer(transfer.transfer_id)

        return await to_thread.run_sync(roll_back)

    async def confirm_transfer(
        self, transfer_id: TransferId, receipt: Context, command: Command
    ) -> tuple[Transfer, bool]:
        """Confirm a transfer by its container's receipt; says whether anything was new.

        Raises:
            LicensingError: see `confirm_by_receipt`.
        """
        firm_code = self._identity().firm_code

        def confirm() -> tuple[Transfer, bool]:
            new = confirm_by_receipt(self._db, transfer_id, receipt, firm_code=firm_code, command=command)
            return self.get_transfer(transfer_id), new

        return await to_thread.run_sync(confirm)

    def get_transfer(self, transfer_id: TransferId) -> Transfer:
        """A transfer as it stands.

        Raises:
            TransferNotFound: there is none.
        """
        return self._db.read(lambda reader: repository.get_transfer(reader, transfer_id))

    async def drive_due(self, *, wait: timedelta = timedelta(0)) -> int:
        """Take up reserved transfers that nobody drives any more; returns how many.

        Each is claimed by a compare-and-set, so that two lines do not both send it (it would do no harm).
        """
        return await self._drive_each(await to_thread.run_sync(self._claim_due), wait)

    async def drive_left_over(self, *, before: datetime, wait: timedelta = timedelta(0)) -> int:
        """Take up what was reserved before a time, leases or not: when a process starts that is the only driver."""
        left_over = await to_thread.run_sync(find_left_over, self._db, before)
        return await self._drive_each([each for each in left_over if each not in self._driving], wait)

    async def _drive_each(self, transfers: list[TransferId], wait: timedelta) -> int:
        for transfer_id in transfers:
            try:
                await self._drive(await to_thread.run_sync(self._open, transfer_id), wait)
            except (TransferRolledBack, BoxQueueFull) as error:
                _log.info("transfer_rolled_back", extra={"transfer_id": transfer_id, "code": error.code})
            except Exception:
                # One that cannot be ended must not keep the others waiting; its own deadline still holds.
                _log.exception("transfer_not_driven", extra={"transfer_id": transfer_id})
        return len(transfers)

    def _claim_due(self) -> list[TransferId]:
        due = self._db.read(lambda reader: repository.list_due(reader, limit=DUE_AT_ONCE))
        return [
            each.transfer_id for each in due if each.transfer_id not in self._driving and self._claim(each)
        ]

    def _claim(self, due: DueTransfer) -> bool:
        """Take a due transfer's driving over for a lease, but not past its deadline: then it is due again at once."""
        now = self._db.clock.now()
        until = now + self._deadlines.lease
        if due.deadline_at > now:
            until = min(until, due.deadline_at)

        def claim(tx: Tx) -> JsonObject:
            tx.forget(tx.op_id)
            return {"claimed": repository.put_off(tx, due.transfer_id, until=until)}

        return bool(self._db.run_tx(Command().op_id, claim).value["claimed"])


def find_left_over(db: Database, before: datetime) -> list[TransferId]:
    """Transfers of an instance that were reserved before a time and have not ended. Blocks for a read."""
    return db.read(lambda reader: repository.list_left_over(reader, before=before))


def _rolled_back(transfer: Transfer) -> TransferRolledBack:
    stopped = transfer.reason in (ContainerBlocked.code, ContainerUnexpectedState.code)
    why = "Its container was stopped meanwhile." if stopped else "No box could program this transfer."
    return TransferRolledBack(
        f"{why} Nothing was counted and the licences are free again; try again later.",
        transfer_id=transfer.transfer_id,
        reason=transfer.reason,
    )


def job_from_json(transfer_id: TransferId, stored: JsonObject) -> ProgrammingJob:
    """The job as it was stored at the reservation; the box gets the same bytes however often it is sent."""
    steps = _list(stored["steps"])
    return ProgrammingJob(
        job_id=transfer_id,
        instance_id=str(stored["instance_id"]),
        pool=str(stored["pool"]),
        firm_code=_int(stored["firm_code"]),
        container_serial=str(stored["container_serial"]),
        container_key={name: str(value) for name, value in _object(stored["container_key"]).items()},
        base_fuc=_int(stored["base_fuc"]),
        context_digest=str(stored["context_digest"]),
        steps=tuple(
            ProgrammingStep(
                fuc=_int(_object(step)["fuc"]), operations=_operations(_object(step)["operations"])
            )
            for step in steps
        ),
        deadline_at=from_us(_int(stored["deadline_at_us"])),
    )


def _operations(stored: JsonValue) -> tuple[ProgrammingOperation, ...]:
    return tuple(
        ProgrammingOperation(
            op="add_product_item" if each["op"] == "add_product_item" else "delete_product_item",
            license_id=str(each["license_id"]),
            generation=_int(each["generation"]),
            product=dict(_object(each["product"])),
        )
        for each in map(_object, _list(stored))
    )


def _int(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise TypeError("a stored job holds a number here")
    return value


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise TypeError("a stored job holds an object here")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError("a stored job holds a list here")
    return value
