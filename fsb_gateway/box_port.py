"""The port through which the gateway uses a box, wherever it works: a thread here, or a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from fsb_gateway.box_driver import BoxSpec, KeyBinding, KeySlot
from fsb_gateway.job import ProgrammingJob, ProgrammingResult

BoxState = Literal[
    "starting",
    "ready",
    "disconnected",
    "journal_damaged",
    "journal_unwritable",
    "token_absent",
    "token_pin_wrong",
    "transactions_exhausted",
    "closed",
]
"""What a box says of itself. Drained, lent or taken out after failures is what the gateway says of it."""
ABLE: Final[frozenset[BoxState]] = frozenset({"ready", "transactions_exhausted"})
"""It can work; without transactions it does what needs none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxStatus:
    """What a box has done since its process started.

    Attributes:
        busy_seconds: time spent programming, without waiting and without the journal.
        transactions_left: None where nothing is deducted, and while the journal cannot be read.
        error: code of the last failure, until a job succeeds.
        retry_at: when a process that has ended is started again.
    """

    name: str
    state: BoxState
    jobs_done: int
    operations_done: int
    busy_seconds: float
    firm_codes: tuple[int, ...]
    transactions_left: int | None = None
    error: str | None = None
    retry_at: datetime | None = None


class Box(Protocol):
    """What the gateway needs of a box. Used from one event loop; nothing here blocks it."""

    @property
    def spec(self) -> BoxSpec:
        """What the box is."""
        ...

    def status(self) -> BoxStatus:
        """What the box has done, as far as is known here."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can work: connected, journal open, logged in; perhaps only at what costs no transactions."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this on the event loop whenever `ready`, the slots or the state may have changed."""
        ...

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key in use for a firm code."""
        ...

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        ...

    def has_recorded(self, job_id: str) -> bool:
        """Whether its journal has a job, as far as is known here; costs nothing."""
        ...

    async def recall(self, job_id: str, request: str | None = None) -> ProgrammingResult | None:
        """The recorded result of a job, byte for byte, or nothing. Waits for a job that the box is doing.

        Raises:
            JobIdReused: the id is recorded with another request digest.
            BoxDisconnected: the box does not answer.
        """
        ...

    async def program(self, job: ProgrammingJob, request: str) -> ProgrammingResult:
        """Carry out a job and record it; a job that is recorded or being done gives that result.

        Several may be under way: the box does them one at a time in the order of these calls, and programs the next
        one while the journal takes up the last.

        Raises:
            FirmKeyMissing, FirmCodeNotOwned, JobIdReused: refused.
            BoxDisconnected: the outcome is not known; `recall` says it when the box is back.
            FsbUnavailable: nothing was handed out.
        """
        ...

    async def reload(self) -> None:
        """Look for keys that were mended, log in again, open the journal again if the box stopped because of it."""
        ...

    async def configure(self, spec: BoxSpec) -> None:
        """Take over a changed specification, from the next job on. Name and driver never change."""
        ...

    async def generate_key(self, binding: KeyBinding) -> bytes:
        """See `BoxDriver.generate`."""
        ...

    async def use_key(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """See `BoxDriver.use`; in effect from the next job on."""
        ...

    async def forget_key(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """See `BoxDriver.forget`, after the jobs at hand."""
        ...

    async def transport_key(self) -> bytes:
        """See `BoxDriver.transport_key`."""
        ...

    async def export_key(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """See `BoxDriver.export`."""
        ...

    async def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """See `BoxDriver.import_key`."""
        ...

    async def close(self) -> None:
        """Finish what it has and stop."""
        ...
