"""Child process of the kill tests: the whole platform, which kills itself at the point that a file names.

Argument: the data directory. Says "ready <port>" when it serves, and ends in an orderly way with its standard input.
The file `kill` in the data directory names the point; it is looked at whenever a point is passed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from app.container import Platform
from app.core.db import Database, Tx, TxAnswer
from app.core.errors import DomainError
from app.core.ids import InstanceId
from app.core.json import JsonObject
from app.core.origin import Origin
from app.licensing import Programmer, Started
from app.main import Server
from app.settings import Settings
from fsb_gateway import JobPending, ProgrammingJob, ProgrammingResult
from fsb_gateway.engine.journal import Finished, Journal
from tenancy import InstanceDatabases, PlacedDatabases
from tests.fake.programmer import PassedOn


class Fuse:
    """Kills this process when it passes the point that is set."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "kill"

    def passes(self, point: str) -> None:
        if self._file.exists() and self._file.read_text() == point:
            os.kill(os.getpid(), signal.SIGKILL)


class KillingDatabases(PlacedDatabases):
    """Instance databases whose transactions pass points before and after their commit."""

    fuse: Fuse

    def open(self, instance_id: InstanceId) -> Database:
        database = super().open(instance_id)
        if "run_tx" not in vars(database):
            vars(database)["run_tx"] = _killing(database.run_tx, self.fuse)
        return database


def _killing(run_tx: Callable[..., TxAnswer], fuse: Fuse) -> Callable[..., TxAnswer]:
    def run(op_id: str, body: Callable[[Tx], JsonObject], **asked: str | Origin) -> TxAnswer:
        def killing(tx: Tx) -> JsonObject:
            value = body(tx)
            fuse.passes(f"before_{_step(op_id, value)}_commit")
            return value

        answer = run_tx(op_id, killing, **asked)
        fuse.passes(f"after_{_step(op_id, answer.value)}_commit")
        return answer

    return run


def _step(op_id: str, value: JsonObject) -> str:
    """Which of the transactions it is, by what it answers."""
    if op_id.startswith("issue:"):
        return "issue"
    if value.get("started") == str(Started.NEW):
        return "reserve"
    if op_id.startswith("lse_"):
        return "flush"
    return "confirm" if value == {"new": True} else "other"


class KillingProgrammer(PassedOn):
    """The gateway's client, with points before and after."""

    def __init__(self, programmer: Programmer, fuse: Fuse) -> None:
        super().__init__(programmer)
        self._fuse = fuse

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        self._fuse.passes("before_send")
        result = await self.client.program(job, wait=wait)
        self._fuse.passes("after_result")
        return result


class KillingJournal(Journal):
    """A box journal with a point after the disk has the record."""

    fuse: Fuse

    def append(self, finished: Sequence[Finished]) -> None:
        super().append(finished)
        self.fuse.passes("in_box")


class KillingPlatform(Platform):
    """The platform, built with points at which it dies."""

    def make_databases(self) -> InstanceDatabases:
        databases = KillingDatabases(
            self.platform_db, data_dir=self.data_dir, seal=self.seal, clock=self.clock
        )
        databases.fuse = Fuse(self.data_dir)
        return databases

    def make_programmer(self) -> Programmer:
        return KillingProgrammer(super().make_programmer(), Fuse(self.data_dir))


async def serve(data_dir: Path) -> None:
    """Serve until standard input ends."""
    settings = Settings(data_dir=data_dir, port=0)
    server = Server(KillingPlatform(settings), on_ready=_announce)
    KillingJournal.fuse = Fuse(data_dir)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), server.stop)
    await server.run()


async def _announce(port: int) -> None:
    await asyncio.to_thread(_say, f"ready {port}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(data_dir: str) -> int:
    from app.core.logging import configure_logging  # noqa: PLC0415 - a setting of this process alone
    from fsb_gateway.engine import recorder  # noqa: PLC0415 - its journal is replaced in this process alone

    configure_logging("WARNING", stream=sys.stderr)
    vars(recorder)["Journal"] = KillingJournal
    try:
        asyncio.run(serve(Path(data_dir)))
    except DomainError as error:
        _say(f"refused {error.code}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
