"""A box seen from the event loop while its own thread works."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fsb_gateway.box_worker import BoxWorker
from fsb_gateway.journal import Journal
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import GateDriver, box_spec, journal_path, make_authority, make_job


def test_recall_while_the_journal_is_being_opened_again_finds_the_job_or_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    class TakenAway(BoxWorker):
        """Its journal goes away right after somebody has looked at it."""

        watched = False
        held: Journal | None = None

        @property
        def _journal(self) -> Journal | None:
            found = self.held
            if self.watched:
                self.held = None
            return found

        @_journal.setter
        def _journal(self, journal: Journal | None) -> None:
            self.held = journal

    async def body() -> None:
        path = journal_path(tmp_path)
        box = TakenAway(box_spec(), GateDriver(make_authority()), journal_path=path, clock=clock)
        job = make_job()
        done = await box.program(job, "digest")
        journal = box.held
        box.watched = True
        assert box.recall(job.job_id, "digest") == done
        assert box.recall(job.job_id, "digest") is None
        box.watched, box.held = False, journal
        await box.close()

    asyncio.run(body())
