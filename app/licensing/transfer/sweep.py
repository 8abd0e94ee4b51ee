"""What keeps reserved transfers going that nobody waits for: they are driven on, by whichever line comes first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from anyio import CapacityLimiter, to_thread

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import TransferId
from app.core.json import JsonObject
from app.licensing.errors import TransferRolledBack
from app.licensing.transfer import repository
from app.licensing.transfer.driver import ASK_AGAIN_AFTER, Drive, TransferDriver
from app.licensing.transfer.job import InstanceIdentity
from app.licensing.transfer.programmer import Programmer, answered
from app.licensing.transfer.repository import DueTransfer, ReservedTransfer
from app.licensing.transfer.reservation import Deadlines
from fsb_gateway import BoxQueueFull, FsbError, InstanceQueueReport, JobCancelled

DUE_AT_ONCE: Final = 50
"""Left-over transfers taken up in one sweep; the next sweep takes the rest."""
LEFT_OVER_WAIT: Final = timedelta(milliseconds=200)
"""For a box that is quick; a slow one must not keep other instances' jobs from being sent. Our own decision."""
_THREADS: Final = 8
"""Of a sweep at one database, so that requests find it free. Our own decision."""

_log = logging.getLogger(__name__)


class TransferSweep:
    """Drives on what is left in the making at one instance. All of one sweep is under way at once."""

    def __init__(
        self,
        db: Database,
        driver: TransferDriver,
        *,
        identity: Callable[[], InstanceIdentity],
        programmer: Programmer,
        deadlines: Deadlines,
    ) -> None:
        self._db = db
        self._driver = driver
        self._identity = identity
        self._programmer = programmer
        self._deadlines = deadlines

    async def drive_due(self, wait: timedelta) -> int:
        """Take up reserved transfers whose lease is over; returns how many.

        Each is claimed by a compare-and-set, so that two lines do not both send it (it would do no harm).
        """
        due = await to_thread.run_sync(self._claim_due)
        await self._drive_each(due, wait, is_claimed=True)
        return len(due)

    async def drive_left_over(self, before: datetime, wait: timedelta) -> int:
        """Take up what was reserved before a time, leases or not; returns how many."""
        reserved = await to_thread.run_sync(self._list_reserved)
        left_over = self._nobodys(_reserved_before(reserved, before))
        await self._drive_each(left_over, wait, is_claimed=True)
        return len(left_over)

    async def drive_forgotten(self) -> int:
        """Send jobs that the gateway does not have open: it was started anew, or has ended them; returns how many.

        Without a gateway nothing happens: what is due is tried all the same, see `drive_due`. What a gateway refuses
        is not sent to it at every sweep.
        """
        now, at = self._db.clock.now(), self._db.clock.monotonic()
        reserved = await to_thread.run_sync(self._list_reserved)
        self._driver.refusals.forget_all_but({each.transfer_id for each in reserved})
        old = _reserved_before(reserved, now - ASK_AGAIN_AFTER)
        refusals = self._driver.refusals
        sendable = [each for each in self._nobodys(old) if not refusals.is_held(each, at=at)]
        if not sendable:
            return 0
        identity = await to_thread.run_sync(self._identity)
        try:
            report = await answered(self._programmer.queue(identity.instance_id, pool=identity.pool))
        except FsbError as error:
            _log.info("queue_not_read", extra={"code": error.code})
            return 0
        missing = _not_open([each.transfer_id for each in reserved], report)
        forgotten = [each for each in self._nobodys(sendable) if each in missing]
        await self._drive_each(forgotten, timedelta(0), is_claimed=False)
        return len(forgotten)

    async def has_open(self) -> bool:
        """Whether any transfer of the instance is in the making."""
        return await to_thread.run_sync(has_open_transfers, self._db)

    def _list_reserved(self) -> list[ReservedTransfer]:
        return self._db.read(repository.list_reserved)

    def _nobodys(self, transfers: Sequence[TransferId]) -> list[TransferId]:
        return [each for each in transfers if not self._driver.is_driving(each)]

    async def _drive_each(
        self, transfers: Collection[TransferId], wait: timedelta, *, is_claimed: bool
    ) -> None:
        how = Drive(wait=wait, is_claimed=is_claimed, threads=CapacityLimiter(_THREADS))
        drives = [asyncio.create_task(self._drive_one(each, how)) for each in transfers]
        try:
            await asyncio.gather(*drives)
        finally:
            # None of them outlives the sweep, however it ends.
            for each in drives:
                each.cancel()
            await asyncio.gather(*drives, return_exceptions=True)

    async def _drive_one(self, transfer_id: TransferId, how: Drive) -> None:
        try:
            await self._driver.drive_on(transfer_id, how)
        except (TransferRolledBack, BoxQueueFull, JobCancelled) as error:
            _log.info("transfer_rolled_back", extra={"transfer_id": transfer_id, "code": error.code})
        except Exception:
            # One that cannot be ended must not keep the others waiting; its own deadline still holds.
            _log.exception("transfer_not_driven", extra={"transfer_id": transfer_id})

    def _claim_due(self) -> list[TransferId]:
        due = self._db.read(lambda reader: repository.list_due(reader, limit=DUE_AT_ONCE))
        nobodys = self._nobodys([each.transfer_id for each in due])
        return [each.transfer_id for each in due if each.transfer_id in nobodys and self._claim(each)]

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


def has_open_transfers(db: Database) -> bool:
    """Whether any transfer of an instance is in the making. Blocks for a read."""
    return db.read(repository.has_reserved)


def _reserved_before(reserved: Sequence[ReservedTransfer], before: datetime) -> list[TransferId]:
    return [each.transfer_id for each in reserved if each.created_at < before]


def _not_open(reserved: Sequence[TransferId], report: InstanceQueueReport) -> Collection[TransferId]:
    """Those whose jobs the gateway neither has waiting nor at a box.

    Args:
        reserved: all that are in the making: what the gateway has of the instance is among them.
    """
    listed = {each.job_id for each in report.jobs}
    others = {each for each in reserved if each not in listed}
    # A long queue is listed in part; as long as the numbers fit, the rest of it are these.
    unlisted = report.waiting + report.running + report.unknown - len(report.jobs)
    return others if len(others) > unlisted else ()
