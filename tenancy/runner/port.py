"""What control asks of whoever runs lines: processes here, machines elsewhere.

absent ──ensure──► starting ──► ready ──drain──► draining ──► absent
                      ▲           │ ended by itself
                      └── pause ──┘
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Protocol

from app.core.ids import LineId

LineState = Literal["starting", "ready", "draining", "waiting", "frozen", "absent"]
"""`waiting`: it ended by itself and is started again after a pause; `frozen`: it lives and does not answer."""

LIMIT_BOUNDS: Final = {"threads": (2, 1024), "memory_mb": (128, 1_000_000), "open_files": (32, 1_000_000)}
"""From what a line needs to start and answer (measured: 70 MB) to what is none. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLimits:
    """What a line may use at most.

    Attributes:
        threads: for blocking work; a database that hangs may hold 64 of them (`app.core.db.MOST_AT_ONCE`, twice).
        memory_mb: of address space in use (`RLIMIT_DATA`); beyond it requests fail instead of the machine.
        open_files: descriptors (`RLIMIT_NOFILE`).
    """

    threads: int = 128
    memory_mb: int = 1024
    open_files: int = 8192

    def __post_init__(self) -> None:
        """Refuse limits that a line could not live with, or that limit nothing.

        Raises:
            ValueError: one is out of its bounds.
        """
        for name, (least, most) in LIMIT_BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be {least} to {most}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSpec:
    """What a line is to be; the same again changes nothing.

    Attributes:
        directory: private to the line: what it serves, its keys and limits, its sockets.
    """

    line_id: LineId
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSeen:
    """How a line is.

    Attributes:
        process_id: None while it has no process.
        restarts: how often it has ended by itself since somebody wanted it.
        next_start_at: when it is started again; None unless it waits.
        running: requests under way; None if it does not say.
        applied: version of what it serves; None if it does not say.
        problem: what it last ended with, for people.
    """

    line_id: LineId
    state: LineState
    process_id: int | None = None
    restarts: int = 0
    next_start_at: datetime | None = None
    running: int | None = None
    applied: int | None = None
    problem: str | None = None


class Runner(Protocol):
    """Runs lines. For one event loop."""

    async def ensure(self, spec: LineSpec) -> None:
        """Have the line run, and go on running: whatever ends by itself is started again, after a pause."""
        ...

    async def drain(self, line_id: LineId, *, within: timedelta) -> None:
        """Tell it to be unready, finish what runs and end; whoever is not done in time is stopped."""
        ...

    async def stop(self, line_id: LineId) -> None:
        """End it now, and have it no more."""
        ...

    async def restart(self, line_id: LineId) -> None:
        """End its process, however it is, and start it anew at once; nothing if it is not wanted."""
        ...

    async def observe(self) -> Mapping[LineId, LineSeen]:
        """How every line is that is wanted or still has a process."""
        ...

    async def close(self) -> None:
        """Look after lines no longer; they go on serving, and the next runner finds them."""
        ...
