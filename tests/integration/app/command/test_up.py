"""`wops up` with a gateway that is away, and `wops up` that is told to stop in the middle of its story."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.app.command.platform_process import WOPS
from tests.service.wait import wait_until

_SOON = timedelta(seconds=30)


class Printing:
    """`wops up`, and what it has printed so far."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._files = (folder / "out", folder / "err")
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                [*WOPS, "up", "--port", "0", "--data-dir", str(folder / "data"), *options],
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        return self._files[1].read_text()

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end; returns the status."""
        self.process.send_signal(number)
        return self.process.wait(_SOON.total_seconds())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_in_the_middle_of_the_story_is_no_failure(tmp_path: Path, number: signal.Signals) -> None:
    running = Printing(tmp_path, "--walk")
    try:
        wait_until(lambda: "✓" in running.out, "the story to begin", deadline=_SOON)
        assert running.end(number) == 0
    finally:
        running.process.kill()
        running.process.wait()
    assert (running.err.count("creating"), "net_unavailable" in running.err) == (4, False)
    assert "steps did what they should" not in running.out, "it had ended before"


def test_demo_whose_making_was_killed_is_carried_to_its_end_by_the_next_start(tmp_path: Path) -> None:
    running = Printing(tmp_path, "--demo")
    try:
        wait_until(lambda: "creating demo-performance" in running.err, "the demo to begin", deadline=_SOON)
        running.process.kill()
        running.process.wait()
        running = Printing(tmp_path, "--demo", "--json")
        wait_until(lambda: running.out.endswith("\n") or running.err, "the next start", deadline=_SOON)
        assert running.err == ""
        assert len(json.loads(running.out)["instances"]) == 4
    finally:
        running.process.kill()
        running.process.wait()


def test_gateway_that_is_away_is_told_once_with_the_reason_and_the_platform_serves(tmp_path: Path) -> None:
    socket = tmp_path / "no.sock"
    running = Printing(tmp_path, "--boxes", f"unix:{socket}")
    why = f"The gateway at {socket} cannot be reached: there is no such socket."
    try:
        wait_until(lambda: "ready" in running.out, "the platform to be ready", deadline=_SOON)
        wait_until(lambda: '"loop":"boxes"' in running.err, "the loop to say so", deadline=_SOON)
        assert running.end(signal.SIGTERM) == 0
    finally:
        running.process.kill()
        running.process.wait()
    lines = running.err.splitlines()
    assert f"{why} wops serves all the same, and goes on trying." in lines
    assert len([each for each in lines if '"loop":"boxes"' in each]) == 1
    assert all(why in each for each in lines if '"loop":"boxes"' in each)
