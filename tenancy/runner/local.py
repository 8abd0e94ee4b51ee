"""Lines as processes of this machine: each a `wops line DIRECTORY` that outlives whoever looks after it.

<root>/<line id>/   line.json, instances.json   what it is to be; written by control before `ensure`
line.sock, front.sock       its own: for control, for the front
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from app.core.clock import Clock
from app.core.ids import LineId
from app.core.lock import make_private
from app.core.process import WOPS
from tenancy.line_file import PRIVATE_SOCKET
from tenancy.runner.kept_line import KeptLine, Patience
from tenancy.runner.line_link import LineLink
from tenancy.runner.port import LineSeen, LineSpec

_log = logging.getLogger(__name__)

PROGRAM: Final = (*WOPS, "line")
_AT_ONCE: Final = timedelta(0)


class LocalRunner:
    """A `Runner` of processes. For one event loop; one at a time per directory, which the platform's lock ensures.

    Args:
        root: the lines' directories lie in it, named by their ids.
        program: what runs a line; it is given the line's directory.
    """

    def __init__(
        self,
        root: Path,
        *,
        clock: Clock,
        patience: Patience | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._root = root.resolve()
        self._clock = clock
        self._patience = patience or Patience()
        self._program = program
        self._kept: dict[LineId, KeptLine] = {}
        self._looking = asyncio.Lock()
        self._look_at = float("-inf")

    async def ensure(self, spec: LineSpec) -> None:
        """Have the line run, and go on running. What has changed in its `line.json` holds from its next start on."""
        make_private(self._root)
        make_private(spec.directory)
        leaving = self._kept.get(spec.line_id)
        if leaving is not None and leaving.is_draining:
            await leaving.gone.wait()
        self._keep(spec.line_id, spec.directory)

    async def drain(self, line_id: LineId, *, within: timedelta) -> None:
        """Tell it to be unready, finish what runs and end; returns when it has, or was killed."""
        await self._end(line_id, within)

    async def stop(self, line_id: LineId) -> None:
        """Kill it, and have it no more."""
        await self._end(line_id, _AT_ONCE)

    async def restart(self, line_id: LineId) -> None:
        """Kill its process, frozen or not, and start it anew at once; nothing if it is not wanted."""
        kept = self._kept.get(line_id)
        if kept is not None and not kept.is_draining:
            kept.restart()

    async def observe(self) -> Mapping[LineId, LineSeen]:
        """How every line was a moment ago; what another control has left running, or starting, is among them."""
        async with self._looking:
            if self._clock.monotonic() >= self._look_at:
                await self._adopt_all()
                self._look_at = self._clock.monotonic() + self._patience.look_again.total_seconds()
            await self._let_go_of_ended()
        return {line_id: kept.seen() for line_id, kept in self._kept.items()}

    async def close(self) -> None:
        """Look after lines no longer; they go on serving."""
        async with self._looking:
            kept, self._kept = list(self._kept.values()), {}
        await asyncio.gather(*(each.release() for each in kept))

    def _keep(self, line_id: LineId, directory: Path, *, only_found: bool = False) -> None:
        kept = self._kept.get(line_id)
        if kept is None:
            kept = self._kept[line_id] = KeptLine(
                line_id, directory, program=self._program, clock=self._clock, patience=self._patience
            )
        kept.keep(only_found=only_found)

    async def _end(self, line_id: LineId, within: timedelta) -> None:
        await self.observe()
        kept = self._kept.get(line_id)
        if kept is not None:
            await kept.end(within)
            if self._kept.get(line_id) is kept:
                del self._kept[line_id]

    async def _adopt_all(self) -> None:
        """Look after lines that run here, wanted or not: whoever observes them decides."""
        found = await asyncio.to_thread(lambda: sorted(self._root.glob(f"*/{PRIVATE_SOCKET}")))
        await asyncio.gather(*(self._adopt(path.parent) for path in found))

    async def _adopt(self, directory: Path) -> None:
        line_id = LineId(directory.name)
        if line_id in self._kept:
            return
        link = LineLink(directory, patience=self._patience.answer)
        listener = await link.find_listener(line_id)
        await link.close()
        if listener is not None:
            listener.process.release()
            if line_id not in self._kept:
                # It may end before it is found again, and perhaps nobody wants it.
                self._keep(line_id, directory, only_found=True)

    async def _let_go_of_ended(self) -> None:
        ended = [
            line_id for line_id, kept in self._kept.items() if kept.was_not_found and not kept.is_draining
        ]
        for kept in [self._kept.pop(line_id) for line_id in ended]:
            await kept.release()
