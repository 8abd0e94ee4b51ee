"""The licence path from a request to an update: reserve → program → issue, and what keeps it going when something dies.

    request ──► reserve (transaction 1) ──► box programs ──► issue (transaction 2) ──► update
                      │                        │ slow: 202, and the sweep finishes it
                      │                        │ refused, cancelled or past the deadline: roll_back (nothing counted)
                      └── killed anywhere: the reserved transfer is due again after its lease, with the same job id

No thread and no connection is held while a box works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from anyio import to_thread

from app.core.command import Command
from app.core.db import Database
from app.core.ids import TransferId
from app.licensing.errors import TransferIssued, TransferNotFound
from app.licensing.transfer import outcome, repository
from app.licensing.transfer.confirmation import confirm_by_receipt, is_from
from app.licensing.transfer.driver import CANCELLED, Drive, TransferDriver, why_rolled_back
from app.licensing.transfer.job import InstanceIdentity
from app.licensing.transfer.programmer import Programmer, answered
from app.licensing.transfer.repository import OpenedTransfer
from app.licensing.transfer.reservation import Deadlines, Reservation, TransferRequest, reserve
from app.licensing.transfer.sweep import LEFT_OVER_WAIT, TransferSweep
from app.licensing.transfer.transfer_plan import Started, Transfer, TransferState
from fsb_gateway import Context, InstanceQueueReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What somebody shows who is not the vendor, to cancel a transfer: its ticket, or a file of its container."""

    ticket: str | None
    context: Context | None


class TransferService:
    """Transfers of one instance.

    Args:
        db: the instance's database.
        identity: gives the instance's firm code, pool and share as they are now; may block for a read.
        programmer: the gateway.
        on_open: told whenever a transfer may have been reserved, from any thread: someone has to look after it.
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
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._db = db
        self._identity = identity
        self._programmer = programmer
        self._deadlines = deadlines or Deadlines()
        self._wait = wait
        self._on_open = on_open
        self._driver = TransferDriver(
            db, identity=identity, programmer=programmer, deadlines=self._deadlines, patience=wait
        )
        self._sweep = TransferSweep(
            db, self._driver, identity=identity, programmer=programmer, deadlines=self._deadlines
        )

    async def start_transfer(
        self, request: TransferRequest, command: Command, *, wait: timedelta | None = None
    ) -> tuple[Transfer | None, Started]:
        """Carry a request out as far as it goes within the wait.

        Returns:
            The transfer (still `reserved` when the box is slow, with where its job stands; None when there was
            nothing to update), and how it came about.

        Raises:
            LicensingError, QuotaExceeded: refused; nothing changed.
            TransferRolledBack, BoxQueueFull, JobCancelled: no box did it; nothing was counted.
        """

        def open_transfer() -> tuple[OpenedTransfer | None, Started]:
            found = self._reserve(request, command)
            if found.opened is not None or found.transfer_id is None:
                return found.opened, found.started
            transfer_id = found.transfer_id
            return self._db.read(lambda it: repository.open_transfer(it, transfer_id)), found.started

        opened, started = await to_thread.run_sync(open_transfer)
        if opened is None:
            return None, started
        how = Drive(wait=self._wait if wait is None else wait, is_new=started is Started.NEW)
        transfer = await self._driver.drive(opened, how)
        if transfer.state is TransferState.ROLLED_BACK:
            raise why_rolled_back(transfer)
        return transfer, started

    def _reserve(self, request: TransferRequest, command: Command) -> Reservation:
        identity = self._identity()
        try:
            return reserve(self._db, request, identity, deadlines=self._deadlines, command=command)
        finally:
            # Afterwards, so that a sweep that found nothing yet looks again; whatever fails now, it is known.
            self._on_open()

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

    async def cancel_transfer(
        self, transfer_id: TransferId, command: Command, *, shown: Shown | None = None
    ) -> tuple[Transfer, bool]:
        """Give a transfer up that no box has begun: licences, quota and context are free again, nothing is counted.

        Args:
            transfer_id: the transfer.
            command: who asks.
            shown: what makes a stranger believed; None for the vendor himself.

        Returns:
            The transfer, rolled back, and whether that was still to be done.

        Raises:
            TransferNotFound: there is none, or what was shown has nothing to do with it.
            TransferIssued: its update is there.
            JobRunning: a box works on it, or may do so; it has to finish.
            FsbUnavailable: the gateway cannot be asked; nothing has changed.
            OperationIdReused: the id was used for something else before; nothing has changed.
        """

        def check() -> Transfer:
            found = self._check_shown(transfer_id, shown)
            self._db.check_command(command)
            return found

        transfer = await to_thread.run_sync(check)
        new = False

        def roll_back() -> bool:
            nonlocal new
            new = outcome.roll_back(self._db, transfer, CANCELLED, command=command)
            return new

        if transfer.state is TransferState.RESERVED:
            await self._driver.cancel(transfer, roll_back)
            transfer = await to_thread.run_sync(self.get_transfer, transfer_id)
        if transfer.state is not TransferState.ROLLED_BACK:
            raise TransferIssued(
                "This transfer has its update already. Apply it, and return the licences if you do not want them.",
                transfer_id=transfer_id,
            )
        return transfer, new

    def _check_shown(self, transfer_id: TransferId, shown: Shown | None) -> Transfer:
        transfer = self.get_transfer(transfer_id)
        if shown is not None and not self._concerns(shown, transfer):
            raise TransferNotFound(f"There is no transfer {transfer_id}.", transfer_id=transfer_id)
        return transfer

    def _concerns(self, shown: Shown, transfer: Transfer) -> bool:
        if shown.ticket is not None and shown.ticket == transfer.ticket:
            return True
        context = shown.context
        if context is None:
            return False
        firm_code = self._identity().firm_code
        return self._db.read(lambda it: is_from(it, transfer, context, firm_code=firm_code))

    def get_transfer(self, transfer_id: TransferId) -> Transfer:
        """A transfer as the books have it. Blocks for a read.

        Raises:
            TransferNotFound: there is none.
        """
        return self._driver.read(transfer_id)

    async def follow_transfer(self, transfer_id: TransferId) -> Transfer:
        """A transfer as it stands; the gateway is asked about one that is still reserved, for two seconds at most.

        Raises:
            TransferNotFound: there is none.
        """
        transfer = await to_thread.run_sync(self.get_transfer, transfer_id)
        if transfer.state is not TransferState.RESERVED:
            return transfer
        return replace(transfer, standing=await self._driver.standing(transfer_id))

    async def read_queue(self) -> InstanceQueueReport:
        """Where the instance stands at the boxes that program for it.

        Raises:
            FsbUnavailable, FsbProtocolError: the gateway cannot be asked.
        """
        identity = await to_thread.run_sync(self._identity)
        return await answered(self._programmer.queue(identity.instance_id, pool=identity.pool))

    async def has_open(self) -> bool:
        """Whether any transfer is in the making."""
        return await self._sweep.has_open()

    async def drive_due(self, *, wait: timedelta = timedelta(0)) -> int:
        """Take up reserved transfers that nobody drives any more; returns how many."""
        return await self._sweep.drive_due(wait)

    async def drive_forgotten(self) -> int:
        """Send again what a new gateway does not know, and fetch what a box has done; returns how many."""
        return await self._sweep.drive_forgotten()

    async def drive_left_over(self, *, before: datetime, wait: timedelta = LEFT_OVER_WAIT) -> int:
        """Take up what was reserved before a time, leases or not: when a process starts that is the only driver."""
        return await self._sweep.drive_left_over(before, wait)
