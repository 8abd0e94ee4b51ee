"""Software boxes that work in the process of their gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app.core.clock import Clock
from fsb_gateway.box_driver import BoxDriver, BoxSpec
from fsb_gateway.driver import open_driver
from fsb_gateway.engine.box_worker import BoxWorker
from fsb_gateway.key.store import Keystore


def embedded_boxes(directory: Path, keystore: Keystore, *, clock: Clock) -> Callable[[BoxSpec], BoxWorker]:
    """What makes a gateway's boxes in its own process.

    Args:
        directory: of all boxes' files: their slots and journals lie below it.
    """

    def open_keys(spec: BoxSpec, stopping: threading.Event) -> BoxDriver:
        return open_driver(spec, stopping=stopping, slots=directory / "slots", keystore=keystore)

    def make_box(spec: BoxSpec) -> BoxWorker:
        journal_path = directory / "journals" / f"{spec.name}.journal"
        return BoxWorker(spec, open_keys, journal_path=journal_path, clock=clock)

    return make_box
