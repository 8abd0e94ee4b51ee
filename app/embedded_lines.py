"""The lines of the embedded platform's own process, each made when it is first needed.

lines serve here       a line for each id that an instance has
lines in processes     one, under the id `control`, by which staff and the portal look at instances
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from app.core.db import Database
from app.core.ids import InstanceId, LineId
from app.licensing import Deadlines, InstanceIdentity, Programmer, TransferService
from app.operations.line import InstanceRuntime, Line, LineParts, TransferMaker
from app.settings import Settings

CONTROL_LINE: Final = LineId("control")
"""Under which control opens instances for staff and the portal while lines serve them in processes of their own: no
rights, leases or transfers are in that name."""


class EmbeddedLines:
    """Thread-safe.

    Args:
        parts: what a line is made of, asked when one is made.
    """

    def __init__(self, settings: Settings, parts: Callable[[], LineParts]) -> None:
        self._only = CONTROL_LINE if settings.lines == "processes" else None
        self._parts = parts
        self._lines: dict[LineId, Line] = {}
        self._making = threading.Lock()

    def get(self, line_id: LineId) -> Line:
        """The line of that id; with lines in processes of their own always the one by which control looks."""
        line_id = self._only or line_id
        with self._making:
            line = self._lines.get(line_id)
            if line is None:
                line = self._lines[line_id] = Line(line_id, self._parts())
            return line

    def all(self) -> list[Line]:
        """Those that have been made."""
        return list(self._lines.values())

    def runtimes(self) -> Iterator[InstanceRuntime]:
        """Everything that any of them is serving."""
        for line in self.all():
            yield from line

    def forget(self, instance_id: InstanceId) -> None:
        """Serve an instance no longer; what is in memory for it is not written down."""
        for line in self.all():
            line.forget(instance_id)


def transfer_maker(settings: Settings, programmer: Callable[[], Programmer]) -> TransferMaker:
    """What makes the licence path of an instance.

    Args:
        programmer: what jobs are sent to, asked for each instance.
    """

    def make(
        db: Database, identity: Callable[[], InstanceIdentity], note_open: Callable[[], None]
    ) -> TransferService:
        return TransferService(
            db,
            identity=identity,
            programmer=programmer(),
            deadlines=Deadlines(program=settings.program_deadline, lease=settings.drive_lease),
            wait=settings.program_wait,
            on_open=note_open,
        )

    return make
