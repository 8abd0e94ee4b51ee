"""A box at work: one thread, one job at a time, the journal before the answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeySlot
from fsb_gateway.error import (
    BoxJournalDamaged,
    BoxJournalUnwritable,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    PoolWithoutBox,
)
from fsb_gateway.file_format.update import write_update
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from fsb_gateway.journal import Journal
from fsb_gateway.wire import decode_result, encode_result

_log = logging.getLogger(__name__)
T = TypeVar("T")

BoxState = Literal["ready", "journal_damaged", "journal_unwritable", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStatus:
    """What a box has done since its process started.

    Attributes:
        busy_seconds: time spent programming, without waiting and without the journal.
    """

    name: str
    pool: str
    driver: str
    state: BoxState
    jobs_done: int
    operations_done: int
    busy_seconds: float
    firm_codes: tuple[int, ...]


class Box(Protocol):
    """What the gateway needs of a box; later boxes live in processes of their own behind it."""

    @property
    def spec(self) -> BoxSpec:
        """What the box is."""
        ...

    def status(self) -> BoxStatus:
        """What the box has done."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it takes work."""
        ...

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key slot of a firm code."""
        ...

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        ...

    def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        """The recorded result of a job."""
        ...

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        """Carry out a job."""
        ...

    async def reload(self) -> None:
        """Look for new firm keys, and open the journal again if the box stopped because of it."""
        ...

    async def forget_key(self, firm_code: int) -> None:
        """Give up the slot of a firm key that is being destroyed, after the job at hand."""
        ...

    async def configure(self, spec: BoxSpec) -> None:
        """Take over a changed time per operation."""
        ...

    async def close(self) -> None:
        """Finish the job at hand and stop."""
        ...


class BoxWorker:
    """A box in this process. The gateway gives it one job at a time; its single thread holds to that."""

    def __init__(self, spec: BoxSpec, driver: BoxDriver, *, journal_path: Path, clock: Clock) -> None:
        """Open the journal; a box whose journal cannot be used is there, but refuses work."""
        self._spec = spec
        self._driver = driver
        self._journal_path = journal_path
        self._clock = clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"box-{spec.name}")
        self._stopping = threading.Event()
        self._journal: Journal | None = None
        self._state: BoxState = "ready"
        self._jobs_done = 0
        self._operations_done = 0
        self._busy_seconds = 0.0
        self._open_journal()

    @property
    def spec(self) -> BoxSpec:
        """What the box is."""
        return self._spec

    def status(self) -> BoxStatus:
        """What the box has done."""
        return BoxStatus(
            name=self._spec.name,
            pool=self._spec.pool,
            driver=self._spec.driver,
            state=self._state,
            jobs_done=self._jobs_done,
            operations_done=self._operations_done,
            busy_seconds=self._busy_seconds,
            firm_codes=tuple(sorted(self._driver.slots)),
        )

    @property
    def ready(self) -> bool:
        """Whether it takes work."""
        return self._state == "ready"

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key slot of a firm code, or nothing."""
        return self._driver.slots.get(firm_code)

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        return self._driver.unreadable

    def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        """The recorded result of a job, byte for byte.

        Raises:
            JobIdReused: the id is recorded with another request digest.
        """
        # Read once: the box's thread takes the journal away while it opens it again.
        journal = self._journal
        recorded = journal.find(job_id, request) if journal is not None else None
        return None if recorded is None else decode_result(recorded)

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        """Carry out a job and record it; a job that is recorded gives the recorded result.

        Raises:
            FirmKeyMissing: no key slot for the firm code.
            FirmCodeNotOwned: the slot is bound to another instance.
            JobIdReused: the id is recorded with another request digest.
            FsbUnavailable: the firm code's key cannot be opened now.
            BoxJournalDamaged, BoxJournalUnwritable, PoolWithoutBox: the box takes no work; nothing is handed out.
        """
        return await self._on_thread(lambda: self._program(job, request))

    async def reload(self) -> None:
        """Look for new firm keys, and open the journal again if the box stopped because of it."""
        await self._on_thread(self._reload)

    async def forget_key(self, firm_code: int) -> None:
        """Give up the slot of a firm key that is being destroyed, after the job at hand."""
        await self._on_thread(lambda: self._driver.forget(firm_code))

    async def configure(self, spec: BoxSpec) -> None:
        """Take over a changed time per operation, from the next job on."""
        self._spec = spec
        await self.reload()

    async def close(self) -> None:
        """Finish the job at hand, without the rest of its waiting time, and stop."""
        self._stopping.set()
        await self._on_thread(self._close)
        self._thread.shutdown()

    async def _on_thread(self, call: Callable[[], T]) -> T:
        if self._state == "closed":
            raise PoolWithoutBox(f"box {self._spec.name} is closed", box=self._spec.name)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        journal = self._open_for_work()
        recorded = journal.find(job.job_id, request)
        if recorded is not None:
            return decode_result(recorded)
        slot = check_slot(self, job)
        started = self._clock.monotonic()
        now = self._clock.now()
        update = write_update(
            job, header=slot.header, sign=lambda message: self._driver.sign(slot.firm_code, message), at=now
        )
        result = ProgrammingResult(
            job_id=job.job_id, update=update, box=self._spec.name, operations=job.cost, programmed_at=now
        )
        self._keep_pace(job, started)
        self._record(journal, request, result)
        return result

    def _keep_pace(self, job: ProgrammingJob, started: float) -> None:
        """Take as long as a box of this pace takes, and count that time."""
        duration = job.cost * self._spec.operation_time.total_seconds()
        remaining = duration - (self._clock.monotonic() - started)
        if remaining > 0:
            self._stopping.wait(remaining)
        self._busy_seconds += self._clock.monotonic() - started

    def _record(self, journal: Journal, request: str, result: ProgrammingResult) -> None:
        try:
            journal.append(result.job_id, request, encode_result(result))
        except BoxJournalUnwritable:
            self._state = "journal_unwritable"
            _log.exception("box %s stops taking work: its journal cannot be written", self._spec.name)
            raise
        self._jobs_done += 1
        self._operations_done += result.operations

    def _open_for_work(self) -> Journal:
        if self._journal is None or not self.ready:
            raise refusal(self.status())
        return self._journal

    def _reload(self) -> None:
        self._driver.reload()
        if not self.ready:
            self._open_journal()

    def _open_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        try:
            self._journal = Journal(self._journal_path, clock=self._clock)
            self._state = "ready"
        except BoxJournalDamaged:
            self._state = "journal_damaged"
            _log.exception("box %s takes no work: its journal is damaged", self._spec.name)
        except BoxJournalUnwritable:
            self._state = "journal_unwritable"
            _log.exception("box %s takes no work: its journal cannot be opened", self._spec.name)

    def _close(self) -> None:
        self._state = "closed"
        if self._journal is not None:
            self._journal.close()
        self._driver.close()


