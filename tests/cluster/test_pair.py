"""The pair of load balancers loses one of them in every way there is, under load; seconds as the client sees them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from tests.service.open_loop import Ask, Load
from tests.service.pair import INSTANCE, SHARED, Balancer, Pair
from tests.service.wait import wait_until

# A second for a machine that does other things besides: the benchmark `balancer_lost` has the marks themselves.
_SLACK: Final = 1.0
_CUT: Final = 1.0 + _SLACK
_KILLED: Final = 1.5 + _SLACK
_FROZEN: Final = 2.5 + _SLACK
_HANDED_OVER: Final = 0.3 + _SLACK

Act = Callable[[Balancer], None]


def _nothing(_balancer: Balancer) -> None:
    pass


def _restart_keeper(balancer: Balancer) -> None:
    balancer.stop_keeper()
    balancer.start_keeper()


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How one load balancer is lost, how it comes back, and how long that may be felt."""

    lose: Act
    mend: Act
    seconds: float


LOSSES: Final = {
    "cable_cut": Loss(lose=lambda one: one.machine.cut(), mend=lambda one: one.machine.mend(), seconds=_CUT),
    "haproxy_worker_killed": Loss(lose=Balancer.kill_worker, mend=Balancer.start_haproxy, seconds=_KILLED),
    "haproxy_master_killed": Loss(lose=Balancer.kill_master, mend=Balancer.start_haproxy, seconds=_KILLED),
    "haproxy_frozen": Loss(lose=Balancer.freeze, mend=Balancer.thaw, seconds=_FROZEN),
    "keepalived_killed": Loss(lose=Balancer.kill_keepalived, mend=_nothing, seconds=_CUT),
    "keepalived_parent_killed": Loss(
        lose=lambda one: one.kill_keepalived(slice(0, 1)), mend=_nothing, seconds=_CUT
    ),
    "keepalived_child_killed": Loss(
        lose=lambda one: one.kill_keepalived(slice(1, None)), mend=_nothing, seconds=_CUT
    ),
    "handed_over": Loss(lose=Balancer.step_aside, mend=Balancer.step_back, seconds=_HANDED_OVER),
    "keepalived_stopped": Loss(lose=Balancer.stop_keeper, mend=Balancer.start_keeper, seconds=_HANDED_OVER),
}


@pytest.mark.parametrize("name", LOSSES)
def test_other_one_takes_the_address_and_keeps_it_when_the_lost_one_is_back(pair: Pair, name: str) -> None:
    loss = LOSSES[name]
    lost = pair.owner()
    spare = pair.other(lost)
    two_before = pair.watch.overlap()
    with pair.load(pair.plan()) as load:
        load.wait_for(30)
        assert _balancers(load) == {lost.name}
        at = time.monotonic()
        loss.lose(lost)
        pair.wait_owner(spare)
        moved = time.monotonic()
        load.wait_for(30, after=moved)
        loss.mend(lost)
        pair.wait_spare(lost)
        back = time.monotonic()
        load.wait_for(30, after=back)
    assert load.outage_after(at) <= loss.seconds, load.story()
    assert not [each for each in load.failed if each.scheduled > moved], load.story()
    assert _balancers(load, after=moved + 0.1) == {spare.name}
    assert pair.watch.owners == [spare.name]
    assert pair.watch.overlap() == two_before


def test_both_that_cannot_hear_each_other_agree_again_as_soon_as_they_can(pair: Pair) -> None:
    lost = pair.owner()
    spare = pair.other(lost)
    with pair.load(pair.plan()) as load:
        load.wait_for(30)
        at = time.monotonic()
        lost.machine.isolate()
        wait_until(lambda: spare.name in pair.watch.owners, "the spare one to take over")
        load.wait_for(30, after=time.monotonic())
        assert load.outage_after(at) <= _CUT, load.story()
        lost.machine.mend()
        mended = time.monotonic()
        owner = pair.owner()
        agreed = time.monotonic()
        pair.wait_spare(pair.other(owner))
        load.wait_for(100, after=agreed)
    assert agreed - mended <= _CUT
    assert not [each for each in load.failed if each.scheduled > agreed + _CUT], load.story()
    assert _balancers(load, after=agreed + _CUT) <= {owner.name}


