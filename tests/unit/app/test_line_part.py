"""What a line serves with: callers of an instance that takes long to open take no thread from others."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import cast

import pytest
from anyio import to_thread

from app.core.ids import InstanceId, LineId
from app.line_part import LinePart
from app.operations.line import InstanceRuntime, Line
from tenancy.errors import InstanceDatabaseMissing
from tenancy.line_file import LineFile, write_instances
from tenancy.runner.port import LineLimits
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until_async
from tests.unit.tenancy.test_line_file import LINE, listed

CALLERS = 20


class SlowLine:
    """Opens when the test says so, and then finds that there is nothing."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked = 0

    def find(self, _instance_id: InstanceId) -> None:
        return None

    def open(self, _instance_id: InstanceId) -> InstanceRuntime:
        self.asked += 1
        assert self.gate.wait(30)
        raise InstanceDatabaseMissing("The instance's database does not exist.")


def make_part(directory: Path) -> LinePart:
    write_instances(directory, [listed(number, kind="sqlite") for number in range(1, 5)], connections=4)
    file = LineFile(
        line_id=LineId("shared-1"),
        gateway="unix:/run/jobs.sock",
        limits=LineLimits(threads=8),
        check_key=LINE.check_key,
        cursor_key=LINE.cursor_key,
    )
    return LinePart(directory, file, clock=FakeClock(), wake=lambda _runtime: None)


def test_instances_that_take_long_to_open_leave_threads_to_others(tmp_path: Path) -> None:
    async def main() -> None:
        part, slow = make_part(tmp_path), SlowLine()
        part.line = cast(Line, slow)
        part.table.look()
        names = [f"name-{number}" for number in range(1, 5)]
        callers = [asyncio.create_task(part.find(name)) for name in names * CALLERS]
        await wait_until_async(lambda: slow.asked == 2, "a quarter of the threads to open instances")
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
        slow.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert {type(each) for each in answers} == {InstanceDatabaseMissing}
        assert slow.asked == len(names), "each was opened once, for all who wanted it"
        with pytest.raises(InstanceDatabaseMissing):
            await part.find("name-1")
        assert slow.asked == len(names) + 1, "the next caller tries again"
        await part.gateway.close()

    asyncio.run(main())
