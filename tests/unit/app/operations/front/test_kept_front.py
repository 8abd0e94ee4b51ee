from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from app.operations.front.default_certificate import DefaultPem
from app.operations.front.desired import Desired
from app.operations.front.kept_front import KeptFront
from app.operations.front.state import LeftOut
from lb.errors import HaproxyUnavailable
from lb.front.error import FrontCertificateUnfit, FrontNotReloaded, FrontRefused
from lb.front.front import Applied, FrontStatus
from lb.front.model import FrontModel
from lb.front.plan import Plan
from lb.front.state import FrontHost, FrontState
from tenancy.front.server_certificate import read_server_certificate
from tests.fake.clock import FakeClock
from tests.service.pki import START, issue_for_host

_ISSUED = issue_for_host("wops.example")
CERTIFICATE = DefaultPem(certificate=read_server_certificate(_ISSUED.pem, _ISSUED.key_pem), self_made=True)
STATE = FrontState(line_sets={}, instances={}, default_pem="default")
NOTHING: Any = FrontModel.__new__(FrontModel)


def wanted(number: int = 1, state: FrontState = STATE) -> Desired:
    return Desired(number=number, built_at=START, state=state, left_out=(), hosts=(), certificate=CERTIFICATE)


def plan(reload: str | None = None) -> Plan:
    return Plan(steps=(), reload=reload, result=NOTHING)


@dataclass
class FakeFront:
    """A load balancer that does what a test says."""

    answer: Callable[[FrontState], Applied] = lambda _state: applied()
    agrees: bool = True
    applied: list[FrontState] = field(default_factory=list)
    looked: int = 0

    def prepare(self) -> None:
        pass

    def plan(self, state: FrontState) -> Plan:
        return plan()

    def apply(self, state: FrontState) -> Applied:
        self.applied.append(state)
        return self.answer(state)

    def status(self) -> FrontStatus:
        self.looked += 1
        return FrontStatus(
            running=True,
            agrees=self.agrees,
            release=7,
            worker_pid=1,
            differences=(),
            lines={"shared": (1, 2)},
        )


def applied(*, reload: str | None = None, changed: bool = True) -> Applied:
    return Applied(plan=plan(reload), release=7, changed=changed, reloaded=reload is not None, seconds=0.1)


def refuse(error: Exception) -> Callable[[FrontState], Applied]:
    def answer(_state: FrontState) -> Applied:
        raise error

    return answer


@pytest.fixture
def front() -> FakeFront:
    return FakeFront()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keeper(front: FakeFront, clock: FakeClock) -> KeptFront:
    return KeptFront("lb1", front, clock=clock)


def test_it_is_brought_to_what_is_wanted_and_then_left_alone(
    keeper: KeptFront, front: FakeFront, clock: FakeClock
) -> None:
    front.answer = lambda _state: applied(reload="backends change")
    assert keeper.is_due(wanted())
    keeper.keep(wanted())
    report = keeper.report
    assert (report.in_step, report.applied, report.release, report.problem) == (True, 1, 7, None)
    assert (report.reload_reason, report.reloaded_at) == ("backends change", clock.now())
    assert not keeper.is_due(wanted())
    front.answer = lambda _state: applied()
    assert keeper.is_due(wanted(2))
    keeper.keep(wanted(2))
    assert (keeper.report.applied, len(front.applied)) == (2, 2)
    assert keeper.report.reload_reason == "backends change", "of the last reload"


def test_it_is_looked_at_now_and_then_and_mended(
    keeper: KeptFront, front: FakeFront, clock: FakeClock
) -> None:
    keeper.keep(wanted())
    clock.advance(timedelta(seconds=6))
    assert keeper.is_due(wanted())
    keeper.keep(wanted())
    assert (front.looked, len(front.applied)) == (1, 1)
    assert keeper.report.lines == (("shared", 1, 2),)
    clock.advance(timedelta(seconds=6))
    front.agrees = False
    keeper.keep(wanted())
    assert len(front.applied) == 2


def pauses_between_attempts(keeper: KeptFront, clock: FakeClock, attempts: int) -> list[float]:
    """Seconds from each attempt that fails to the next one."""
    pauses = []
    for _ in range(attempts):
        keeper.keep(wanted())
        assert not keeper.report.in_step
        waited = 0.0
        while not keeper.is_due(wanted()):
            clock.advance(timedelta(seconds=0.25))
            waited += 0.25
        pauses.append(waited)
    return pauses


