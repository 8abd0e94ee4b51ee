"""A box at work: one thread, one job at a time, in order; a result leaves when the journal has it.

    submit ──► queue ──► device thread: program, keep the pace ──► Recorder (journal) ──► answer
                 ▲                │ the next one begins at once, when one is waiting
    call ────────┘                └─ power lost: the process ends, or the box is away for a moment

Knows no event loop: answers are given by whichever thread has them. What is asked while a job with the same id is
under way joins it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Literal, TypeVar

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeySlot
from fsb_gateway.box_port import ABLE, BoxState, BoxStatus
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.driver.signature import check_signature
from fsb_gateway.engine.account import Account
from fsb_gateway.engine.box_job import Answer, Done, JobUnderWay
from fsb_gateway.engine.box_keys import BoxKeys, OpenDriver
from fsb_gateway.engine.recorder import Recorder
from fsb_gateway.engine.refusal import check_slot, refusal
from fsb_gateway.error import (
    BoxDisconnected,
    BoxFailed,
    BoxJournalUnwritable,
    BoxPowerLost,
    FsbError,
    FsbUnavailable,
    JobIdReused,
)
from fsb_gateway.file_format.update import write_update
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from fsb_gateway.wire import decode_result

_log = logging.getLogger(__name__)
T = TypeVar("T")

_Phase = Literal["starting", "open", "disconnected", "closed"]
# A sync takes between 0.1 and 1 ms [measured]; for jobs that take less, another thread costs more than it saves.
_QUICK_SECONDS: Final = 0.001
# The longest that a finished job waits for others to be recorded with it.
_GROUP_SECONDS: Final = 0.005
# A token is put back by a person: looking every second is soon enough and costs a token nothing. So are other keys.
_LOOK_AGAIN_SECONDS: Final = 1.0
# A box in this process that lost its power is away for about as long as a process takes to start.
_POWER_UP_SECONDS: Final = 0.1


class BoxEngine:
    """One box. Thread-safe; its driver is opened and used by the device thread only, except for reading the slots."""

    def __init__(
        self,
        spec: BoxSpec,
        open_driver: OpenDriver,
        *,
        journal_path: Path,
        clock: Clock,
        changed: Callable[[], None] = lambda: None,
        power_lost: Callable[[], None] | None = None,
    ) -> None:
        """Not at work before `start`.

        Args:
            changed: told, by any thread, that the state or the slots may be others.
            power_lost: what a loss of power does; without it the box is away for a moment and comes back.
        """
        self._spec = spec
        self._clock = clock
        self._changed = changed
        self._power_lost = power_lost
        self._recorder: Recorder[JobUnderWay] = Recorder(journal_path, clock=clock, recorded=self._hand_out)
        self._phase: _Phase = "starting"
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._queue: deque[JobUnderWay | Callable[[], None]] = deque()
        self._under_way: dict[str, JobUnderWay] = {}
        self._kept_back: JobUnderWay | None = None
        self._unrecorded: list[JobUnderWay] = []
        self._unrecorded_since = 0.0
        self._last_seconds = 0.0
        self._account = Account(spec)
        self._stopping = threading.Event()
        self._keys = BoxKeys(open_driver, self._stopping)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"box-{spec.name}", daemon=True)
        self._jitter = random.Random()  # noqa: S311 - the pace of an emulated dongle
        self._jobs_done = 0
        self._operations_done = 0
        self._busy_seconds = 0.0
        self._error: str | None = None

    @property
    def spec(self) -> BoxSpec:
        """What the box is."""
        return self._spec

    @property
    def state(self) -> BoxState:
        """What the box says of itself."""
        if self._phase != "open":
            return self._phase
        if self._recorder.state != "ready":
            return self._recorder.state
        if self._keys.trouble is not None:
            return self._keys.trouble
        return "transactions_exhausted" if self._account.is_exhausted else "ready"

    @property
    def is_held_elsewhere(self) -> bool:
        """Whether the journal cannot be used because another process has it."""
        return self._recorder.is_held_elsewhere

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The keys in use, by firm code."""
        return self._keys.slots

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        return self._keys.unreadable

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key in use for a firm code."""
        return self.slots.get(firm_code)

    def status(self, *, with_firm_codes: bool = True) -> BoxStatus:
        """What the box has done; a thousand firm codes are put in order only where they are wanted."""
        return BoxStatus(
            name=self._spec.name,
            state=self.state,
            jobs_done=self._jobs_done,
            operations_done=self._operations_done,
            busy_seconds=self._busy_seconds,
            firm_codes=tuple(sorted(self.slots)) if with_firm_codes else (),
            transactions_left=self._account.left(self._recorder.spent),
            error=self._error,
        )

    def has_recorded(self, job_id: str) -> bool:
        """Whether the journal has a job."""
        return self._recorder.has(job_id)

    def known_jobs(self, count: int) -> list[str]:
        """Ids of the jobs that are recorded, at most so many of the newest, and of those under way."""
        with self._lock:
            under_way = list(self._under_way)
        return [*self._recorder.newest(count), *under_way]

    def operations_under_way(self) -> int:
        """Operations of the jobs that are waiting, being done or being recorded."""
        with self._lock:
            return sum(entry.job.cost for entry in self._under_way.values())

    def start(self) -> None:
        """Begin to open the keys and the journal, and work when that is done."""
        self._thread.start()

    def wait_started(self, timeout: float) -> bool:
        """Wait until the box has opened what it needs, or found that it cannot."""
        return self._started.wait(timeout)

    def submit(self, job: ProgrammingJob, request: str, done: Done) -> None:
        """Have a job done after those that were submitted before it; `done` is told what came of it."""
        with self._lock:
            if self._join(job.job_id, request, done):
                return
            known = self._answer_known(job.job_id, request)
            if known is None and not self._stopping.is_set():
                entry = self._under_way[job.job_id] = JobUnderWay(job, request, done)
                self._queue.append(entry)
                self._wake.notify()
                return
        done(known or refusal(self._spec.name, "closed"))

    def recall(self, job_id: str, request: str | None, done: Callable[[Answer | None], None]) -> None:
        """Tell what is recorded of a job, after it if it is under way; None if it was not done.

        A box without its journal refuses: it cannot know.
        """
        with self._lock:
            if self._join(job_id, request, done):
                return
            known = self._answer_known(job_id, request)
        if known is None and not self._recorder.is_open:
            known = refusal(self._spec.name, self.state)
        done(known)

    def call(self, action: Callable[[BoxDriver], T]) -> Future[T]:
        """Do something with the keys, after the jobs at hand."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                value = self._use_driver(action)
            except FsbError as error:
                self._changed()
                future.set_exception(error)
            except Exception:
                _log.exception("box %s failed", self._spec.name)
                future.set_exception(BoxFailed(f"box {self._spec.name} failed", box=self._spec.name))
            else:
                # Whoever waits sees the box as it is now.
                self._changed()
                future.set_result(value)

        self._put(run, future)
        return future

    def configure(self, spec: BoxSpec) -> Future[None]:
        """Take over a changed specification, from the next job on, and look again as `reload` does."""
        opened, self._spec = self._spec, spec
        self._account.configure(spec)
        return self._look(reopen=opened.token != spec.token)

    def reload(self) -> Future[None]:
        """Look for keys that were mended, log in again, open the journal again if the box stopped because of it."""
        return self._look(reopen=False)

    def _look(self, *, reopen: bool) -> Future[None]:
        future: Future[None] = Future()

        def run() -> None:
            if reopen:
                self._keys.close()
            self._reopen()
            self._log_in()
            self._changed()
            if future.set_running_or_notify_cancel():
                future.set_result(None)

        self._put(run, future)
        return future

    def close(self) -> None:
        """Finish what it has, without the rest of the waiting time, and stop. Waits for that."""
        with self._lock:
            self._stopping.set()
            self._wake.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _put(self, task: Callable[[], None], future: Future[T]) -> None:
        with self._lock:
            if not self._stopping.is_set():
                self._queue.append(task)
                self._wake.notify()
                return
        future.set_exception(refusal(self._spec.name, "closed"))

    def _join(self, job_id: str, request: str | None, done: Done) -> bool:
        """Wait with those who wait for the same job. The lock is held."""
        entry = self._under_way.get(job_id)
        if entry is None or (request is not None and request != entry.request):
            return False
        entry.done.append(done)
        return True

    def _answer_known(self, job_id: str, request: str | None) -> Answer | None:
        """What can be said at once of a job that comes again. The lock is held."""
        if job_id in self._under_way:
            return JobIdReused(f"job {job_id} is being done with other content", job_id=job_id)
        try:
            recorded = self._recorder.find(job_id, request)
        except JobIdReused as error:
            return error
        return None if recorded is None else decode_result(recorded)

    def _work(self) -> None:
        self._open()
        while (task := self._next()) is not None:
            if isinstance(task, JobUnderWay):
                self._do(task)
            else:
                self._record(more=False)
                task()
            self._record_if_due()
        self._recorder.close()
        self._phase = "closed"
        self._keys.close()
        self._changed()

    def _next(self) -> JobUnderWay | Callable[[], None] | None:
        """What is to be done now; None at the end. Keys that cannot be used are looked at again now and then."""
        with self._lock:
            while not self._queue:
                if self._stopping.is_set():
                    return None
                is_troubled = self._keys.trouble is not None
                if not self._wake.wait(_LOOK_AGAIN_SECONDS if is_troubled else None) and is_troubled:
                    return self._look_again
            return self._queue.popleft()

    def _open(self) -> None:
        self._reopen()
        self._log_in()
        self._phase = "open"
        self._started.set()
        self._changed()

    def _look_again(self) -> None:
        if self._keys.trouble == "token_pin_wrong" and not self._keys.has_new_pin():
            return
        before = self.state, self._error
        self._log_in()
        if (self.state, self._error) != before:
            self._changed()

    def _reopen(self) -> None:
        if self._recorder.state != "ready":
            self._recorder.flush()
            self._recorder.open()
            self._account.open(self._recorder.spent or 0)

    def _log_in(self) -> None:
        error = self._keys.log_in(self._spec)
        if error is not None:
            self._note(error)

    def _use_driver(self, action: Callable[[BoxDriver], T]) -> T:
        if self._keys.driver is None:
            raise refusal(self._spec.name, self.state)
        try:
            return action(self._keys.driver)
        except FsbError as error:
            self._note(error)
            raise

    def _note(self, error: FsbError) -> None:
        """Draw the conclusions from what went wrong."""
        self._keys.note(error)
        if isinstance(error, FsbUnavailable):
            self._error = self._keys.cause_of(error).code

    def _do(self, entry: JobUnderWay) -> None:
        try:
            # Asked again: the journal may have been away when the job came.
            recorded = self._recorder.find(entry.job.job_id, entry.request)
            if recorded is not None:
                self._answer(entry, decode_result(recorded))
                return
            entry.result = self._program(entry.job, entry)
        except BoxPowerLost as error:
            self._lose_power(entry, error)
            return
        except FsbError as error:
            self._fail([entry], error)
            return
        except Exception:
            _log.exception("box %s failed in job %s", self._spec.name, entry.job.job_id)
            self._fail([entry], BoxFailed(f"box {self._spec.name} failed", box=self._spec.name))
            return
        self._unrecorded.append(entry)
        driver = self._keys.driver
        if isinstance(driver, FaultyDriver) and driver.faults.lost_power:
            self._record_and_perhaps_fail(entry, driver)

    def _record_if_due(self) -> None:
        """Quick jobs are recorded together, by this thread; slow ones each, by another one if there is more to do."""
        if not self._unrecorded:
            return
        is_quick = self._last_seconds < _QUICK_SECONDS
        since = self._clock.monotonic() - self._unrecorded_since
        if not (is_quick and self._queue and since < _GROUP_SECONDS):
            self._record(more=bool(self._queue) and not is_quick)

    def _record(self, *, more: bool) -> None:
        if self._unrecorded:
            group, self._unrecorded = self._unrecorded, []
            self._recorder.record(group, more=more)

    def _record_and_perhaps_fail(self, entry: JobUnderWay, driver: FaultyDriver) -> None:
        """The answer is kept back until it is drawn whether the box gets so far as to give it."""
        self._recorder.flush()
        self._kept_back = entry
        self._record(more=False)
        self._kept_back = None
        if entry.is_recorded and entry.result is not None:
            try:
                driver.after_record()
            except BoxPowerLost as error:
                self._lose_power(entry, error)
            else:
                self._answer(entry, entry.result)

    def _program(self, job: ProgrammingJob, entry: JobUnderWay) -> ProgrammingResult:
        started = self._clock.monotonic()
        driver = self._ready_driver()
        slot = check_slot(self, job)
        entry.transactions = self._account.reserve(job)
        now = self._clock.now()

        def sign(message: bytes) -> bytes:
            signature = driver.sign(slot, message)
            check_signature(slot, message, signature)
            return signature

        update = write_update(job, header=slot.header, sign=sign, at=now)
        self._keep_pace(job, started)
        return ProgrammingResult(
            job_id=job.job_id, update=update, box=self._spec.name, operations=job.cost, programmed_at=now
        )

    def _ready_driver(self) -> BoxDriver:
        """The driver of a box that can work; one without transactions may do what needs none."""
        state = self.state
        if self._keys.driver is None or state not in ABLE:
            raise refusal(self._spec.name, state)
        return self._keys.driver

    def _keep_pace(self, job: ProgrammingJob, started: float) -> None:
        """Take as long as a box of this pace takes, and count that time."""
        pace = self._spec.operation_time.total_seconds()
        duration = job.cost * pace
        if self._spec.jitter and pace:
            duration += pace * self._spec.jitter * sum(self._jitter.uniform(-1, 1) for _ in range(job.cost))
        remaining = duration - (self._clock.monotonic() - started)
        if remaining > 0:
            self._stopping.wait(remaining)
        ended = self._clock.monotonic()
        self._last_seconds = ended - started
        self._busy_seconds += self._last_seconds
        if not self._unrecorded:
            self._unrecorded_since = ended

    def _hand_out(self, entries: Sequence[JobUnderWay], error: BoxJournalUnwritable | None) -> None:
        """The journal has these jobs, or cannot take them."""
        if error is not None:
            self._fail(entries, error)
            return
        self._error = None
        for entry in entries:
            entry.is_recorded = True
            self._jobs_done += 1
            self._operations_done += entry.job.cost
        for entry in entries:
            if entry.result is not None and entry is not self._kept_back:
                self._answer(entry, entry.result)

    def _fail(self, entries: Sequence[JobUnderWay], error: FsbError) -> None:
        self._note(error)
        for entry in entries:
            self._account.give_back(entry.transactions)
        # Whoever is refused sees the box as it is now.
        self._changed()
        for entry in entries:
            self._answer(entry, error)

    def _answer(self, entry: JobUnderWay, answer: Answer) -> None:
        """The job is no longer under way; tell everybody who waits for it."""
        with self._lock:
            del self._under_way[entry.job.job_id]
        for done in entry.done:
            _tell(done, answer)

    def _lose_power(self, entry: JobUnderWay, error: BoxPowerLost) -> None:
        _log.warning("box %s lost its power in job %s", self._spec.name, entry.job.job_id)
        if self._power_lost is not None:
            self._power_lost()
        self._record(more=False)
        self._recorder.flush()
        self._phase = "disconnected"
        self._error = error.code
        gone = BoxDisconnected(f"box {self._spec.name} lost its power", box=self._spec.name)
        self._fail([entry], gone)
        self._stopping.wait(_POWER_UP_SECONDS)
        self._keys.close()
        self._recorder.close_journal()
        self._open()


def _tell(done: Done, answer: Answer) -> None:
    try:
        done(answer)
    except Exception:
        _log.exception("an answer could not be handed over")
