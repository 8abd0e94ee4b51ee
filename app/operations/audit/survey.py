"""Reading all checkpoints once, from table and file: what is wrong with them, and what they say of each chain."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from itertools import groupby, takewhile
from typing import Final

from app.core.db import Database
from app.operations.audit import repository
from app.operations.audit.checkpoint import KEEP_ALL
from app.operations.audit.checkpoint_file import CheckpointFile
from app.operations.audit.checkpoint_table import iter_rounds
from app.operations.audit.key import check_signature
from app.operations.audit.verify_audit import (
    CHECKPOINTS,
    MOST_FINDINGS,
    Checkpoint,
    CheckpointCheck,
    Finding,
    Round,
)

_MARK: Final = struct.Struct("<qqq64s")
"""Number, time, sequence and hash: of a busy week there are millions, which as objects would fill a gigabyte."""

_Placed = tuple[str, Round]


class Survey:
    """What table and file hold. Belongs to one thread while it runs, then it does not change.

    Args:
        db: the platform database.
        file: the copy outside.
        keys: public keys by their id.

    Attributes:
        findings: what is wrong, `MOST_FINDINGS` at most.
        chains: names of all chains that a rightly signed checkpoint is about.
        rounds, last: how many checkpoints were looked at, and the number of the last.
    """

    def __init__(self, db: Database, file: CheckpointFile, *, keys: Mapping[str, bytes]) -> None:
        self._db = db
        self._file = file
        self._checks = CheckpointCheck(dict(keys), check_signature)
        self._marks: dict[str, bytearray] = {}
        self._kept_since_us = 0
        self._newest = 0
        self.findings: list[Finding] = []
        self.rounds = 0
        self.last = 0

    @property
    def chains(self) -> frozenset[str]:
        """Every chain that a rightly signed checkpoint is about."""
        return frozenset(self._marks)

    def marks(self, chain: str) -> Iterator[Checkpoint]:
        """What rightly signed checkpoints say of a chain."""
        for number, signed_at_us, sequence, link in _MARK.iter_unpack(self._marks.get(chain, b"")):
            yield Checkpoint(
                number, chain, sequence, link.rstrip(b"\0").decode(), signed_at_us, 0, "", "", ""
            )

    def run(self, *, after: int = 0, most: int | None = None) -> bool:
        """Read everything behind a number, or as many as told; says whether that was all.

        Raises:
            DomainError: the platform's database does not answer.
        """
        with ExitStack() as open_file:
            with self._file.in_step():
                # What is signed from here on is left to the next survey.
                self._look_around(after)
                copied = open_file.enter_context(self._file.reading())
            pairs = groupby(self._placed(after, copied), key=lambda placed: placed[1].number)
            for number, group in pairs:
                if most is not None and self.rounds == most:
                    return False
                self.rounds, self.last = self.rounds + 1, number
                self._take(list(group))
        return True

    def _look_around(self, after: int) -> None:
        """What has to be known before the first."""
        self._newest, signed_at_us = self._db.read(repository.newest_time)
        self._kept_since_us = max(0, signed_at_us - KEEP_ALL // timedelta(microseconds=1))
        before = self._db.read(partial(repository.list_newest_rounds, chain="", before=after + 1, limit=1))
        if after and before:
            self._checks.go_on_behind(before[0])
        for path in self._file.damaged() if after == 0 else ():
            text = (
                f"{path.name} could not be read and was set aside: see who has changed it, then take it away"
            )
            self._note(Finding("malformed", CHECKPOINTS, 0, text))

    def _placed(self, after: int, copied: Iterator[Round]) -> Iterator[_Placed]:
        rounds = takewhile(lambda found: found.number <= self._newest, iter_rounds(self._db, after=after))
        stored = (("table", each) for each in rounds)
        behind = (("file", each) for each in self._readable(copied) if each.number > after)
        return heapq.merge(stored, behind, key=lambda placed: placed[1].number)

    def _readable(self, copied: Iterator[Round]) -> Iterator[Round]:
        """Those of the file, as far as it can be read."""
        try:
            yield from copied
        except (KeyError, TypeError, ValueError):
            text = "the file of checkpoints cannot be read from some line on"
            self._note(Finding("malformed", CHECKPOINTS, 0, text))

    def _take(self, placed: list[_Placed]) -> None:
        first = placed[0][1]
        compared = self._compare(placed)
        wrong = {each: self._checks.signature_of(each) for each in dict.fromkeys(each for _, each in placed)}
        for found in (compared, *wrong.values(), self._checks.follow(first, self._kept_since_us)):
            self._note(found)
        for each, is_wrong in wrong.items():
            if is_wrong is None:
                self._keep(each)

    def _compare(self, placed: list[_Placed]) -> Finding | None:
        where, first = placed[0]
        if len({place for place, _ in placed}) == 1:
            is_due = not first.anchor and first.signed_at_us <= self._kept_since_us
            other = "file" if where == "table" else "table"
            text = f"checkpoint {first.number} is in the {where}, but not in the {other}"
            return None if is_due else Finding("checkpoint_missing", CHECKPOINTS, first.number, text)
        if len({each for _, each in placed}) > 1 or len(placed) > 2:
            text = f"checkpoint {first.number} is not the same in table and file"
            return Finding("checkpoint_changed", CHECKPOINTS, first.number, text)
        return None

    def _keep(self, found: Round) -> None:
        for chain, sequence, link in found.links:
            mark = _MARK.pack(found.number, found.signed_at_us, sequence, link.encode()[:64])
            self._marks.setdefault(chain, bytearray()).extend(mark)

    def _note(self, found: Finding | None) -> None:
        if found is not None and len(self.findings) < MOST_FINDINGS:
            self.findings.append(found)


def survey_state(db: Database, file: CheckpointFile) -> tuple[object, ...]:
    """Is another one when there are other checkpoints."""
    return (*db.read(repository.count_rounds), *file.state())