def test_planned_hand_over_fails_no_request_of_any_kind_of_client_after_one_retry(pair: Pair) -> None:
    giving = pair.owner()
    taking = pair.other(giving)
    kinds = ("keep_alive", "fresh", "http2")
    plan = pair.plan(tls=True, kinds=kinds, attempts=2, timeout_seconds=5.0, authority=pair.authority)
    with pair.load(plan) as load:
        load.wait_for(60)
        giving.step_aside()
        pair.wait_owner(taking)
        moved = time.monotonic()
        load.wait_for(100, after=moved)
        giving.step_back()
        pair.wait_spare(giving)
    assert not load.failed, load.story()
    # Whatever was on its way over a connection of the other one is asked again over a new one within a second or two.
    settled = {
        each.kind
        for each in load.answered
        if each.scheduled > moved and (each.by or "").startswith(taking.name)
    }
    assert settled == set(kinds)


def test_client_that_sticks_to_a_line_keeps_it_when_the_load_balancer_changes(pair: Pair) -> None:
    giving = pair.owner()
    taking = pair.other(giving)
    asks = tuple(
        Ask(path=f"/{INSTANCE}/sticky/x", headers=(("Authorization", f"Basic {_basic(f'client-{number}')}"),))
        for number in range(20)
    )
    with pair.load(pair.plan(asks=asks, attempts=2, timeout_seconds=5.0)) as load:
        load.wait_for(60)
        # Told by the other one: nobody has asked it anything yet, or not since the test before.
        wait_until(
            lambda: giving.sticky() == taking.sticky() and len(taking.sticky()) == 20, "both to know all"
        )
        giving.step_aside()
        pair.wait_owner(taking)
        moved = time.monotonic()
        load.wait_for(60, after=moved)
        giving.step_back()
        pair.wait_spare(giving)
    assert not load.failed, load.story()
    assert _balancers(load, after=moved) == {taking.name}
    lines = {ask: {_line(each.by) for each in load.answered if each.ask == ask} for ask in range(20)}
    assert {ask: len(found) for ask, found in lines.items()} == dict.fromkeys(range(20), 1)
    assert {line for found in lines.values() for line in found} == {"l1", "l2"}


def test_nobody_has_the_address_while_no_haproxy_answers_and_the_first_that_does_gets_it(pair: Pair) -> None:
    first = pair.owner()
    second = pair.other(first)
    second.kill_worker()
    first.kill_worker()
    wait_until(lambda: not pair.watch.owners, "the address to be nobody's")
    second.start_haproxy()
    pair.wait_owner(second)
    first.start_haproxy()
    pair.wait_spare(first)
    assert pair.watch.owners == [second.name]


def test_keepalived_that_begins_takes_no_address_before_haproxy_has_answered(pair: Pair) -> None:
    owner = pair.owner()
    spare = pair.other(owner)
    spare.stop_keeper()
    spare.kill_worker()
    spare.start_keeper()
    wait_until(lambda: "Entering FAULT STATE" in spare.states(), "keepalived to have asked HAProxy")
    owner.machine.cut()
    wait_until(lambda: not pair.watch.owners, "the address to be nobody's")
    spare.start_haproxy()
    pair.wait_owner(spare)
    owner.machine.mend()
    pair.wait_spare(owner)


def test_address_that_a_crash_has_left_behind_is_taken_away_before_keepalived_begins(pair: Pair) -> None:
    owner = pair.owner()
    spare = pair.other(owner)
    assert spare.keeper is not None
    spare.keeper.kill()
    spare.keeper.wait(10)
    spare.keeper = None
    spare.kill_keepalived()
    spare.machine.take_address(f"{SHARED}/24")
    wait_until(lambda: len(pair.watch.owners) == 2, "both to have the address")
    spare.start_keeper()
    pair.wait_owner(owner)
    pair.wait_spare(spare)


def test_haproxy_reloaded_again_and_again_never_looks_lost(pair: Pair) -> None:
    owner = pair.owner()
    moves = len(pair.watch.owned)
    with pair.load(pair.plan()) as load:
        load.wait_for(20)
        for _ in range(10):
            before = owner.worker()
            owner.reload()
            wait_until(lambda before=before: owner.worker() != before, "the new worker")  # type: ignore[misc]
            assert owner.check() == 0
        load.wait_for(20, after=time.monotonic())
    assert not load.failed, load.story()
    assert len(pair.watch.owned) == moves


def _balancers(load: Load, *, after: float = 0.0) -> set[str]:
    """Who has answered what was scheduled after a moment."""
    return {(each.by or "").partition(" ")[0] for each in load.answered if each.ok and each.scheduled > after}


def _line(by: str | None) -> str:
    return (by or "").partition(" ")[2]


def _basic(user: str) -> str:
    return base64.b64encode(f"{user}:secret".encode()).decode()
