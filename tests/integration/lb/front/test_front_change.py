"""Bringing a running front to another state: nobody loses a request."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from lb.front.release import Releases
from tests.integration.lb.front.change import agrees, served, serving, two
from tests.service.front_site import ACME, FrontSite, front_home
from tests.service.open_loop import Ask, LoadPlan, open_loop


def test_the_same_state_again_writes_nothing(site: FrontSite) -> None:
    front = site.front
    first = front.apply(two(site))
    assert first.changed
    second = front.apply(two(site))
    assert (second.changed, second.release, second.plan.is_empty) == (False, first.release, True)
    # Nor does somebody who knows nothing.
    third = site.front.apply(two(site))
    assert (third.changed, third.release) == (False, first.release)


def test_a_temporary_line_comes_and_goes_without_a_reload(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    came = front.apply(site.state(*(site.line(number) for number in (1, 2, 3))))
    assert not came.reloaded
    assert serving(site) == {"l1", "l2", "l3"}
    out = front.apply(site.state(site.line(1), site.line(2), site.line(3, in_service=False)))
    went = front.apply(two(site))
    assert not out.reloaded
    assert not went.reloaded
    assert serving(site) == {"l1", "l2"}
    assert agrees(site)


def test_a_line_comes_without_a_reload_whatever_its_number_and_is_known_by_it(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    came = front.apply(site.state(site.line(1), site.line(2), replace(site.line(3), number=7)))
    assert not came.reloaded
    assert came.escalated is None
    assert {each.server_id for each in site.runtime.show_servers_state(ACME)} == {1, 2, 7}
    assert [len(site.runtime.show_stat(name).servers) for name in (ACME, "sticky")] == [3, 0]
    assert serving(site) == {"l1", "l2", "l3"}
    assert agrees(site)


def test_weights_that_change_while_nobody_asks_leave_no_line_out(site: FrontSite) -> None:
    front = site.front
    # With `balance roundrobin` the second line got nothing of the last 600 requests (2.6.12).
    for one, other in ((100, 1), (1, 100), (100, 100)):
        front.apply(site.state(site.line(1, weight=one), site.line(2, weight=other)))
    served(site, 50)
    for one, other in ((100, 1), (1, 100), (100, 100)):
        front.apply(site.state(site.line(1, weight=one), site.line(2, weight=other)))
    assert min(Counter(served(site, 600)).values()) > 200
    front.apply(site.state(site.line(1, weight=256), site.line(2, weight=32)))
    shares = Counter(served(site, 900))
    assert 40 <= shares["l2"] <= 180


def test_a_line_that_goes_finishes_what_it_has(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    plan = LoadPlan(
        address=site.plain, rate=40, asks=(Ask(path="/acme/x?ms=700"),), kinds=("fresh",), attempts=1
    )
    with open_loop(plan) as load:
        load.wait_for(20)
        front.apply(site.state(site.line(1), site.line(2), site.line(3)))
        load.wait_seconds(1)
        front.apply(two(site))
        load.wait_seconds(1)
    assert load.failed == (), load.story()
    assert load.who()["l3"] > 0


def test_a_line_that_says_it_is_not_ready_gets_nothing_new_and_finishes(site: FrontSite) -> None:
    site.front.apply(two(site))
    plan = LoadPlan(
        address=site.plain, rate=60, asks=(Ask(path="/acme/x?ms=500"),), kinds=("fresh",), attempts=1
    )
    with open_loop(plan) as load:
        load.wait_for(30)
        (site.home / "l2.sock.out").touch()
        load.wait_seconds(2.5)
    assert load.failed == (), load.story()
    late = [each for each in load.answered if each.scheduled > load.answered[-1].scheduled - 0.5]
    assert {each.by for each in late} == {"l1"}


def test_the_first_release_serves_nobody_and_is_made_once() -> None:
    with front_home() as site:
        site.front.prepare()
        first = Releases(site.settings).current()
        site.front.prepare()
        again = Releases(site.settings).current()
        assert first is not None
        assert again is not None
        assert (first.number, first.files) == (again.number, again.files)
        site.start_haproxy()
        assert site.get_plain("/acme/x").status == 404


def test_old_releases_are_removed(site: FrontSite) -> None:
    front = site.front
    for weight in range(1, 12):
        front.apply(site.state(site.line(1, weight=weight), site.line(2, weight=101)))
    assert len(list(site.settings.releases.iterdir())) == 5


def test_files_are_their_owners_only(site: FrontSite) -> None:
    site.front.apply(two(site))
    for folder, _, names in os.walk(site.settings.directory):
        assert os.stat(folder).st_mode & 0o077 == 0
        assert [
            name
            for name in names
            if os.lstat(Path(folder, name)).st_mode & 0o077 and not Path(folder, name).is_socket()
        ] == []
