"""The journal of a box at work: takes up what is finished while the box goes on, several jobs with one sync."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

from app.core.clock import Clock
from fsb_gateway.engine.journal import Finished, Journal
from fsb_gateway.error import BoxJournalDamaged, BoxJournalUnwritable

_log = logging.getLogger(__name__)

JournalState = Literal["ready", "journal_damaged", "journal_unwritable"]
# Eight times what a gateway lets a box have at once; keeps a group within a few hundred kilobytes.
_GROUP_LIMIT = 64


class Recordable(Protocol):
    """A job that is done and not yet recorded."""

    @property
    def finished(self) -> Finished:
        """What is to be recorded."""
        ...


R = TypeVar("R", bound=Recordable)


class Recorder(Generic[R]):
    """Owns a box's journal. One thread hands over what is finished; any thread may look up.

    With nothing more to do, the thread that hands over writes, too: another one would cost two changes of thread
    per job. Otherwise a thread of its own writes all that has come together meanwhile as one group.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        recorded: Callable[[Sequence[R], BoxJournalUnwritable | None], None],
    ) -> None:
        """Not open yet.

        Args:
            recorded: told, by whichever thread wrote, that the disk has these jobs, or why it has not.
        """
        self._path = path
        self._clock = clock
        self._recorded = recorded
        self._journal: Journal | None = None
        self._changed = threading.Condition()
        self._waiting: deque[R] = deque()
        self._writing = False
        self._thread: threading.Thread | None = None
        self._closing = False
        self.state: JournalState = "journal_unwritable"
        self.is_held_elsewhere = False

    @property
    def spent(self) -> int | None:
        """Transactions deducted so far; None while the journal cannot be read."""
        journal = self._journal
        return None if journal is None else journal.spent

    @property
    def is_open(self) -> bool:
        """Whether the journal can at least be read."""
        return self._journal is not None

    def has(self, job_id: str) -> bool:
        """Whether a job is recorded."""
        journal = self._journal
        return journal is not None and job_id in journal

    def find(self, job_id: str, request: str | None) -> bytes | None:
        """The recorded result of a job.

        Raises:
            JobIdReused: the id is recorded with another request digest.
        """
        # Read once: the journal is taken away while it is opened again.
        journal = self._journal
        return None if journal is None else journal.find(job_id, request)

    def newest(self, count: int) -> list[str]:
        """Ids of the jobs that were recorded last, the oldest of them first."""
        journal = self._journal
        return [] if journal is None else journal.newest(count)

    def open(self) -> None:
        """Open the journal, or open it again; `state` says whether it can be used."""
        self.close_journal()
        try:
            self._journal = Journal(self._path, clock=self._clock)
            self.state, self.is_held_elsewhere = "ready", False
        except BoxJournalDamaged:
            self.state = "journal_damaged"
            _log.exception("journal %s: the box takes no work, its journal is damaged", self._path.name)
        except BoxJournalUnwritable as error:
            self.state, self.is_held_elsewhere = "journal_unwritable", bool(error.detail.get("held"))
            _log.exception("journal %s: the box takes no work, its journal cannot be opened", self._path.name)

    def record(self, jobs: Sequence[R], *, more: bool) -> None:
        """Take finished jobs over; `recorded` is told later, or before this returns.

        Args:
            more: there is work that should not wait for the disk.
        """
        with self._changed:
            by_itself = not (more or self._waiting or self._writing)
            if by_itself:
                self._writing = True
            else:
                self._waiting.extend(jobs)
                self._wake()
        if by_itself:
            self._write(jobs)

    def flush(self) -> None:
        """Wait until everything that was handed over is written, or has failed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._writing)

    def close(self) -> None:
        """Write what is left and give the files back."""
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self.close_journal()

    def close_journal(self) -> None:
        """Give the files back; `open` takes them again. Nothing may be waiting to be written."""
        self.state = "journal_unwritable"
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._write_groups, name=f"journal-{self._path.stem}", daemon=True
            )
            self._thread.start()
        self._changed.notify_all()

    def _write_groups(self) -> None:
        while group := self._next_group():
            self._write(group)

    def _next_group(self) -> list[R]:
        with self._changed:
            self._changed.wait_for(lambda: (self._waiting and not self._writing) or self._closing)
            group = list(islice(self._waiting, _GROUP_LIMIT))
            for _ in group:
                self._waiting.popleft()
            self._writing = bool(group)
            return group

    def _write(self, group: Sequence[R]) -> None:
        try:
            self._recorded(group, self._append(group))
        except Exception:
            _log.exception("journal %s: what was recorded could not be handed out", self._path.name)
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _append(self, group: Sequence[R]) -> BoxJournalUnwritable | None:
        journal = self._journal
        if journal is None or self.state != "ready":
            return BoxJournalUnwritable("the box journal is closed", journal=self._path.name)
        try:
            journal.append([job.finished for job in group])
        except BoxJournalUnwritable as error:
            self.state = "journal_unwritable"
            _log.exception(
                "journal %s: the box stops taking work, its journal cannot be written", self._path.name
            )
            return error
        return None
