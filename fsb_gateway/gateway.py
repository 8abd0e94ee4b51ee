"""The gateway: takes jobs, lets them wait in their pool, hands each to a box, gives the result to whoever asks.

All state here is soft. A restarted gateway knows no job; the lines send theirs again with the same ids, and the
boxes' journals answer for those that were finished. Used from one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxDriver, BoxSpec, check_spec
from fsb_gateway.box_worker import Box, BoxStatus, BoxWorker, check_slot
from fsb_gateway.error import (
    BoxBusy,
    BoxQueueFull,
    BoxSpecInvalid,
    FsbError,
    FsbUnavailable,
    JobDeadlinePassed,
    JobIdReused,
    JobUnknown,
    PoolUnknown,
    PoolWithoutBox,
)
from fsb_gateway.job import Algorithm, JobPending, ProgrammingJob, ProgrammingResult, check_job, check_name
from fsb_gateway.journal import remove_journal
from fsb_gateway.keystore import Keystore
from fsb_gateway.pool import Entry, Pool, PoolStatus, check_deadline
from fsb_gateway.software_driver import SoftwareDriver
from fsb_gateway.wire import request_digest

_log = logging.getLogger(__name__)

DriverFactory = Callable[[BoxSpec], BoxDriver]

# Ten times what a line has in flight at once; beyond it waiting helps nobody.
QUEUE_LIMIT = 256
# Reasons of failed jobs are kept for callers that come back for them; a line comes back within seconds.
_FAILURES_KEPT = 4096
# A full disk or a damaged key is looked at again this often while jobs come in.
_REOPEN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmKeyStatus:
    """A firm key as others may see it.

    Attributes:
        certificate: PEM.
    """

    instance_id: str
    firm_code: int
    algorithm: Algorithm
    pools: tuple[str, ...]
    certificate: str


class Gateway:
    """All pools and boxes of one gateway process."""

    def __init__(
        self,
        keystore: Keystore,
        journal_directory: Path,
        *,
        clock: Clock,
        driver_factory: DriverFactory | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._keystore = keystore
        self._journal_directory = journal_directory
        self._clock = clock
        self._driver_factory = driver_factory or (lambda spec: SoftwareDriver(keystore, spec.pool))
        self._queue_limit = queue_limit
        self._pools: dict[str, Pool] = {}
        self._entries: dict[str, Entry] = {}
        self._failures: OrderedDict[str, FsbError] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._setup = asyncio.Lock()
        self._reopened_at: dict[str, float] = {}
        self._closed = False

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job done, and wait for it a while. The same job id joins the job or gets its recorded result.

        Raises:
            JobMalformed, PoolUnknown, FirmKeyMissing, FirmCodeNotOwned, JobIdReused, BoxQueueFull, JobDeadlinePassed:
                refused, nothing was programmed.
            FsbUnavailable: no box takes work now; send the job again later.
        """
        check_job(job)
        request = request_digest(job)
        entry = self._entries.get(job.job_id)
        if entry is None:
            pool = self._pool(job.pool)
            recorded = self._recall(job.job_id, request)
            if recorded is not None:
                return recorded
            entry = self._admit(pool, job, request)
        elif entry.request != request:
            raise JobIdReused(f"job {job.job_id} is being done with other content", job_id=job.job_id)
        return await self._wait_for(entry, wait)

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        """The result of a job, or where it stands.

        Raises:
            JobUnknown: nobody here knows it.
            FsbError: what the job failed with.
        """
        entry = self._entries.get(job_id)
        if entry is not None:
            return await self._wait_for(entry, wait)
        recorded = self._recall(job_id, None)
        if recorded is not None:
            return recorded
        raise self._failures.get(job_id) or JobUnknown(f"job {job_id} is not known here", job_id=job_id)

    async def ensure_box(self, spec: BoxSpec) -> BoxStatus:
        """Set up a box, or change its pace. A box that stopped because of its journal tries again.

        Raises:
            BoxSpecInvalid: the box exists in another pool or with another driver.
        """
        check_spec(spec)
        async with self._setup:
            box = self._box(spec.name)
            if box is None:
                box = await asyncio.to_thread(self._make_box, spec)
                self._pools.setdefault(spec.pool, Pool(spec.pool)).boxes[spec.name] = box
            elif (box.spec.pool, box.spec.driver) != (spec.pool, spec.driver):
                raise BoxSpecInvalid(
                    f"box {spec.name} exists in another pool or with another driver", box=spec.name
                )
            else:
                await box.configure(spec)
        self._dispatch(self._pools[spec.pool])
        return box.status()

    async def ensure_firm_key(
        self, instance_id: str, firm_code: int, *, pool: str, algorithm: Algorithm = "ES256"
    ) -> FirmKeyStatus:
        """Make a firm key unless it is there, and install it in every box of the pool.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
            FirmKeyConflict: the key exists with another algorithm.
        """
        async with self._setup:
            key = await asyncio.to_thread(
                self._keystore.ensure_firm_key, instance_id, firm_code, pool=pool, algorithm=algorithm
            )
            for box in self._pools[pool].boxes.values() if pool in self._pools else ():
                if box.slot(firm_code) is None:
                    await box.reload()
        return FirmKeyStatus(
            instance_id=key.instance_id,
            firm_code=key.firm_code,
            algorithm=key.algorithm,
            pools=key.pools,
            certificate=key.chain[0].public_bytes(Encoding.PEM).decode(),
        )

    async def remove_firm_key(self, instance_id: str, firm_code: int) -> None:
        """Destroy a firm key and take it out of every box; nothing happens if there is none.

        For a key that signed nothing in use, or whose instance is being erased: whoever calls answers for that.

        Raises:
            FirmCodeNotOwned: the firm code belongs to another instance.
        """
        async with self._setup:
            await asyncio.to_thread(self._keystore.remove_firm_key, instance_id, firm_code)
            for box in [box for pool in self._pools.values() for box in pool.boxes.values()]:
                slot = box.slot(firm_code)
                if slot is not None and slot.instance_id == instance_id:
                    await box.forget_key(firm_code)

    async def remove_box(self, name: str) -> None:
        """Take a box out of service, with its pool if it was the last one, and forget what it has done.

        Safe to repeat; nothing happens if there is none.

        Raises:
            BoxBusy: it has work, or could be given some.
            BoxJournalUnwritable: its journal cannot be removed; it is out of service all the same.
            JobMalformed: that is no name.
        """
        check_name("box", name)
        async with self._setup:
            await self._close_box(name)
            await asyncio.to_thread(remove_journal, self._journal_path(name))

    async def _close_box(self, name: str) -> None:
        box = self._box(name)
        if box is not None:
            pool = self._pools[box.spec.pool]
            if name in pool.running or len(pool.queue):
                raise BoxBusy(f"box {name} has work; it is not taken out of service", box=name)
            del pool.boxes[name]
            if not pool.boxes:
                del self._pools[pool.name]
            await box.close()

    async def root_certificate(self) -> str:
        """The platform root as PEM; made at the first call."""
        root = await asyncio.to_thread(self._keystore.ensure_root)
        return root.public_bytes(Encoding.PEM).decode()

    def pools(self) -> tuple[PoolStatus, ...]:
        """Every pool at this moment."""
        return tuple(pool.status() for pool in self._pools.values())

    def boxes(self) -> tuple[BoxStatus, ...]:
        """Every box at this moment."""
        return tuple(box.status() for pool in self._pools.values() for box in pool.boxes.values())

    def ready(self) -> bool:
        """Whether at least one box takes work."""
        return not self._closed and any(pool.ready_boxes() for pool in self._pools.values())

    async def close(self) -> None:
        """Finish what boxes are working on, refuse what waits, stop the boxes. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        for entry in list(self._entries.values()):
            if entry.box is None:
                entry.pool.queue.remove(entry.job.job_id)
                self._fail(entry, PoolWithoutBox("the gateway is stopping", job_id=entry.job.job_id))
        for pool in self._pools.values():
            await asyncio.gather(*(box.close() for box in pool.boxes.values()))
        await asyncio.gather(*self._tasks)

    def _admit(self, pool: Pool, job: ProgrammingJob, request: str) -> Entry:
        check_deadline(job, self._clock.now())
        if not pool.ready_boxes():
            self._reopen(pool)
            raise pool.why_idle()
        self._check_room(pool, job)
        self._failures.pop(job.job_id, None)
        entry = Entry(job, request, pool)
        self._entries[job.job_id] = entry
        pool.queue.put(job)
        self._dispatch(pool)
        return entry

    def _check_room(self, pool: Pool, job: ProgrammingJob) -> None:
        if self._closed:
            raise PoolWithoutBox("the gateway is stopping", pool=pool.name)
        for box in pool.boxes.values():
            if job.firm_code in box.unreadable:
                self._reopen(pool)
            check_slot(box, job)
            break
        if pool.queue.waiting(job.instance_id) >= self._queue_limit:
            wait = pool.expected_wait(pool.queue.cost())
            raise BoxQueueFull(
                f"{self._queue_limit} jobs of this instance are waiting already",
                limit=self._queue_limit,
                expected_wait_seconds=round(wait.total_seconds(), 3),
            )

    async def _wait_for(self, entry: Entry, wait: timedelta) -> ProgrammingResult | JobPending:
        timeout = (
            min(wait, entry.job.deadline_at - self._clock.now()).total_seconds()
            if not entry.future.done()
            else 0
        )
        if timeout > 0:
            await asyncio.wait((entry.future,), timeout=timeout)
        if not entry.future.done():
            self._expire(entry)
        return entry.future.result() if entry.future.done() else entry.pool.pending(entry)

    def _expire(self, entry: Entry) -> None:
        """A waiting job is dropped at its deadline, whether or not a box comes by."""
        if entry.box is not None:
            return
        try:
            check_deadline(entry.job, self._clock.now())
        except JobDeadlinePassed as error:
            entry.pool.queue.remove(entry.job.job_id)
            self._fail(entry, error)

    def _dispatch(self, pool: Pool) -> None:
        """Give waiting jobs to free boxes."""
        while len(pool.queue):
            box = pool.free_box()
            if box is None:
                return
            job = pool.queue.take()
            entry = self._entries[job.job_id] if job else None
            if entry is None:
                return
            self._expire(entry)
            if not entry.future.done():
                entry.box = box.spec.name
                pool.running[box.spec.name] = entry
                task = asyncio.get_running_loop().create_task(self._serve(box, entry))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, box: Box, entry: Entry) -> None:
        started = self._clock.monotonic()
        try:
            result = await box.program(entry.job, entry.request)
        except FsbUnavailable as error:
            self._retry_elsewhere(box, entry, error)
        except FsbError as error:
            self._fail(entry, error)
        except Exception:
            _log.exception("box %s failed in job %s", box.spec.name, entry.job.job_id)
            self._fail(entry, FsbUnavailable(f"box {box.spec.name} failed", box=box.spec.name))
        else:
            entry.pool.observe(entry.job.cost, self._clock.monotonic() - started)
            del self._entries[entry.job.job_id]
            entry.future.set_result(result)
        finally:
            del entry.pool.running[box.spec.name]
        self._dispatch(entry.pool)

    def _retry_elsewhere(self, box: Box, entry: Entry, error: FsbUnavailable) -> None:
        """Nothing was handed out: another box may do the job from the start.

        A box that goes on working would take the job again at once, and refuse it again.
        """
        if box.ready or not entry.pool.ready_boxes() or self._closed:
            self._fail(entry, error)
            return
        entry.box = None
        entry.pool.queue.put_back(entry.job)

    def _fail(self, entry: Entry, error: FsbError) -> None:
        del self._entries[entry.job.job_id]
        self._failures[entry.job.job_id] = error
        if len(self._failures) > _FAILURES_KEPT:
            self._failures.popitem(last=False)
        entry.future.set_exception(error)

    def _recall(self, job_id: str, request: str | None) -> ProgrammingResult | None:
        """Ask every journal: after a change of pool or box, another box may have done the job."""
        for pool in self._pools.values():
            for box in pool.boxes.values():
                result = box.recall(job_id, request)
                if result is not None:
                    return result
        return None

    def _reopen(self, pool: Pool) -> None:
        """Let boxes that miss a key or stopped because of a full disk look again, now and then."""
        now = self._clock.monotonic()
        if now - self._reopened_at.get(pool.name, -_REOPEN_SECONDS) < _REOPEN_SECONDS:
            return
        self._reopened_at[pool.name] = now
        task = asyncio.get_running_loop().create_task(self._reload(pool))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self, pool: Pool) -> None:
        for box in list(pool.boxes.values()):
            if box.unreadable or box.status().state == "journal_unwritable":
                await box.reload()
        self._dispatch(pool)

    def _make_box(self, spec: BoxSpec) -> Box:
        return BoxWorker(
            spec,
            self._driver_factory(spec),
            journal_path=self._journal_path(spec.name),
            clock=self._clock,
        )

    def _journal_path(self, name: str) -> Path:
        return self._journal_directory / f"{name}.journal"

    def _box(self, name: str) -> Box | None:
        return next((pool.boxes[name] for pool in self._pools.values() if name in pool.boxes), None)

    def _pool(self, name: str) -> Pool:
        pool = self._pools.get(name)
        if pool is None:
            raise PoolUnknown(f"there is no pool {name}", pool=name)
        return pool
