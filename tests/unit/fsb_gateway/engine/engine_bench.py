"""A box on a bench, and a disk that can be held up: for tests of the engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from fsb_gateway.box_driver import BoxDriver, BoxSpec
from fsb_gateway.engine.box_engine import BoxEngine
from fsb_gateway.engine.box_job import Answer
from fsb_gateway.job import ProgrammingJob, ProgrammingResult
from tests.fake.box_driver import ScriptedDriver
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import (
    box_spec,
    journal_path,
    make_authority,
)

SECONDS = 20.0


class Bench:
    """A box on a bench: what it is asked, what it answers."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.clock = clock
        self.driver = ScriptedDriver(make_authority())
        self.engines: list[BoxEngine] = []
        self.states: list[str] = []

    def start(
        self,
        spec: BoxSpec | None = None,
        *,
        driver: ScriptedDriver | None = None,
        open_driver: Callable[[BoxSpec, threading.Event], BoxDriver] | None = None,
    ) -> BoxEngine:
        spec = spec or box_spec()
        engine = BoxEngine(
            spec,
            open_driver or (driver or self.driver).open,
            journal_path=journal_path(self.folder, spec.name),
            clock=self.clock,
            changed=lambda: self.states.append(engine.state),
        )
        self.engines.append(engine)
        engine.start()
        assert engine.wait_started(SECONDS)
        return engine


class Asked:
    """One question to a box and its answer, when it is there."""

    def __init__(self) -> None:
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()

    def __call__(self, answer: Answer | None) -> None:
        self._answers.put(answer)

    @property
    def is_answered(self) -> bool:
        return not self._answers.empty()

    def answer(self) -> Answer | None:
        return self._answers.get(timeout=SECONDS)

    def result(self) -> ProgrammingResult:
        answer = self.answer()
        assert isinstance(answer, ProgrammingResult), answer
        return answer


def submit(engine: BoxEngine, job: ProgrammingJob, request: str = "digest") -> Asked:
    asked = Asked()
    engine.submit(job, request, asked)
    return asked


def recall(engine: BoxEngine, job_id: str, request: str | None = None) -> Asked:
    asked = Asked()
    engine.recall(job_id, request, asked)
    return asked


def state(engine: BoxEngine) -> str:
    return engine.state


class Disk:
    """The sync of the journal, which the test can hold up or let fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.error: OSError | None = None
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.begun.release()
        assert self.open.wait(SECONDS)
        if self.error is not None:
            raise self.error
        self._real(descriptor)
