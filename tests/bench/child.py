"""A process of a benchmark that is told what to do and answers, in JSON, a line each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Child:
    """A module of this package with its own `main`, on the other end of two pipes."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **asked: Any) -> None:
        """Say what is to be done."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What it says next.

        Raises:
            RuntimeError: it ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark ended with {self._process.wait()}")
        return json.loads(line)

    def ask(self, **asked: Any) -> Any:
        """Say what is to be done, and wait for the answer."""
        self.tell(**asked)
        return self.answer()

    def close(self) -> None:
        """Let it end; one that does not is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running_child(module: str, *arguments: str) -> Iterator[Child]:
    """Start it, and end it afterwards."""
    child = Child(module, *arguments)
    try:
        yield child
    finally:
        child.close()
