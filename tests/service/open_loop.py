"""Load that does not wait for whom it loads: requests start at fixed times, and every one of them is accounted for.

    test ──plan (a JSON line)──► open_loop_client, a process of its own ──requests──► whatever is tested
         ◄──a JSON line for each request that has ended──

A request has ended well if one of its attempts was answered as expected. Times are of the system's monotonic clock, the
same in all processes: what a test does at a moment stands beside what requests saw then.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final, Literal

from tests.service.wait import wait_until

Kind = Literal["keep_alive", "fresh", "http2"]
"""HTTP/1.1 on connections that are kept, HTTP/1.1 on a new one each time, HTTP/2 on one connection for all."""

_ROOT: Final = Path(__file__).resolve().parents[2]
_ENDS_WITHIN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request. `{number}` (its own, from 0) and `{run}` (the load's) are replaced in path, header values and body.

    Attributes:
        expected: statuses that are an answer; 502, 503 and 504 beside them are tried again, anything else is wrong.
    """

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expected: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What is sent where, how often.

    Attributes:
        address: `host:port`, or the path of a Unix socket.
        rate: requests per second.
        asks: one after the other, over and over.
        kinds: in turns, each kind sends every ask.
        server_name: of TLS and `Host`; None: no TLS.
        authority: PEM file of who has issued the server's certificate; None: it is not verified.
        certificate: PEM file of the client's own certificate and key.
        timeout_seconds: of one attempt.
        attempts: at most; the second only after an attempt without an answer, or one with 502, 503, 504.
        retry_pause_seconds: between two attempts.
        answered_by: header of the answer that says who has answered.
        most: requests in all; None: until somebody stops it.
        most_under_way: a machine that does not keep up gets fewer a second instead of ever more at a time.
    """

    address: str
    rate: float
    asks: tuple[Ask, ...]
    kinds: tuple[Kind, ...] = ("keep_alive",)
    server_name: str | None = None
    authority: str | None = None
    certificate: str | None = None
    timeout_seconds: float = 5.0
    attempts: int = 2
    retry_pause_seconds: float = 0.0
    answered_by: str = "x-answered-by"
    most: int | None = None
    most_under_way: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a request was sent.

    Attributes:
        outcome: the status as text, or `refused`, `unreachable`, `timeout`, `closed`, `tls`, `protocol`,
            `error_<number of libcurl>`.
        by: who answered, as the answer says.
        text: the beginning of an answer that was not expected, or libcurl's message.
        resent: libcurl found its kept connection closed before a byte of the answer came, and took a new one by itself.
    """

    started: float
    seconds: float
    outcome: str
    by: str | None = None
    text: str = ""
    resent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of a request.

    Attributes:
        ask: index in the plan's asks.
        scheduled: when it was to be sent first.
        ok: the last attempt was answered as expected.
    """

    number: int
    kind: Kind
    ask: int
    scheduled: float
    ok: bool
    attempts: tuple[Attempt, ...]

    @property
    def finished(self) -> float:
        return self.attempts[-1].started + self.attempts[-1].seconds

    @property
    def by(self) -> str | None:
        return self.attempts[-1].by

    @property
    def outcomes(self) -> str:
        """Every attempt's, for people."""
        return ", ".join(each.outcome for each in self.attempts)


