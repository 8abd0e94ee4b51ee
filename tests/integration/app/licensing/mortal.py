"""Processes that die, boxes that fail: at a point the test chooses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app.core.db import Database, Tx, TxAnswer
from app.core.json import JsonObject
from app.core.origin import UNNAMED, Origin
from fsb_gateway import (
    FirmKeyMissing,
    FsbClient,
    FsbUnavailable,
    JobPending,
    ProgrammingJob,
    ProgrammingResult,
)
from tests.fake.clock import FakeClock
from tests.fake.killed import Killed
from tests.fake.programmer import PassedOn

KILLS = (
    "before reserve",
    "after reserve",
    "before program",
    "after program",
    "before issue",
    "after issue",
)
TROUBLES = (*KILLS, "rejected", "unreachable", "answer lost")


class Fate:
    """Decides where the running process meets its end; shared by its database and its gateway client."""

    def __init__(self) -> None:
        self.trouble: str | None = None

    def meet(self, point: str) -> None:
        if self.trouble == point:
            raise Killed(point)


class MortalDatabase(Database):
    """Dies just before or just after a transaction commits."""

    def __init__(self, url: str, fate: Fate, clock: FakeClock) -> None:
        super().__init__(url, clock=clock)
        self._fate = fate

    def run_tx(self, op_id: str, body: Any, *, fingerprint: str = "", origin: Origin = UNNAMED) -> TxAnswer:
        ending = op_id.startswith(("issue:", "rollback:"))
        phase = "issue" if ending else "reserve"

        def doomed(tx: Tx) -> JsonObject:
            value: JsonObject = body(tx)
            self._fate.meet(f"before {phase}")
            return value

        answer = super().run_tx(op_id, doomed, fingerprint=fingerprint, origin=origin)
        self._fate.meet(f"after {phase}")
        return answer


class MortalBox(PassedOn):
    """Dies before or after the box has worked; or the box does not play along."""

    def __init__(self, client: FsbClient, fate: Fate) -> None:
        super().__init__(client)
        self._fate = fate

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self._fate.meet("before program")
        if self._fate.trouble == "rejected":
            raise FirmKeyMissing("not in this box")
        if self._fate.trouble == "unreachable":
            raise FsbUnavailable("gone")
        result = await self.client.program(job, wait=wait)
        self._fate.meet("after program")
        if self._fate.trouble == "answer lost":
            raise FsbUnavailable("cut")
        return result

    async def find(self, job_id: str, *, wait: timedelta = timedelta(0)) -> ProgrammingResult | JobPending:
        if self._fate.trouble in ("unreachable", "answer lost"):
            raise FsbUnavailable("gone")
        return await self.client.find(job_id, wait=wait)
