"""Brings a reserved transfer to its end: sends its job, and issues or rolls back by what comes of it.

 drive ──► program ──► result ──────────────► issue
              │ pending, or not decided ────► let go: due again soon, for whoever sweeps first
              │ refused for good ───────────► roll back
              └ past its deadline: asked for a last time; result ► issue, anything else ► roll back, cancel

No thread and no connection is held while a box works.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread

from app.core.command import Command
from app.core.db import Database, Tx
from app.core.ids import TransferId
from app.core.json import JsonObject
from app.licensing.errors import ContainerBlocked, ContainerUnexpectedState, TransferRolledBack
from app.licensing.transfer import outcome, repository
from app.licensing.transfer.job import InstanceIdentity, job_of
from app.licensing.transfer.programmer import ANSWER_WITHIN, Programmer, answered
from app.licensing.transfer.reaction import DEADLINE_PASSED, reaction_to
from app.licensing.transfer.refusal import Refusals
from app.licensing.transfer.repository import OpenedTransfer
from app.licensing.transfer.reservation import Deadlines
from app.licensing.transfer.standing import Standing, not_known, standing_of
from app.licensing.transfer.transfer_plan import Transfer, TransferState
from fsb_gateway import (
    FsbError,
    FsbRejected,
    JobCancelled,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
)

T = TypeVar("T")

CANCELLED: Final = "cancelled"
"""Reason of a transfer that its caller gave up."""
ASK_AGAIN_AFTER: Final = timedelta(seconds=1)
"""First pause before a slow or unreachable box is asked again for a transfer; it doubles up to the lease. Our own
decision."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One attempt to bring a transfer to its end.

    Attributes:
        wait: how long for the box.
        is_new: its job has not been sent before, so nobody has been told yet that it will be done.
        is_claimed: whether it is due again only by what this attempt notes.
        threads: for the database; None for those of requests.
    """

    wait: timedelta
    is_new: bool = False
    is_claimed: bool = True
    threads: CapacityLimiter | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Do something that blocks."""
        return await to_thread.run_sync(work, limiter=self.threads)


