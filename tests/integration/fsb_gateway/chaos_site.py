"""The platform as `wops up` with its gateway and boxes in processes of their own, and what kills them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, Self

import httpx2

from app.core.clock import SystemClock
from tests.api.site import HERE, Site, good
from tests.bench.start_to_ready import free_port
from tests.service.wait import wait_until

Victim = Literal["box", "gateway", "line"]

POOL: Final = "shared"
READY = timedelta(seconds=60)
_SECOND_BOX: Final = "second-of-chaos"
_OPERATION_MILLIS: Final = 8
_BETWEEN_KILLS: Final = (0.5, 4.0)
_WEIGHTS: Final[dict[Victim, int]] = {"box": 6, "gateway": 3, "line": 1}


class ChaosFailed(AssertionError):
    """Something was lost, doubled, or refused that should not have been."""


class ChaosSite(Site):
    """`wops up` with its gateway and boxes in processes of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, clock=SystemClock(), boxes="processes")
        self.settings.data_dir.mkdir(mode=0o700)
        self.port = free_port()
        self._line: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("wb")

    def start(self) -> Self:
        """Start the line and wait until it serves."""
        self.launch()
        wait_until(self.serves, "the platform to serve", deadline=READY)
        return self

    def launch(self) -> None:
        """Start the line, without waiting for it."""
        options = ["--data-dir", str(self.settings.data_dir), "--port", str(self.port), "--json"]
        self._line = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "up", *options],
            env={
                **os.environ,
                "WOPS_BOXES": "processes",
                "WOPS_OPERATION_TIME_MS": str(_OPERATION_MILLIS),
                "WOPS_DRIVE_LEASE_SECONDS": "2",
                "WOPS_PROBE_EVERY_SECONDS": "86400",
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self) -> None:
        """End everything in an orderly way; what does not end is killed and told of."""
        self.hang_up()
        if self._line is not None:
            self._line.terminate()
            self._line.wait(timeout=120)
        self._log.close()
        left = [*find_processes(self.settings.data_dir, "fsb")]
        for pid in left:
            kill(pid)
        if left:
            raise ChaosFailed(f"{len(left)} processes were left over")

    def kill_line(self) -> None:
        """kill -9, and another one in its place."""
        assert self._line is not None
        self._line.kill()
        self._line.wait()
        self.launch()

    def ended(self) -> bool:
        """Whether the line has ended by itself: nobody killed it."""
        return self._line is not None and self._line.poll() is not None

    def caller(self) -> httpx2.Client:
        """One customer's connection."""
        return httpx2.Client(base_url=f"http://{HERE}:{self.port}", timeout=40, trust_env=False)

    def flush(self, *, only: str | None = None) -> None:
        """Lines of another process are waited for, not told."""

    def pass_time(self, seconds: float) -> None:
        """Time passes by itself."""

    def add_second_box(self) -> None:
        """Let two people add a box to the shared pool."""
        body = {
            "name": _SECOND_BOX,
            "pool": POOL,
            "operation_time_ms": _OPERATION_MILLIS,
            "jitter": 0.5,
            "reason": "more to kill",
        }
        asked = good(self.admin("POST", "/boxes", body), 202)
        second = {"Authorization": f"Bearer {self.new_token('admin', person='second@wops.example')}"}
        path = f"/approvals/{asked['approval_id']}"
        etag = self.admin("GET", path).headers["ETag"]
        done = good(self.admin("POST", f"{path}:approve", {}, headers={**second, "If-Match": etag}))
        self.finish(done["operation_id"])

    def serves(self) -> bool:
        """Whether requests are answered now."""
        if self.ended():
            raise ChaosFailed("wops up ended by itself")
        with suppress(httpx2.TransportError), self.caller() as caller:
            return caller.get("/readyz").status_code == 200
        return False


def find_processes(data_dir: Path, *words: str) -> Iterator[int]:
    """Ids of the processes that work in a data directory and have all these words in their command."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            if str(data_dir) in command and all(word in command for word in words):
                yield int(entry.name)


def kill(pid: int) -> bool:
    """kill -9; whether it was there. Held by a descriptor, and asked again, so that no stranger is hit."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if b"fsb" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True


class Killer(threading.Thread):
    """Kills one of them every few seconds."""

    def __init__(self, site: ChaosSite, chance: random.Random, stop: threading.Event) -> None:
        super().__init__(name="killer")
        self._site = site
        self._chance = chance
        self._over = stop
        self.kills: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Go on until told to stop."""
        try:
            while not self._over.wait(self._chance.uniform(*_BETWEEN_KILLS)):
                victim = self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                self.kills[victim] += self._kill(victim)
        except BaseException as error:
            self.failure = error
            self._over.set()

    def _kill(self, victim: Victim) -> bool:
        if self._site.ended():
            raise ChaosFailed("wops up ended by itself")
        if victim == "line":
            self._site.kill_line()
            return True
        words = ("fsb", "box") if victim == "box" else ("fsb", "serve")
        found = sorted(find_processes(self._site.settings.data_dir, *words))
        return bool(found) and kill(self._chance.choice(found))
