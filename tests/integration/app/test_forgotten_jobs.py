"""A gateway in a process of its own is killed with a queue: the lines send everything again, nobody asks them to."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.container import Platform
from app.core.clock import SystemClock
from app.gateway_process import SupervisedGateway
from tests.api.site import Instance, Site, good
from tests.api.slow_box import transfer_body
from tests.fake.clock import FakeClock
from tests.service.wait import wait_until

_SOON = timedelta(seconds=30)
_JOBS = 12
_SWEEPS = timedelta(seconds=6)
"""A sweep comes every two seconds; the rest is for a busy machine."""


class SweptPlatform(Platform):
    """Counts its sweeps."""

    begun = ended = 0

    async def sweep(self) -> None:
        self.begun += 1
        await super().sweep()
        self.ended += 1


def waiting(instance: Instance) -> dict[str, Any]:
    """What the gateway has of the instance; nothing while it is away."""
    answer = instance.portal("GET", "/queue")
    return dict(answer.json()) if answer.status_code == 200 else {"jobs": [], "finished": {"jobs": 0}}


def test_killed_gateway_has_all_open_jobs_again_within_a_sweep(tmp_path: Path) -> None:
    clock = FakeClock(SystemClock().now())
    with Site(
        tmp_path,
        clock=clock,
        make_platform=SweptPlatform,
        boxes="processes",
        operation_time_ms=1000,
        program_wait_seconds=0.05,
    ) as site:
        instance = site.add_instance("high_performance", "acme")
        bodies = [transfer_body(instance) for _ in range(_JOBS)]
        started = [good(instance.call("POST", "/transfers", body), 202)["transfer_id"] for body in bodies]
        # All of them are older than what is just being sent, and due once; then time stands still and none is due:
        # only what looks for forgotten jobs sends them again.
        site.pass_time(1.5)
        platform = site.platform
        assert isinstance(platform, SweptPlatform)
        begun = platform.begun
        wait_until(lambda: platform.ended > begun, "a whole sweep", deadline=_SOON)
        part = site.platform.gateway
        assert isinstance(part, SupervisedGateway)
        before = part.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: part.pid not in (None, before), "the gateway to be started anew", deadline=_SOON)
        wait_until(lambda: instance.portal("GET", "/queue").status_code == 200, "its answer", deadline=_SOON)

        def is_sent_again() -> bool:
            has = waiting(instance)
            issued = instance.meter("activations")["used"]
            return bool(len(has["jobs"]) + issued >= _JOBS)

        wait_until(is_sent_again, "all jobs to be there again", deadline=_SWEEPS)
        wait_until(lambda: instance.meter("activations")["used"] == _JOBS, "all updates", deadline=_SOON)
        for transfer_id in started:
            assert good(instance.call("GET", f"/transfers/{transfer_id}"))["state"] == "issued"
        instance.check_books()
