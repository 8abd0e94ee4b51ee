"""The gateway: takes jobs, lets them wait in their pool, hands each to a box, gives the result to whoever asks.

    program · find · cancel ──► job_book ──► pool (scheduler, delay, expectation)
                                               │ dispatch ──► seat (health) ──► box
    recovery: boxes that went away             │
    upkeep: what is due by the clock           └─ result, or again
    box_set: which boxes there are      firm_key: keys between them
    outlook: what is to be expected     overview: where everybody stands

All state of jobs here is soft. A restarted gateway knows no job; the lines send theirs again with the same ids, and
the boxes answer for those that they have recorded, or are doing. Used from one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import (
    BoxDisconnected,
    BoxQueueFull,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    JobCancelled,
    JobIdReused,
    JobRunning,
    JobUnknown,
    PoolDrained,
    PoolForeign,
    PoolWithoutBox,
)
from fsb_gateway.gateway import overview
from fsb_gateway.gateway.box_set import BoxSet, MakeBox
from fsb_gateway.gateway.dispatch import Dispatcher
from fsb_gateway.gateway.firm_key import FirmKeys
from fsb_gateway.gateway.job_book import JobBook
from fsb_gateway.gateway.key_delivery import KeyDelivery
from fsb_gateway.gateway.outlook import Outlook
from fsb_gateway.gateway.pool import Entry, Pool, check_deadline
from fsb_gateway.gateway.recovery import Recovery
from fsb_gateway.gateway.seat import Seat
from fsb_gateway.gateway.upkeep import Upkeep
from fsb_gateway.job import (
    Algorithm,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
    check_job,
    check_name,
)
from fsb_gateway.key.store import Keystore
from fsb_gateway.report import BoxReport, FirmKeyReport, InstanceQueueReport, PoolReport
from fsb_gateway.scheduling.expectation import Histogram
from fsb_gateway.wire import request_digest

# Ten times what a line has in flight at once; beyond it waiting helps nobody.
QUEUE_LIMIT = 256
# A box process that works answers within this time; nobody waits for one that does not.
_CONNECT_SECONDS = 2.0
# Working out a new job's wait takes milliseconds in which no box is given anything: whoever floods a full queue is told
# what held a moment ago. As long as it stays full, that changes little.
_EXPECTED_SECONDS = 5.0
_EXPECTED_MAX = 1024
# A recorded job is handed out although its caller would not wait: the box is only asked for what it has.
_RECALL_SECONDS = 0.5


class Gateway:
    """All pools and boxes of one gateway process."""

    def __init__(
        self,
        keystore: Keystore,
        directory: Path,
        *,
        clock: Clock,
        make_box: MakeBox,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        """Make a gateway without boxes.

        Args:
            directory: of all boxes' files, see `box_set`.
            queue_limit: jobs that one instance may have waiting.
        """
        self._clock = clock
        self._queue_limit = queue_limit
        self._setup = asyncio.Lock()
        self._changed = asyncio.Event()
        self._describing = asyncio.Lock()
        self._expected: dict[tuple[str, str], tuple[float, float]] = {}
        self._book = JobBook(clock)
        self._boxes = BoxSet(directory, clock=clock, make_box=make_box)
        self._keys = FirmKeys(keystore, self._boxes, clock=clock)
        self._outlook = Outlook(
            self._boxes, clock=clock, owners=self._keys.owners, retired=self._keys.retired
        )
        self._dispatcher = Dispatcher(self._boxes, self._book, clock=clock, retired=self._keys.retired)
        self._recovery = Recovery(self._boxes, self._book, self._dispatcher, clock=clock)
        self._delivery = KeyDelivery(
            self._boxes, self._keys, self._dispatcher, setup=self._setup, clock=clock
        )
        self._upkeep = Upkeep(self._boxes, self._dispatcher, self._recovery, self._delivery, clock=clock)
        self._boxes.on_change(self._take_change)
        self._dispatcher.on_lost(self._recovery.lose)
        self._dispatcher.on_wait(self._upkeep.look_soon)

    async def start(self) -> None:
        """Bring up the boxes that were there before, and hear from them what they have done before any job is given.

        One that does not answer within two seconds joins when it does.
        """
        self._dispatcher.is_holding = True
        async with self._setup:
            await self._keys.load()
            await self._boxes.load()
            await self._wait_connected(list(self._boxes.seats.values()))
        self._dispatcher.is_holding = False
        self._upkeep.look()

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job done, and wait for it a while. The same job id joins the job or gets its recorded result.

        A job whose pool has no working box waits as well, until its deadline.

        Raises:
            JobMalformed, JobIdReused, JobDeadlinePassed, JobCancelled, PoolUnknown, PoolForeign, PoolDrained,
            FirmKeyMissing, FirmCodeNotOwned, BoxQueueFull: refused, nothing was programmed.
            FsbUnavailable: nothing is decided; send the job again later.
        """
        check_job(job)
        request = request_digest(job)
        entry = self._book.entries.get(job.job_id)
        if entry is None:
            known, away = await self._recall(job.job_id, request, wait)
            if known is not None:
                return known
            entry = self._book.entries.get(job.job_id) or self._admit(job, request, away)
        if entry.request != request:
            raise JobIdReused(f"job {job.job_id} is being done with other content", job_id=job.job_id)
        return await self._wait_for(entry, wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        """The result of a job, or where it stands.

        Raises:
            JobUnknown: nobody here knows it.
            FsbError: what the job failed with.
        """
        entry = self._book.entries.get(job_id)
        if entry is not None:
            return await self._wait_for(entry, wait)
        known, away = await self._recall(job_id, None, wait)
        if known is not None:
            return known
        if away is not None:
            raise BoxDisconnected(f"box {away.name}, which has the job, does not answer", box=away.name)
        raise self._book.failures.get(job_id) or JobUnknown(f"job {job_id} is not known here", job_id=job_id)

    async def cancel(self, job_id: str) -> None:
        """Take back a job that waits; whoever waits for it gets `JobCancelled`.

        Raises:
            JobRunning: a box works on it, may do so, or has done it.
            JobUnknown: nobody here knows it.
        """
        entry = self._book.entries.get(job_id)
        if entry is None and not any(seat.box.has_recorded(job_id) for seat in self._boxes.seats.values()):
            raise JobUnknown(f"job {job_id} is not known here", job_id=job_id)
        if entry is None or entry.state != "waiting":
            raise JobRunning(f"a box works on job {job_id}, or has done it", job_id=job_id)
        self._book.fail(entry, JobCancelled(f"job {job_id} was cancelled", job_id=job_id))
        entry.pool.rest()

    async def ensure_box(self, spec: BoxSpec) -> BoxReport:
        """Set up a box, or change it. One that stopped because of its journal, keys or token looks again.

        Raises:
            BoxSpecInvalid: the box exists in another pool or with another driver, or its pool has another owner.
            TokenTaken: its token is another box's.
        """
        async with self._setup:
            seat = await self._boxes.ensure(spec)
            await self._wait_connected([seat])
            seat.health.reset()
        self._expected.clear()
        self._upkeep.look()
        return overview.describe_box(self._boxes, seat, clock=self._clock)

    async def remove_box(self, name: str) -> None:
        """Take a box out of service, with its pool if it was the last one, and forget all that it has on disk.

        Safe to repeat; nothing happens if there is none.

        Raises:
            BoxBusy: it has work, or is the last one for work that waits.
            BoxLast: it has the only copy of a firm key that signs.
            BoxJournalUnwritable: its journal cannot be removed; it is out of service all the same.
            JobMalformed: that is no name.
        """
        check_name("box", name)
        async with self._setup:
            seat = self._boxes.seats.get(name)
            if seat is not None:
                await self._keys.check_not_last(seat)
            try:
                await self._boxes.remove(name)
            finally:
                if seat is not None and self._boxes.seats.get(name) is not seat:
                    self._recovery.forget(seat)
            await self._keys.excuse(name)

    async def ensure_firm_key(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm = "ES256"
    ) -> FirmKeyReport:
        """See `FirmKeys.ensure`."""
        async with self._setup:
            report = await self._keys.ensure(instance_id, firm_code, pool=pool, algorithm=algorithm)
        self._delivery.look()
        self._dispatcher.dispatch_all()
        return report

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        """See `FirmKeys.remove`: for a key that signed nothing in use, or whose instance is being erased."""
        async with self._setup:
            await self._keys.remove(instance_id, firm_code)

    async def copy_firm_key(self, firm_code: int, *, to: str) -> FirmKeyReport:
        """See `FirmKeys.copy`."""
        async with self._setup:
            report = await self._keys.copy(firm_code, to=to)
        self._dispatcher.dispatch_all()
        return report

    async def drop_firm_key(self, firm_code: int, *, box: str) -> None:
        """See `FirmKeys.drop`."""
        async with self._setup:
            await self._keys.drop(firm_code, box=box)

    async def rotate_firm_key(self, firm_code: int, *, key_id: str) -> FirmKeyReport:
        """See `FirmKeys.rotate`."""
        async with self._setup:
            return await self._keys.rotate(firm_code, key_id=key_id)

    async def retire_firm_key(self, firm_code: int) -> FirmKeyReport:
        """See `FirmKeys.retire`. Jobs that wait for the key fail with `FirmKeyMissing`, also when it raises."""
        async with self._setup:
            try:
                return await self._keys.retire(firm_code)
            finally:
                if firm_code in self._keys.retired:
                    self._dispatcher.end_retired(firm_code)

    async def firm_keys(self) -> tuple[FirmKeyReport, ...]:
        """Every firm key and where it is."""
        return await self._keys.reports()

    async def root_certificate(self) -> str:
        """The platform root as PEM; made at the first call."""
        return await self._keys.root_certificate()

    def queue(self, instance_id: str, *, pool: str | None = None) -> InstanceQueueReport:
        """Where an instance stands.

        Args:
            pool: where it sends its jobs, if it has no pool of its own here.

        Raises:
            JobMalformed: that is no name.
        """
        check_name("instance_id", instance_id)
        if pool is not None:
            check_name("pool", pool)
        return overview.describe_queue(self._outlook, self._book, instance_id, pool=pool)

    def pools(self) -> tuple[PoolReport, ...]:
        """Every pool at this moment."""
        pools = self._boxes.pools.values()
        return tuple(overview.describe_pool(self._outlook, pool) for pool in pools)

    def boxes(self) -> tuple[BoxReport, ...]:
        """Every box at this moment."""
        seats = self._boxes.seats.values()
        return tuple(overview.describe_box(self._boxes, seat, clock=self._clock) for seat in seats)

    def service_times(self) -> dict[str, Histogram]:
        """Seconds per operation, by pool, since the gateway started."""
        return {name: pool.service.histogram() for name, pool in self._boxes.pools.items()}

    def ready(self) -> bool:
        """Whether at least one box takes work."""
        return not self._dispatcher.is_closed and any(seat.works for seat in self._boxes.seats.values())

    async def close(self) -> None:
        """Finish what boxes are working on, refuse what waits, stop the boxes. A second call does nothing."""
        if self._dispatcher.is_closed:
            return
        self._dispatcher.is_closed = True
        self._upkeep.stop()
        self._refuse(entry for entry in self._book.entries.values() if entry.seat is None)
        await self._boxes.close()
        await self._dispatcher.wait_closed()
        self._refuse(self._book.entries.values())

    def _refuse(self, entries: Iterable[Entry]) -> None:
        for entry in list(entries):
            self._book.fail(entry, PoolWithoutBox("the gateway is stopping", job_id=entry.job.job_id))

    def _take_change(self, seat: Seat) -> None:
        """A box has come, gone, stopped or mended, or has other keys."""
        seat.look(self._clock.monotonic())
        self._changed.set()
        if self._dispatcher.is_closed:
            return
        if seat.connected and seat.box.spec != seat.spec and self._boxes.seats.get(seat.name) is seat:
            self._dispatcher.start(self._boxes.configure(seat))
        self._recovery.ask_all(seat)
        self._delivery.look()
        pool = self._boxes.pools.get(seat.spec.pool_at(self._clock.now()))
        if pool is not None:
            self._dispatcher.dispatch(pool)

    async def _wait_connected(self, seats: list[Seat]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONNECT_SECONDS):
                while not all(seat.connected for seat in seats):
                    self._changed.clear()
                    await self._changed.wait()

    async def _recall(
        self, job_id: str, request: str | None, wait: timedelta
    ) -> tuple[ProgrammingResult | JobPending | None, Seat | None]:
        """What a box has recorded or is doing; or the box that has it and does not answer."""
        away: Seat | None = None
        for seat in list(self._boxes.seats.values()):
            if not seat.box.has_recorded(job_id):
                continue
            try:
                async with asyncio.timeout(max(wait.total_seconds(), _RECALL_SECONDS)):
                    result = await seat.box.recall(job_id, request)
            except TimeoutError:
                return overview.describe_running(self._boxes, seat, job_id, clock=self._clock), None
            except FsbUnavailable:
                # Another box may have done it as well, and tell.
                away = away or seat
                continue
            if result is not None:
                return result, None
        return None, away

    def _admit(self, job: ProgrammingJob, request: str, away: Seat | None) -> Entry:
        now = self._clock.now()
        if self._dispatcher.is_closed:
            raise PoolWithoutBox("the gateway is stopping", pool=job.pool)
        if away is not None and now >= job.deadline_at:
            raise BoxDisconnected(f"box {away.name}, which has the job, does not answer", box=away.name)
        check_deadline(job, now)
        pool = self._boxes.pool(job.pool)
        self._check_pool(pool, job)
        self._check_room(pool, job)
        entry = Entry(job, request, pool, at=self._clock.monotonic())
        self._book.add(entry)
        if away is not None:
            self._recovery.lose(entry, away)
        self._dispatcher.dispatch(pool)
        if entry.seat is None:
            self._upkeep.look_in(min(1.0, (job.deadline_at - now).total_seconds()))
            self._upkeep.reopen(pool)
        return entry

    def _check_pool(self, pool: Pool, job: ProgrammingJob) -> None:
        own = self._boxes.pool_of(job.instance_id)
        if pool.owner not in (None, job.instance_id) or (pool.owner is None and own is not None):
            raise PoolForeign(f"pool {pool.name} is not for this instance", pool=pool.name)
        members = list(self._boxes.members(pool.name, self._clock.now()))
        if all(seat.spec.drained for seat in members):
            raise PoolDrained(f"every box of pool {pool.name} has been taken out of work", pool=pool.name)
        if job.firm_code in self._keys.retired or not any(seat.holds(job) for seat in members):
            self._check_key(pool, job, members)

    def _check_key(self, pool: Pool, job: ProgrammingJob, members: list[Seat]) -> None:
        """No box is known to have the job's key: refuse the job, unless one may have it that has not been heard yet."""
        firm_code = job.firm_code
        owners = {slot.instance_id for seat in members if (slot := seat.box.slot(firm_code)) is not None}
        if firm_code in self._keys.owners:
            owners.add(self._keys.owners[firm_code])
        if owners - {job.instance_id}:
            raise FirmCodeNotOwned(f"firm code {firm_code} belongs to another instance", firm_code=firm_code)
        if any(firm_code in seat.box.unreadable for seat in members):
            self._upkeep.reopen(pool)
            raise FsbUnavailable(
                f"the key of firm code {firm_code} cannot be opened now", firm_code=firm_code
            )
        if not owners or firm_code in self._keys.retired or all(seat.was_seen for seat in members):
            raise FirmKeyMissing(
                f"pool {pool.name} holds no key for firm code {firm_code}", firm_code=firm_code
            )

    def _check_room(self, pool: Pool, job: ProgrammingJob) -> None:
        if pool.waiting(job.instance_id) < self._queue_limit:
            return
        seconds = self._expect_new(pool, job.instance_id)
        raise BoxQueueFull(
            f"{self._queue_limit} jobs of this instance are waiting already",
            limit=self._queue_limit,
            expected_wait_seconds=round(seconds, 3),
        )

    def _expect_new(self, pool: Pool, instance_id: str) -> float:
        """Seconds that a new job would wait, as of a moment ago."""
        at = self._clock.monotonic()
        seconds, until = self._expected.get((pool.name, instance_id), (0.0, at))
        if at >= until:
            seconds = self._outlook.new(pool, instance_id).expected.p50
            if len(self._expected) >= _EXPECTED_MAX:
                self._expected.clear()
            self._expected[pool.name, instance_id] = seconds, at + _EXPECTED_SECONDS
        return seconds

    async def _wait_for(self, entry: Entry, wait: timedelta) -> ProgrammingResult | JobPending:
        if entry.seat is None and not entry.future.done():
            self._dispatcher.expire(entry.pool)
        if not entry.future.done() and wait > timedelta(0):
            await asyncio.wait((entry.future,), timeout=wait.total_seconds())
        if not entry.future.done():
            # Hundreds may give up waiting in the same moment; boxes get their next jobs in between.
            async with self._describing:
                await asyncio.sleep(0)
        if entry.future.done():
            return entry.future.result()
        return overview.describe_job(self._outlook, entry)
