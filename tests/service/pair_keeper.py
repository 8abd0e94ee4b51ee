"""Stands in for systemd on one machine of a pair: keeps keepalived of `settings` running until it is told to end.

`python -m tests.service.pair_keeper NAME`, with the pickled `PairSettings` on standard input.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import sys

from app.core.clock import SystemClock
from lb.pair import PairSettings
from lb.pair.process import supervised_keepalived


async def keep(settings: PairSettings, name: str) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    keeping = supervised_keepalived(
        settings, name, clock=SystemClock(), log_file=settings.directory / "keepalived.log"
    )
    keeping.start()
    await stopping.wait()
    await keeping.stop()


if __name__ == "__main__":
    # From the test that has started this, and from nobody else.
    asyncio.run(keep(pickle.loads(sys.stdin.buffer.read()), sys.argv[1]))  # noqa: S301
