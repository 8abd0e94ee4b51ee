"""A box without threads or disk, whose keys sign nothing: it does what the test says, when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fsb_gateway.box_driver import BoxSpec, KeyBinding, KeySlot
from fsb_gateway.box_port import ABLE, BoxState, BoxStatus
from fsb_gateway.error import BoxDisconnected, FirmKeyMissing, FsbError, JobIdReused
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from tests.fake.clock import START
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, p256


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a box remembers of a job."""

    request: str
    result: ProgrammingResult


class FakeBox:
    """`fsb_gateway.box_port.Box`. Used on one event loop.

    Attributes:
        given: ids of all jobs that it was asked to program, in order.
        at_work: those that are not finished, in order.
        records: what it has done; survives `go_away`.
        answer: what becomes of each job at once: a result, an error, or nothing before the test says so.
        reloads: how often somebody had it look again.
        specs: what it was configured to be.
        key_trouble: what it says to everything that is asked of its keys.
    """

    def __init__(
        self,
        spec: BoxSpec,
        *,
        keys: dict[int, str] | None = None,
        state: BoxState = "ready",
        answer: Callable[[ProgrammingJob], FsbError | bool] = lambda job: False,
    ) -> None:
        self.given: list[str] = []
        self.at_work: dict[str, tuple[ProgrammingJob, str, asyncio.Future[ProgrammingResult]]] = {}
        self.records: dict[str, Record] = {}
        self.answer = answer
        self.reloads = 0
        self.specs = [spec]
        self.recalled: list[str] = []
        self.on_reload: Callable[[], None] = lambda: None
        self.transactions_left: int | None = None
        self.retry_at: datetime | None = None
        self._state = state
        self._listeners: list[Callable[[], None]] = []
        self._unreadable: frozenset[int] = frozenset()
        self.key_trouble: FsbError | None = None
        self._slots: dict[int, KeySlot] = {}
        self._keys: dict[tuple[int, str], bytes] = {}
        for firm_code, instance_id in ({FIRM_CODE: INSTANCE} if keys is None else keys).items():
            self._slots[firm_code] = _slot(firm_code, instance_id)
        self._done = 0

    @property
    def spec(self) -> BoxSpec:
        return self.specs[-1]

    def status(self) -> BoxStatus:
        return BoxStatus(
            name=self.spec.name,
            state=self._state,
            jobs_done=self._done,
            operations_done=self._done,
            busy_seconds=0.0,
            firm_codes=tuple(sorted(self._slots)),
            transactions_left=self.transactions_left,
            retry_at=self.retry_at,
        )

    @property
    def ready(self) -> bool:
        return self._state in ABLE

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def slot(self, firm_code: int) -> KeySlot | None:
        return self._slots.get(firm_code)

    @property
    def unreadable(self) -> frozenset[int]:
        return self._unreadable

    def has_recorded(self, job_id: str) -> bool:
        return job_id in self.records or (job_id in self.at_work and self._state != "disconnected")

    async def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        await asyncio.sleep(0)
        self._check_there()
        self.recalled.append(job_id)
        if job_id in self.at_work:
            return await asyncio.shield(self.at_work[job_id][2])
        record = self.records.get(job_id)
        if record is None:
            return None
        if request not in (None, record.request):
            raise JobIdReused("other content", job_id=job_id)
        return record.result

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        self.given.append(job.job_id)
        await asyncio.sleep(0)
        self._check_there()
        if job.job_id in self.records:
            return self.records[job.job_id].result
        future: asyncio.Future[ProgrammingResult] = asyncio.get_running_loop().create_future()
        self.at_work[job.job_id] = (job, request, future)
        outcome = self.answer(job)
        if isinstance(outcome, FsbError):
            self.fail(outcome, job.job_id)
        elif outcome:
            self.finish(job.job_id)
        return await future

    async def reload(self) -> None:
        await asyncio.sleep(0)
        self.reloads += 1
        self.on_reload()

    async def configure(self, spec: BoxSpec) -> None:
        await asyncio.sleep(0)
        self._check_there()
        self.specs.append(spec)

    async def generate_key(self, binding: KeyBinding) -> bytes:
        await self._begin_key_call()
        self._keys[binding.firm_code, binding.key_id] = _public_key(binding.key_id)
        return self._keys[binding.firm_code, binding.key_id]

    async def use_key(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        await self._begin_key_call()
        self._find_key(binding.firm_code, binding.key_id)
        self._slots[binding.firm_code] = _slot(binding.firm_code, binding.instance_id, binding.key_id)
        self._tell()

    async def forget_key(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        await self._begin_key_call()
        for kept in [kept for code, kept in self._keys if code == firm_code]:
            if kept != but and key_id in (None, kept):
                del self._keys[firm_code, kept]
        slot = self._slots.get(firm_code)
        if slot is not None and slot.key_id != but and key_id in (None, slot.key_id):
            del self._slots[firm_code]

    async def transport_key(self) -> bytes:
        await self._begin_key_call()
        return self.spec.name.encode()

    async def export_key(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        await self._begin_key_call()
        return to + self._find_key(firm_code, key_id)

    async def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        await self._begin_key_call()
        assert wrapped == self.spec.name.encode() + public_key
        self._keys[binding.firm_code, binding.key_id] = public_key

    async def close(self) -> None:
        while self.at_work:
            self.finish()
        self.become("closed")

    def finish(self, job_id: str | None = None) -> str:
        """Record a job, the first one if none is named, and answer."""
        job_id = job_id or next(iter(self.at_work))
        job, request, future = self.at_work.pop(job_id)
        update = f"update of {job_id} by {self.spec.name}"
        result = ProgrammingResult(
            job_id=job_id, update=update, box=self.spec.name, operations=job.cost, programmed_at=START
        )
        self.records[job_id] = Record(request=request, result=result)
        self._done += 1
        if not future.done():
            future.set_result(result)
        return job_id

    def fail(self, error: Exception, job_id: str | None = None) -> str:
        """Give a job up, the first one if none is named."""
        job_id = job_id or next(iter(self.at_work))
        _, _, future = self.at_work.pop(job_id)
        future.set_exception(error)
        return job_id

    def go_away(self, *, recording: Iterable[str] = ()) -> None:
        """Lose the connection, after recording some jobs of which nobody hears."""
        self._state = "disconnected"
        lost, self.at_work = self.at_work, {}
        for job_id, (job, request, future) in lost.items():
            if job_id in recording:
                self.at_work[job_id] = (job, request, asyncio.get_running_loop().create_future())
                self.finish(job_id)
            future.set_exception(BoxDisconnected("gone", box=self.spec.name))
        self._tell()

    def become(self, state: BoxState) -> None:
        """Say something else of itself from now on."""
        self._state = state
        self._tell()

    def come_back(self) -> None:
        """Connect again."""
        self.become("ready")

    def take_key(self, firm_code: int, instance_id: str = INSTANCE) -> None:
        """Hold one more key."""
        self._slots[firm_code] = _slot(firm_code, instance_id)
        self._unreadable -= {firm_code}
        self._tell()

    def inherit(self, other: FakeBox) -> None:
        """Hold the keys of a box of a former gateway."""
        self._keys, self._slots = dict(other._keys), dict(other._slots)
        self._tell()

    def damage_key(self, firm_code: int) -> None:
        """Hold a key that cannot be opened."""
        self._slots.pop(firm_code, None)
        self._unreadable |= {firm_code}
        self._tell()

    async def _begin_key_call(self) -> None:
        await asyncio.sleep(0)
        self._check_there()
        if self.key_trouble is not None:
            raise self.key_trouble

    def _find_key(self, firm_code: int, key_id: str) -> bytes:
        if (firm_code, key_id) not in self._keys:
            raise FirmKeyMissing("not here", firm_code=firm_code)
        return self._keys[firm_code, key_id]

    def _check_there(self) -> None:
        if self._state in ("disconnected", "starting", "closed"):
            raise BoxDisconnected("not there", box=self.spec.name)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _public_key(name: str) -> bytes:
    return p256(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _slot(firm_code: int, instance_id: str, key_id: str | None = None) -> KeySlot:
    return KeySlot(
        firm_code=firm_code,
        key_id=key_id or f"key_{firm_code}",
        instance_id=instance_id,
        algorithm="ES256",
        header="",
        public_key=b"",
    )