class Load:
    """Running load; `answered` grows meanwhile, and is complete after the `with` that it came from."""

    def __init__(self, plan: LoadPlan, within: Sequence[str] = ()) -> None:
        self.plan = plan
        self.sent = 0
        """Requests in all, known once the load has ended."""
        self.run = ""
        """What stands for `{run}`."""
        self._answered: list[Answered] = []
        self._process = subprocess.Popen(
            [*within, sys.executable, "-P", "-m", "tests.service.open_loop_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=None if not within else {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(_ROOT)},
        )
        self._input.write(f"{json.dumps(dataclasses.asdict(plan))}\n")
        self._input.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def answered(self) -> tuple[Answered, ...]:
        """What has ended by now, in the order of sending."""
        return tuple(sorted(self._answered, key=lambda each: each.number))

    @property
    def failed(self) -> tuple[Answered, ...]:
        return tuple(each for each in self.answered if not each.ok)

    @property
    def retried(self) -> tuple[Answered, ...]:
        """What went well, but not at once."""
        return tuple(each for each in self.answered if each.ok and len(each.attempts) > 1)

    @property
    def resent(self) -> tuple[Answered, ...]:
        """What libcurl itself has sent a second time."""
        return tuple(each for each in self.answered if any(attempt.resent for attempt in each.attempts))

    def who(self) -> Counter[str | None]:
        """How many requests each has answered well."""
        return Counter(each.by for each in self._answered if each.ok)

    def last_by(self, started_after: float = 0.0) -> str | None:
        """Who answered last, among what was sent first after a moment."""
        fine = [each for each in self._answered if each.ok and each.scheduled >= started_after]
        return max(fine, key=lambda each: each.finished).by if fine else None

    def outage_after(self, moment: float) -> float:
        """Seconds from a moment until requests went well again and for good; 0 if none failed after it.

        Counted to the first good answer among those that were scheduled after the last that failed.

        Raises:
            AssertionError: none went well afterwards.
        """
        answered = [each for each in self.answered if each.scheduled >= moment - self.plan.timeout_seconds]
        failed = [each.scheduled for each in answered if not each.ok]
        if not failed:
            return 0.0
        good = [each.finished for each in answered if each.ok and each.scheduled > max(failed)]
        assert good, "no request went well afterwards"
        return min(good) - moment

    def wait_for(
        self, count: int, *, after: float = 0.0, deadline: timedelta = timedelta(seconds=30)
    ) -> None:
        """Wait until so many requests that were scheduled after a moment have gone well."""

        def enough() -> bool:
            assert self._process.poll() in {None, 0}, "the load has ended by an error"
            return sum(each.ok and each.scheduled >= after for each in list(self._answered)) >= count

        wait_until(enough, f"{count} answers", deadline=deadline)

    def wait_seconds(self, seconds: float) -> None:
        """Let the load go on: wait until requests have ended that were scheduled so much later than now."""
        at = time.monotonic() + seconds

        def later() -> bool:
            return any(each.scheduled >= at for each in self._answered[-50:])

        wait_until(later, "the load to go on", deadline=timedelta(seconds=seconds + 30))

    def stop(self) -> None:
        """Send nothing new, wait for what is under way, and see that everything is accounted for."""
        if not self._input.closed:
            self._input.close()
        try:
            self._process.wait(_ENDS_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._output.close()
        assert self._process.returncode == 0, f"the load ended with {self._process.returncode}"
        numbers = [each.number for each in self.answered]
        assert numbers == list(range(self.sent)), "requests are missing"

    def wait_done(self, deadline: timedelta = timedelta(seconds=60)) -> None:
        """Wait until a load of a limited number of requests has ended."""
        assert self.plan.most is not None, "it would never end"
        wait_until(lambda: not self._reader.is_alive(), "the load's end", deadline=deadline)

    def story(self, most: int = 10) -> str:
        """What did not go well at once, for a failing test."""
        strange = [each for each in self.answered if not each.ok or len(each.attempts) > 1]
        lines = [f"{len(self.failed)} failed, {len(self.retried)} retried, {len(self.answered)} in all"]
        for each in strange[:most]:
            text = each.attempts[-1].text[:200]
            lines.append(f"  {each.number} {each.kind} at {each.scheduled:.3f}: {each.outcomes} {text}")
        return "\n".join(lines)

    @property
    def _input(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self) -> None:
        for line in self._output:
            said = json.loads(line)
            if "sent" in said:
                self.sent, self.run = said["sent"], said["run"]
            else:
                self._answered.append(_answered(said))


@contextmanager
def open_loop(plan: LoadPlan, *, within: Sequence[str] = ()) -> Iterator[Load]:
    """Load from now on until the block ends; `within` runs the client, e.g. `ip netns exec NAME`."""
    load = Load(plan, within)
    try:
        yield load
    finally:
        load.stop()


def _answered(said: dict[str, Any]) -> Answered:
    attempts = tuple(Attempt(**each) for each in said.pop("attempts"))
    return Answered(attempts=attempts, **said)
