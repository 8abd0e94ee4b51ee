"""A gateway that has one box started and one job done, says so, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from app.core.clock import SystemClock
from fsb_gateway.box import BoxProcesses
from fsb_gateway.wire import decode_spec
from tests.service.box import becomes_ready
from tests.unit.fsb_gateway.factory import make_job


async def main(data_dir: Path) -> None:
    spec = decode_spec((data_dir / "boxes" / "box" / "box-1.json").read_bytes())
    processes = BoxProcesses(data_dir, clock=SystemClock(), log_level="warning")
    box = processes.make_box(spec)
    await becomes_ready(box)
    job = asyncio.create_task(box.program(make_job("trf_at_hand"), "digest"))
    await asyncio.sleep(0)
    await box.recall("no-such-job")
    sys.stdout.write(f"{processes.ensure(spec).pid}\n")
    sys.stdout.flush()
    await job
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
