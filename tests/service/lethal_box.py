"""The process of a box that kills itself, once, at a point that a file names: `die-at` in the data directory.

begin: before anything is signed · signed: before the journal has the record · recorded: before the answer leaves ·
answered: after it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import typer

from app.command import fsb_box
from fsb_gateway import driver
from fsb_gateway.box_driver import BoxDriver, BoxSpec, KeySlot
from fsb_gateway.driver.fault import FaultyDriver
from fsb_gateway.engine import recorder
from fsb_gateway.engine.journal import Finished, Journal
from fsb_gateway.key.store import Keystore
from fsb_gateway.process.conversation import Conversation
from fsb_gateway.process.frame import FromBox, Programmed

DATA_DIR = Path(sys.argv[sys.argv.index("--data-dir") + 1])


def die_at(point: str) -> None:
    order = DATA_DIR / "die-at"
    if order.exists() and order.read_text() == point:
        order.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


class LethalJournal(Journal):
    def append(self, finished: Sequence[Finished]) -> None:
        die_at("signed")
        super().append(finished)
        die_at("recorded")


class LethalDriver(FaultyDriver):
    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        die_at("begin")
        return super().sign(slot, message)


def send(self: Conversation, *messages: FromBox, real: object = Conversation.send) -> None:
    assert callable(real)
    real(self, *messages)
    if any(isinstance(message, Programmed) for message in messages):
        die_at("answered")


def open_lethally(
    spec: BoxSpec, *, slots: Path, keystore: Keystore, stopping: Event | None = None
) -> BoxDriver:
    opened = real_open_driver(spec, slots=slots, keystore=keystore, stopping=stopping)
    return LethalDriver(opened, spec.faults, stopping=stopping)


real_open_driver = driver.open_driver
vars(driver)["open_driver"] = open_lethally
vars(recorder)["Journal"] = LethalJournal
Conversation.send = send  # type: ignore[method-assign]
typer.run(fsb_box.run_box)
