"""What load balancers, and workers that follow each other, know of callers: tables that peers share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta

import pytest

from lb.errors import HaproxyUnavailable
from lb.front.counter import CALLS, WINDOW_SECONDS
from lb.front.settings import FrontLimits, FrontPeer
from lb.front.state import FrontState
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from tests.integration.lb.front.answered import echoed, problem
from tests.integration.lb.front.change import flooded
from tests.service.front_site import FrontSite, free_ports, front_home
from tests.service.wait import wait_until

MOST = 3
"""Requests a second from one address."""
FLOOD = MOST * WINDOW_SECONDS + 1
_WAITS = timedelta(seconds=5)
"""How long a worker waits for the tables of another one, before it hands on its own (2.6.12)."""


def sticky(site: FrontSite) -> FrontState:
    """Two lines, between which callers stay where they were."""
    lines = [site.line(number) for number in (1, 2)]
    action = ToLines(weights={line.line_id: 10 for line in lines}, sticky=True)
    rules = RuleSet(rules=(Rule(name="stay", match=Match(), action=action),))
    return site.state(*lines, instance={"rules": rules})


def started(site: FrontSite) -> FrontSite:
    """Its first worker has the state already: no other one comes soon."""
    for number in (1, 2):
        site.start_line(number)
    site.front.prepare()
    with suppress(HaproxyUnavailable):
        site.front.apply(sticky(site))
    site.start_haproxy()
    wait_until(lambda: site.get_plain("/acme/x").status == 200, "lines to be ready")
    return site


@pytest.fixture
def pair() -> Iterator[tuple[FrontSite, FrontSite]]:
    """Two that know each other."""
    one, other = free_ports(2)
    peers = (
        FrontPeer(name="lb1", address=f"127.0.0.1:{one}"),
        FrontPeer(name="lb2", address=f"127.0.0.1:{other}"),
    )
    limits = FrontLimits(address_calls=MOST)
    with ExitStack() as stack:
        homes = [
            stack.enter_context(front_home(name=peer.name, peers=peers, limits=limits)) for peer in peers
        ]
        first, second = (started(home) for home in homes)
        wait_until(lambda: first.runtime.show_info().connected_peers, "them to meet", deadline=2 * _WAITS)
        yield first, second


def counted(site: FrontSite) -> int:
    """Requests of the last seconds from our address, as a load balancer knows."""
    (entry,) = site.runtime.show_table(CALLS) or (None,)
    return 0 if entry is None else int(entry.data[f"http_req_rate({WINDOW_SECONDS * 1000})"])


def homes(site: FrontSite) -> dict[str, str]:
    """Line by caller."""
    return {entry.key: entry.data["server_key"] for entry in site.runtime.show_table("sticky")}


def test_who_floods_one_load_balancer_is_refused_by_the_other(pair: tuple[FrontSite, FrontSite]) -> None:
    first, second = pair
    line = echoed(first.get_plain("/acme/x", "-u", "erp:secret"))["line"]
    flooded(first, FLOOD)
    assert problem(first.get_plain("/acme/x")) == "caller_too_fast"
    wait_until(lambda: counted(second) >= FLOOD, "the other one to hear of it")
    assert problem(second.get_plain("/acme/x")) == "caller_too_fast"
    assert homes(second) == homes(first) == {"ins_acme|stay|erp": line}


def test_a_worker_hands_its_tables_to_the_next_one_and_that_one_at_once_to_the_one_after() -> None:
    with front_home() as home:
        site = started(home)
        line = echoed(site.get_plain("/acme/x", "-u", "erp:secret"))["line"]
        known = {"ins_acme|stay|erp": line}
        assert homes(site) == known
        wait_until(
            lambda: site.runtime.show_info().uptime > _WAITS + timedelta(seconds=1),
            "the first to await nothing any more",
            deadline=2 * _WAITS,
        )
        for _ in range(3):
            before = site.runtime.show_info().pid
            site.master.reload()
            wait_until(lambda: site.runtime.show_info().pid != before, "the next worker")  # noqa: B023
            wait_until(lambda: homes(site) == known, "it to know where the caller was")
        assert counted(site) > 0
