"""Every process that has keys in its memory keeps it to itself, and works all the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.service.box import SECONDS, BoxHouse
from tests.service.gateway import ServedGateway
from tests.unit.fsb_gateway.factory import box_spec

# PR_GET_DUMPABLE, and what is worked with through /proc: a socket in a deep directory, the start of a process.
LOOK = """
import asyncio, ctypes, os, socket, sys
from pathlib import Path
from app.core.clock import SystemClock
from app.gateway_part import start_gateway
from app.settings import Settings
from app.core.process_identity import start_ticks
from fsb_gateway.carrier.socket_path import short_path

async def main(folder):
    part = await start_gateway(Settings(data_dir=folder, boxes="embedded"), clock=SystemClock())
    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), await part.control.boxes())
    with socket.socket(socket.AF_UNIX) as listener:
        deep = folder / ("d" * 100)
        deep.mkdir()
        listener.bind(short_path(deep / "socket"))
    print(start_ticks(os.getpid()) > 0)
    await part.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def core_limit(pid: int | None) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (core,) = [line for line in limits if line.startswith("Max core file size")]
    return core.split()[4:6]


def test_platform_with_its_boxes_inside(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert shown.stdout == "0 ()\nTrue\n"


def test_process_of_a_box(tmp_path: Path) -> None:
    house = BoxHouse(tmp_path)

    async def body() -> None:
        async with house.at_work(box_spec()) as (_, kept):
            assert core_limit(kept.pid) == ["0", "0"]

    asyncio.run(body())


def test_process_of_a_gateway(tmp_path: Path) -> None:
    with ServedGateway(tmp_path) as gateway:
        assert core_limit(gateway.process.pid) == ["0", "0"]