class TransferDriver:
    """Drives the transfers of one instance in one process. No thread and no connection is held while a box works.

    Args:
        patience: how long callers wait for a slow box.
    """

    def __init__(
        self,
        db: Database,
        *,
        identity: Callable[[], InstanceIdentity],
        programmer: Programmer,
        deadlines: Deadlines,
        patience: timedelta,
    ) -> None:
        self._db = db
        self._identity = identity
        self._programmer = programmer
        self._deadlines = deadlines
        self._patience = patience
        self._driving: dict[TransferId, asyncio.Event] = {}
        self._cancelling: dict[TransferId, asyncio.Event] = {}
        self.refusals = Refusals(
            first=ASK_AGAIN_AFTER.total_seconds(), longest=deadlines.lease.total_seconds()
        )

    def is_driving(self, transfer_id: TransferId) -> bool:
        """Whether somebody in this process waits for the box already."""
        return transfer_id in self._driving

    async def drive_on(self, transfer_id: TransferId, how: Drive) -> Transfer:
        """Drive a transfer that was opened before.

        Raises:
            TransferNotFound: there is none.
            FsbError, TransferRolledBack: see `drive`.
        """
        opened = await how.run(lambda: self._db.read(lambda it: repository.open_transfer(it, transfer_id)))
        return await self.drive(opened, how)

    async def drive(self, opened: OpenedTransfer, how: Drive) -> Transfer:
        """Send the job of a transfer that is still reserved, and take what comes of it into the books.

        Raises:
            BoxQueueFull, JobCancelled: it was rolled back because of that.
            TransferRolledBack: it was rolled back for another reason just now.
        """
        transfer_id = opened.transfer.transfer_id
        if opened.job is None:
            return opened.transfer
        ended = self._driving.get(transfer_id)
        if ended is not None:
            # Another request of this process drives it: wait for that one, not for the box.
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), how.wait.total_seconds())
            return await self._read_standing(transfer_id, how)
        with _noted(self._driving, transfer_id):
            return await self._program(opened.transfer, opened.job, how)

    async def standing(self, transfer_id: TransferId) -> Standing:
        """Where the job of a reserved transfer stands; never fails, and takes two seconds at most."""
        try:
            found = await answered(self._programmer.find(transfer_id, wait=timedelta(0)))
        except FsbError as error:
            return not_known(error.code)
        if isinstance(found, JobPending):
            return standing_of(found)
        # It is programmed, and its line is about to issue it.
        return Standing(
            state="running", position=0, expected_wait=timedelta(0), expected_wait_p95=timedelta(0)
        )

    async def cancel(self, transfer: Transfer, roll_back: Callable[[], bool]) -> None:
        """Take the job of a reserved transfer out of its queue, and roll the transfer back.

        Nothing is undone if this process dies in between: then the job is sent again, as it is at once if the transfer
        cannot be rolled back.

        Args:
            roll_back: blocks; whether it was still to be done does not matter here.

        Raises:
            JobRunning: a box has begun.
            FsbUnavailable: the gateway did not answer; nothing has changed.
            DomainError: the roll-back was refused; the job has lost its place in the queue, and nothing else.
        """
        transfer_id, how = transfer.transfer_id, Drive(wait=timedelta(0))
        opened = await how.run(lambda: self._db.read(lambda it: repository.open_transfer(it, transfer_id)))
        # While it can still be read: afterwards it may be the database that fails.
        job = None if opened.job is None else await self._job(transfer_id, opened.job, how)
        with _noted(self._cancelling, transfer_id):
            await self._take_out(transfer_id)
            try:
                await how.run(roll_back)
            except Exception:
                await self._put_back(job)
                raise

    async def _put_back(self, job: ProgrammingJob | None) -> None:
        """Send a job again that was taken out in vain; what that leads to is for the sweep."""
        if job is not None:
            with suppress(FsbError):
                await answered(self._programmer.program(job, wait=timedelta(0)))

    async def _take_out(self, transfer_id: TransferId) -> None:
        try:
            await answered(self._programmer.cancel(transfer_id))
        except FsbError as error:
            # A gateway that does not have it cannot do it; if another line sends it, what is made is thrown away.
            if error.code != "job_unknown":
                raise

    async def _read_standing(self, transfer_id: TransferId, how: Drive) -> Transfer:
        transfer = await how.run(lambda: self.read(transfer_id))
        if transfer.state is not TransferState.RESERVED:
            return transfer
        return replace(transfer, standing=await self.standing(transfer_id))

    def read(self, transfer_id: TransferId) -> Transfer:
        """A transfer as the books have it. Blocks.

        Raises:
            TransferNotFound: there is none.
        """
        return self._db.read(lambda reader: repository.get_transfer(reader, transfer_id))

    async def _program(self, transfer: Transfer, stored: JsonObject, how: Drive) -> Transfer:
        if self._db.clock.now() >= transfer.deadline_at:
            return await self._end_late(transfer, how)
        job = await self._job(transfer.transfer_id, stored, how)
        try:
            asked = self._programmer.program(job, wait=how.wait)
            result = await answered(asked, within=how.wait + ANSWER_WITHIN)
        except JobCancelled as error:
            return await self._see_cancelled(transfer, error, how)
        except FsbError as error:
            return await self._react(transfer, error, how)
        self.refusals.forget(transfer.transfer_id)
        if isinstance(result, JobPending):
            return await self._let_go(transfer, standing_of(result), how)
        return await self._issue(transfer, result, how)

    async def _job(self, transfer_id: TransferId, stored: JsonObject, how: Drive) -> ProgrammingJob:
        return await how.run(lambda: job_of(transfer_id, stored, self._identity()))

    async def _issue(self, transfer: Transfer, result: ProgrammingResult, how: Drive) -> Transfer:
        try:
            return await how.run(lambda: outcome.issue(self._db, transfer, result))
        except TransferRolledBack as error:
            raise why_rolled_back(await how.run(lambda: self.read(transfer.transfer_id))) from error

    async def _react(self, transfer: Transfer, error: FsbError, how: Drive) -> Transfer:
        reaction = reaction_to(error)
        told = {"transfer_id": transfer.transfer_id, "code": error.code}
        if not (reaction.gives_up if how.is_new else reaction.gives_up_later):
            # Nothing is decided: the job is sent again, under the same id, until the deadline.
            # Where nothing is due, the gateway was heard a moment ago: then even silence is its answer.
            holds = isinstance(error, FsbRejected) or not how.is_claimed
            at = self._db.clock.monotonic()
            is_first = self.refusals.note(transfer.transfer_id, at=at, holds=holds)
            _log.log(logging.WARNING if is_first else logging.INFO, "box_not_reached", extra=told)
            return await self._let_go(transfer, not_known(error.code), how)
        self.refusals.forget(transfer.transfer_id)
        ended = await self._give_up(transfer, reaction.reason or error.code, how)
        if ended.state is not TransferState.ROLLED_BACK:
            return ended
        raise (error if reaction.tells else why_rolled_back(ended)) from error

    async def _see_cancelled(self, transfer: Transfer, error: JobCancelled, how: Drive) -> Transfer:
        """Somebody took the job out of its queue and rolls the transfer back; he is waited for if he is here."""
        cancelling = self._cancelling.get(transfer.transfer_id)
        if cancelling is not None:
            await cancelling.wait()
        ended = await how.run(lambda: self.read(transfer.transfer_id))
        if ended.state is TransferState.RESERVED:
            return await self._let_go(transfer, not_known(error.code), how)
        if ended.state is TransferState.ROLLED_BACK:
            raise why_rolled_back(ended) from error
        return ended

    async def _end_late(self, transfer: Transfer, how: Drive) -> Transfer:
        """Past its deadline: what a box has made by now is issued, anything else is given up.

        Whatever a box makes of it later is thrown away; the container's next context decides what it gets.
        """
        with suppress(FsbError):
            found = await answered(self._programmer.find(transfer.transfer_id, wait=timedelta(0)))
            if isinstance(found, ProgrammingResult):
                return await self._issue(transfer, found, how)
        ended = await self._give_up(transfer, DEADLINE_PASSED, how)
        with suppress(FsbError):
            await answered(self._programmer.cancel(transfer.transfer_id))
        return ended

    async def _let_go(self, transfer: Transfer, standing: Standing, how: Drive) -> Transfer:
        """Leave a transfer to the next sweep, which asks for its result soon instead of when the lease ends.

        From when its caller has stopped waiting, each pause is as long as all before it.
        """
        now = self._db.clock.now()
        waited = now - transfer.created_at - self._patience
        pause = min(max(waited, ASK_AGAIN_AFTER), self._deadlines.lease)
        until = min(now + pause, transfer.deadline_at)

        def let_go(tx: Tx) -> JsonObject:
            repository.let_go(tx, transfer.transfer_id, until=until)
            tx.forget(tx.op_id)
            return {}

        if how.is_claimed:
            await how.run(lambda: self._db.run_tx(Command().op_id, let_go))
        return replace(transfer, standing=standing)

    async def _give_up(self, transfer: Transfer, reason: str, how: Drive) -> Transfer:
        """Roll back, unless somebody else was faster; how the transfer ended is the answer, whoever ended it."""

        def roll_back() -> Transfer:
            outcome.roll_back(self._db, transfer, reason)
            return self.read(transfer.transfer_id)

        return await how.run(roll_back)


@contextmanager
def _noted(where: dict[TransferId, asyncio.Event], transfer_id: TransferId) -> Iterator[None]:
    """Let others see that somebody is at work on a transfer, and wait until he has ended."""
    ended = asyncio.Event()
    where[transfer_id] = ended
    try:
        yield
    finally:
        if where.get(transfer_id) is ended:
            del where[transfer_id]
        ended.set()


def why_rolled_back(transfer: Transfer) -> TransferRolledBack | JobCancelled:
    """What the caller of a transfer hears that was rolled back."""
    if transfer.reason == CANCELLED:
        return JobCancelled(
            "The transfer was cancelled. Nothing was counted and the licences are free again.",
            transfer_id=transfer.transfer_id,
        )
    stopped = transfer.reason in (ContainerBlocked.code, ContainerUnexpectedState.code)
    why = "Its container was stopped meanwhile." if stopped else "No box could program this transfer."
    return TransferRolledBack(
        f"{why} Nothing was counted and the licences are free again; try again later.",
        transfer_id=transfer.transfer_id,
        reason=transfer.reason,
    )
