"""Verifying the chains in their databases, with the classes that verify exports; there is no second implementation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.core.db import Database
from app.operations.audit import repository
from app.operations.audit.checkpoint_file import CheckpointFile
from app.operations.audit.entry_table import read_entries
from app.operations.audit.erased import ErasedChain, ErasedChains
from app.operations.audit.survey import Survey, survey_state
from app.operations.audit.verify_audit import (
    CHECKPOINTS,
    GENESIS,
    MOST_FINDINGS,
    PLATFORM,
    ChainCheck,
    Finding,
)
from tenancy.errors import InstanceDatabaseMissing

CHECKPOINT_CHAIN: Final = CHECKPOINTS
_PAGE: Final = 1000
"""Entries in memory at a time."""
MOST_ENTRIES: Final = 200_000
"""Verified by one call over HTTP: some seconds of one processor. Our own decision; the answer says where to go on."""
MOST_ROUNDS: Final = 10_000
"""The same for checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What came of verifying a chain.

    Attributes:
        entries: how many were looked at.
        last: number of the last of them.
        vouched_until: the newest of them that a checkpoint has signed; 0 if none.
        complete: False if the chain goes on behind `last`.
        chains: of checkpoints: every chain that they name.
    """

    chain: str
    entries: int
    last: int
    vouched_until: int
    complete: bool
    findings: tuple[Finding, ...]
    chains: tuple[str, ...] = ()


class AuditVerifier:
    """Verifies chains where they lie. Changes nothing; thread-safe, blocking.

    Args:
        db: the platform database: it has the checkpoints.
        file: their copy outside.
        keys: public keys by their id.
        open_database: a chain's database, by the chain's name.
        erased: the chains whose databases were erased.
    """

    def __init__(
        self,
        db: Database,
        *,
        file: CheckpointFile,
        keys: Mapping[str, bytes],
        open_database: Callable[[str], Database],
        erased: ErasedChains,
    ) -> None:
        self._db = db
        self._file = file
        self._keys = dict(keys)
        self._open = open_database
        self._erased = erased
        self._lock = threading.Lock()
        # Table and file are read once for all chains, as long as they stay as they are.
        self._surveyed: tuple[object, Survey] | None = None

    def knows(self, chain: str) -> bool:
        """Whether there is such a chain as far as checkpoints tell: whatever the tables of instances say of it."""
        return chain in (PLATFORM, CHECKPOINTS) or chain in self._survey().chains

    def verify_chain(self, chain: str, *, after: int = 0, most: int | None = None) -> ChainReport:
        """Walk along a chain and compare it with every checkpoint about it, in the database and in the file.

        The chain of an erased instance is verified by the digests that were kept of it, always as a whole.

        Args:
            after: go on behind this entry, which an earlier call has verified.
            most: stop after so many entries.

        Raises:
            DomainError: its database does not answer.
        """
        try:
            database = self._open(chain)
        except InstanceDatabaseMissing:
            return self._verify_without(chain)
        check = self._check(chain, after, self._hash_at(database, after))
        last = self._walk(database, check, most)
        if last is not None:
            check.end(last)
        return _report(check, complete=last is not None)

    def _verify_without(self, chain: str) -> ChainReport:
        erased = self._erased.find(chain)
        check = self._check(chain, 0, GENESIS)
        if erased is None:
            text = "its database is not there, and nothing says that it was erased"
            check.findings.append(Finding("chain_missing", chain, 1, text))
            return _report(check, complete=True)
        check.findings += erased.findings
        if erased.path is not None:
            _walk_kept(erased, check)
        return _report(check, complete=True)

    def _check(self, chain: str, after: int, previous: str) -> ChainCheck:
        check = ChainCheck(chain, after, previous)
        for mark in self._survey().marks(chain):
            check.checkpoint(mark)
        return check

    def _survey(self) -> Survey:
        """All checkpoints whose signature is right, from both places."""
        with self._lock:
            state = survey_state(self._db, self._file)
            if self._surveyed is None or self._surveyed[0] != state:
                found = Survey(self._db, self._file, keys=self._keys)
                found.run()
                self._surveyed = (state, found)
            return self._surveyed[1]

    def _walk(self, database: Database, check: ChainCheck, most: int | None) -> int | None:
        """Take entries until there is none left; the number the database has come to, or None if told to stop."""
        while most is None or check.entries < most:
            page = _PAGE if most is None else min(_PAGE, most - check.entries)
            before = check.sequence
            stored, last = read_entries(database, after=before, limit=page)
            for each in stored:
                check.entry(each.sequence, each.digest, each.hash)
            if len(stored) < page or check.sequence == before:
                return last
        return None

    def _hash_at(self, database: Database, sequence: int) -> str:
        if sequence == 0:
            return GENESIS
        link = database.read(partial(repository.find_link, sequence=sequence))
        return GENESIS if link is None else link.hash

    def verify_checkpoints(self, *, after: int = 0, most: int | None = None) -> ChainReport:
        """Verify the chain that checkpoints form, and that table and file hold the same ones.

        Args:
            after: go on behind this number, which an earlier call has verified.
            most: stop after so many.
        """
        survey = Survey(self._db, self._file, keys=self._keys)
        complete = survey.run(after=after, most=most)
        return ChainReport(
            chain=CHECKPOINTS,
            entries=survey.rounds,
            last=survey.last,
            vouched_until=survey.last,
            complete=complete,
            findings=tuple(survey.findings),
            chains=tuple(sorted(survey.chains)),
        )


def _walk_kept(erased: ErasedChain, check: ChainCheck) -> None:
    try:
        for each in erased.links():
            check.entry(each.sequence, each.digest, each.hash)
    except (OSError, KeyError, TypeError, ValueError):
        text = "the digests that are kept of the erased chain cannot be read from here on"
        check.findings.append(Finding("malformed", check.chain, check.sequence + 1, text))
    check.end()


def _report(check: ChainCheck, *, complete: bool) -> ChainReport:
    return ChainReport(
        chain=check.chain,
        entries=check.entries,
        last=check.sequence,
        vouched_until=check.vouched if check.vouched > check.first else 0,
        complete=complete,
        findings=tuple(check.findings[:MOST_FINDINGS]),
    )
