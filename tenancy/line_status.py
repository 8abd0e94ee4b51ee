"""What a line says of itself, on its private socket. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

ServingState = Literal["starting", "ready", "draining"]


class LineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a line is.

    Attributes:
        applied: version of `instances.json` that it serves; 0: none yet.
        running: requests under way, those for its health left out.
        instances: how many it would serve.
        open_instances: how many it has opened because somebody called.
        open_transfers: instances at which a transfer may be in the making.
        problem: code and text of what it could not take over from its files, for people.
    """

    line: str
    process_id: int
    started_at: datetime
    state: ServingState
    applied: int
    running: int
    instances: int
    open_instances: int
    open_transfers: int
    problem: str | None = None