def check_slot(box: Box, job: ProgrammingJob) -> KeySlot:
    """The slot for a job; refuses a job whose firm key is not in the box, or not its instance's.

    Raises:
        FsbUnavailable: the key exists and cannot be opened; the job may come again once somebody has mended it.
        FirmKeyMissing: no key slot for the firm code.
        FirmCodeNotOwned: the slot is bound to another instance.
    """
    slot = box.slot(job.firm_code)
    if slot is None and job.firm_code in box.unreadable:
        raise FsbUnavailable(
            f"the key of firm code {job.firm_code} cannot be opened now", firm_code=job.firm_code
        )
    if slot is None:
        raise FirmKeyMissing(
            f"pool {job.pool} holds no key for firm code {job.firm_code}", firm_code=job.firm_code
        )
    if slot.instance_id != job.instance_id:
        raise FirmCodeNotOwned(
            f"firm code {job.firm_code} belongs to another instance", firm_code=job.firm_code
        )
    return slot


def refusal(status: BoxStatus) -> FsbUnavailable:
    """The error that says why a box takes no work."""
    if status.state == "journal_damaged":
        return BoxJournalDamaged(f"box {status.name} takes no work: its journal is damaged", box=status.name)
    if status.state == "journal_unwritable":
        return BoxJournalUnwritable(
            f"box {status.name} takes no work: its journal cannot be written", box=status.name
        )
    return PoolWithoutBox(f"box {status.name} is closed", box=status.name)
