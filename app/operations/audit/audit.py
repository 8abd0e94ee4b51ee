"""The audit of one platform: its key, and who signs, reads, exports and verifies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from app.core.db import Database
from app.core.ids import InstanceId
from app.core.outbox_chain import ChainEnd
from app.operations.audit.checkpoint import PLATFORM_CHAIN, Notary
from app.operations.audit.checkpoint_file import CheckpointFile
from app.operations.audit.erased import ErasedChains
from app.operations.audit.export import AuditExport, ExportWish
from app.operations.audit.key import audit_key, public_keys
from app.operations.audit.reading import AuditReader, NameReader
from app.operations.audit.verify import AuditVerifier
from app.operations.guard import carry_on
from tenancy.errors import InstanceDatabaseMissing

CHECKPOINT_FILE: Final = "checkpoints.jsonl"
_LOOKS_AT_ONCE: Final = 4
"""Databases looked at side by side: one that does not answer costs its deadline, and not the others'."""
_LOOKS_FOR: Final = 10.0
"""Seconds of one turn in which looks are begun, so that signing comes round within its minute. Our own decision."""


class Audit:
    """Thread-safe, blocking. Made once per process that owns a data directory.

    Args:
        folder: the data directory's `audit`; key and copy of the checkpoints lie there.
        db: the platform database.
        open_instance: an instance's database.
        is_current: whether it has the newest schema: opening an older one may migrate it.
        name_of: opens names of people.

    Raises:
        AuditKeyUnfit: the key is missing, damaged, or open to others.
        OSError: the folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        db: Database,
        *,
        open_instance: Callable[[InstanceId], Database],
        is_current: Callable[[InstanceId], bool] = lambda _: True,
        name_of: NameReader | None = None,
    ) -> None:
        self._db = db
        self._open_instance = open_instance
        self._is_current = is_current
        self.key = audit_key(folder)
        self.keys = public_keys(folder)
        file = CheckpointFile(folder / CHECKPOINT_FILE)
        erased = ErasedChains(folder, db, keys=self.keys)
        self.notary = Notary(db, key=self.key, file=file, open_database=self.open_chain)
        self.reader = AuditReader(open_database=self.open_chain, name_of=name_of)
        self.verifier = AuditVerifier(
            db, file=file, keys=self.keys, open_database=self.open_chain, erased=erased
        )
        self._export = AuditExport(db, key_id=self.key.key_id, open_database=self.open_chain, erased=erased)
        self._list_unseen: Callable[[], list[InstanceId]] | None = None
        self._grows_elsewhere = False
        # Chains that may have grown without this process knowing.
        self._unseen: deque[str] = deque()

    def start(self, list_instances: Callable[[], list[InstanceId]], *, grows_elsewhere: bool = False) -> None:
        """Go on where the last process ended; `sign` then looks at all chains, whatever that one left.

        Args:
            list_instances: those that have a database.
            grows_elsewhere: other processes write to their chains; then all are looked at again and again.
        """
        self._grows_elsewhere = grows_elsewhere
        self.notary.start()
        self.notary.watch(PLATFORM_CHAIN, self._db.chain_end)
        self._unseen.append(PLATFORM_CHAIN)
        self._list_unseen = list_instances

    def watch(self, instance_id: InstanceId, end: ChainEnd) -> None:
        """Sign what is written through a database that has been opened."""
        self.notary.watch(instance_id, end)

    def sign(self) -> int:
        """Sign what has grown, then look at some chains nobody knows about; a loop calls it.

        Returns how many chains were signed.
        """
        signed = self.notary.sign_grown()
        if self._list_unseen is not None:
            waiting = set(self._unseen)
            self._unseen.extend(each for each in self._list_unseen() if each not in waiting)
            self._list_unseen = self._list_unseen if self._grows_elsewhere else None
        self._unseen.extend(each for each in self.notary.unsure() if each not in self._unseen)
        if self._unseen:
            self._look_at_some()
            signed += self.notary.sign_grown()
        with carry_on("audit_checkpoints_not_thinned"):
            self.notary.thin()
        return signed

    def _look_at_some(self) -> None:
        """As many as can be begun in some seconds; what does not answer, or is too old, comes again next time."""
        until = self._db.clock.monotonic() + _LOOKS_FOR
        todo = [self._unseen.popleft() for _ in range(len(self._unseen))]
        left = iter(todo)

        def work() -> None:
            for chain in left_in_time():
                if not self._look(chain):
                    self._unseen.append(chain)

        def left_in_time() -> Iterator[str]:
            while self._db.clock.monotonic() < until:
                chain = next(left, None)
                if chain is None:
                    return
                yield chain

        with ThreadPoolExecutor(min(_LOOKS_AT_ONCE, len(todo))) as threads:
            for each in [threads.submit(work) for _ in range(min(_LOOKS_AT_ONCE, len(todo)))]:
                each.result()
        self._unseen.extendleft(reversed(list(left)))

    def _look(self, chain: str) -> bool:
        """Whether that is done with."""
        is_done = False
        with carry_on("audit_chain_not_looked_at", chain=chain):
            try:
                if chain == PLATFORM_CHAIN or self._is_current(InstanceId(chain)):
                    self.notary.look_at(chain)
                    is_done = True
            except InstanceDatabaseMissing:
                # Nothing will ever be signed there again; a verification says whether that is right.
                is_done = True
        return is_done

    def export(self, wish: ExportWish) -> Iterator[bytes]:
        """The lines of an export, the newest entries signed as well.

        Raises:
            DomainError: a database is not there or does not answer.
        """
        self.notary.look_at(PLATFORM_CHAIN)
        if wish.instance_id is not None:
            # An erased instance has its digests; the export itself refuses what is neither.
            with suppress(InstanceDatabaseMissing):
                self.notary.look_at(wish.instance_id)
        self.notary.sign_grown()
        return self._export.lines(wish)

    def open_chain(self, chain: str) -> Database:
        """The database that a chain lies in.

        Raises:
            DomainError: it is not there or does not answer.
        """
        return self._db if chain == PLATFORM_CHAIN else self._open_instance(InstanceId(chain))
