"""A control that has one line, says its process on standard output, and then waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from app.core.clock import SystemClock
from app.core.ids import LineId
from tenancy.runner.local import LocalRunner
from tenancy.runner.port import LineSpec
from tests.service.wait import until


async def run(root: Path, line_id: LineId, program: tuple[str, ...]) -> None:
    runner = LocalRunner(root, clock=SystemClock(), program=program)
    spec = LineSpec(line_id=line_id, directory=root / line_id)
    await runner.ensure(spec)

    async def is_ready() -> bool:
        found = (await runner.observe()).get(line_id)
        return found is not None and found.state == "ready"

    await until(is_ready, "the line")
    sys.stdout.write(f"{(await runner.observe())[line_id].process_id}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), LineId(sys.argv[2]), tuple(sys.argv[3:])))