def test_reload_that_does_not_come_up_is_tried_again_more_rarely_still(
    keeper: KeptFront, front: FakeFront, clock: FakeClock
) -> None:
    front.answer = refuse(FrontNotReloaded("It did not come up."))
    assert pauses_between_attempts(keeper, clock, 12)[-1] == 300
    assert keeper.is_due(wanted(2)), "what is new is tried at once"


def test_failure_is_said_and_tried_again_ever_more_rarely(
    keeper: KeptFront, front: FakeFront, clock: FakeClock
) -> None:
    front.answer = refuse(FrontRefused("HAProxy does not take it."))
    pauses = pauses_between_attempts(keeper, clock, 8)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, 10)
    said = keeper.report.problem
    assert said == "front_refused"
    assert keeper.is_due(wanted(2)), "what is new is tried at once"
    front.answer = lambda _state: applied()
    keeper.keep(wanted(2))
    assert (keeper.report.in_step, keeper.report.problem, keeper.report.running) == (True, None, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FrontNotReloaded("It did not come up."), "front_not_reloaded"),
        (OSError(28, "No space left on device"), "front_disk_failed"),
    ],
    ids=["reload", "disk"],
)
def test_whatever_goes_wrong_stands_in_the_report(
    keeper: KeptFront, front: FakeFront, error: Exception, code: str
) -> None:
    keeper.keep(wanted())
    front.answer = refuse(error)
    keeper.keep(wanted(2))
    report = keeper.report
    assert (report.in_step, report.applied, report.wanted, report.problem) == (False, 1, 2, code)
    assert report.message


def test_host_that_haproxy_would_not_take_holds_up_nobody(keeper: KeptFront, front: FakeFront) -> None:
    hosts = {
        name: FrontHost(host_id=f"hst_{name}", host=f"{name}.example", instance_id=None, pem=name)
        for name in ("good", "bad", "worse")
    }

    def answer(state: FrontState) -> Applied:
        for name in ("bad", "worse"):
            if name in state.hosts:
                raise FrontCertificateUnfit("No.", name=f"host-hst_{name}.pem")
        return applied()

    front.answer = answer
    keeper.keep(wanted(state=replace(STATE, hosts=hosts)))
    assert set(front.applied[-1].hosts) == {"good"}
    assert keeper.report.in_step
    assert keeper.report.left_out == tuple(
        LeftOut(kind="host", name=f"{name}.example", why="front_certificate_unfit")
        for name in ("bad", "worse")
    )


def test_authority_that_haproxy_would_not_take_holds_up_nobody(keeper: KeptFront, front: FakeFront) -> None:
    pems = {"aa": "good", "bb": "bad"}

    def answer(state: FrontState) -> Applied:
        if "bb" in state.authorities:
            raise FrontCertificateUnfit("No.", name="bb")
        return applied()

    front.answer = answer
    keeper.keep(wanted(state=replace(STATE, authorities=pems, revocation_lists=pems)))
    assert (set(front.applied[-1].authorities), set(front.applied[-1].revocation_lists)) == ({"aa"}, {"aa"})
    left_out = LeftOut(kind="authority", name="bb", why="front_certificate_unfit")
    assert (keeper.report.in_step, keeper.report.left_out) == (True, (left_out,))


def test_unfit_certificate_that_is_no_hosts_is_a_failure(keeper: KeptFront, front: FakeFront) -> None:
    front.answer = refuse(FrontCertificateUnfit("No.", name="default.pem"))
    keeper.keep(wanted())
    assert (keeper.report.in_step, keeper.report.problem) == (False, "front_certificate_unfit")
    assert len(front.applied) == 1


def test_silent_one_is_asked_every_second_so_that_it_serves_by_old_rules_no_longer_than_that(
    keeper: KeptFront, front: FakeFront, clock: FakeClock
) -> None:
    front.answer = refuse(HaproxyUnavailable("HAProxy does not answer."))
    assert max(pauses_between_attempts(keeper, clock, 8)) == 1
    assert (keeper.report.problem, keeper.report.running) == ("haproxy_unavailable", False)
