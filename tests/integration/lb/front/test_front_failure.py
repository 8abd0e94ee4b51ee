"""Whatever goes wrong while a front is changed leaves it as it was, or as it is to be."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from itertools import count
from typing import Any

import pytest

from app.core.clock import SystemClock
from app.core.lock import locked
from lb.errors import HaproxyError, HaproxyUnavailable
from lb.front.action import RuntimeActor
from lb.front.applier import Applier
from lb.front.error import (
    FrontBusy,
    FrontCertificateUnfit,
    FrontDiskFailed,
    FrontNotReloaded,
    FrontRefused,
    FrontStateUnfit,
)
from lb.front.front import Front
from lb.front.release import Releases
from lb.front.settings import FrontLimits, FrontTimes
from lb.front.state import FrontState, LineSet
from lb.haproxy_stats import ServerTarget
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from lb.stats.server import Servers
from tests.integration.lb.front.change import agrees, serving, two
from tests.service.front_site import ACME, FrontSite, running_front
from tests.service.open_loop import Ask, LoadPlan, open_loop
from tests.service.wait import wait_until

_PLACES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (RuntimeActor, ("carry_out",)),
    (Servers, ("enable_health", "enable")),
    (Releases, ("write", "put_in_force", "unsettle", "settle", "_clean", "_fill")),
    (Applier, ("_put_in_force", "_reload", "_smoke")),
    (Front, ("_remember",)),
)
"""Before each of them somebody may be killed."""


def apply_and_die(site: FrontSite, state: FrontState, kill_at: int) -> bool:
    """Apply in a process of its own that is killed at a certain moment; False: it was done before."""
    child = os.fork()
    if child == 0:
        try:
            _arm(kill_at)
            site.front.apply(state)
            os._exit(0)
        except BaseException:
            os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


def _arm(kill_at: int) -> None:
    """Let this process be killed at the so-manieth place."""
    places = count(1)

    def armed(whole: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if next(places) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(*arguments, **named)

        return wrapped

    for owner, names in _PLACES:
        for name in names:
            setattr(owner, name, armed(getattr(owner, name)))


@pytest.mark.parametrize("with_reload", [False, True], ids=["steps", "reload"])
def test_whoever_is_killed_anywhere_is_followed_by_one_who_finishes(
    site: FrontSite, with_reload: bool
) -> None:
    front = site.front
    before = two(site)
    after = site.state(
        *(site.line(number, weight=7 * number) for number in (1, 2, 3)),
        instance={
            "rules": RuleSet(
                rules=(
                    Rule(
                        name="erp",
                        match=Match(path_prefix="/erp/"),
                        action=ToLines(weights={site.line(2).line_id: 1}),
                    ),
                )
            )
        },
        default_pem=site.pem_for("wops.example"),
    )
    if with_reload:
        after = replace(
            after, line_sets={**after.line_sets, "other": LineSet(key="other", lines=(site.line(3),))}
        )
    plan = LoadPlan(
        address=site.plain, rate=50, asks=(Ask(path="/acme/x"),), kinds=("keep_alive",), attempts=1
    )
    deaths = 0
    front.apply(before)
    with open_loop(plan) as load:
        for kill_at in range(1, 40):
            front.apply(before)
            if not apply_and_die(site, after, kill_at):
                break
            deaths += 1
            site.front.apply(after)
            assert agrees(site)
    assert load.failed == (), load.story()
    assert deaths >= (8 if with_reload else 15)


def test_a_configuration_that_is_refused_changes_nothing(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    before = Releases(site.settings).current()
    worker = site.runtime.show_info().pid
    # A program that takes no configuration stands for a HAProxy that has other ideas than ours of what is right.
    broken = Front(replace(site.settings, haproxy="/bin/false"), clock=front._clock)
    more = with_sets(two(site), "other")
    with pytest.raises(FrontRefused):
        broken.apply(more)
    after = Releases(site.settings).current()
    assert before is not None
    assert after is not None
    assert after.number == before.number
    assert site.runtime.show_info().pid == worker
    assert agrees(site)


def test_a_reload_that_does_not_come_up_is_taken_back(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    before = Releases(site.settings).current()
    more = with_sets(two(site), "other")
    unhealthy = Front(replace(site.settings, smoke_path="/nothing-here"), clock=front._clock)
    plan = LoadPlan(
        address=site.tls, server_name="wops.example", rate=60, asks=(Ask(path="/acme/x"),), attempts=1
    )
    with open_loop(plan) as load:
        load.wait_for(20)
        with pytest.raises(FrontNotReloaded):
            unhealthy.apply(more)
        load.wait_seconds(0.5)
    assert load.failed == (), load.story()
    after = Releases(site.settings).current()
    assert before is not None
    assert after is not None
    assert after.number == before.number
    assert agrees(site)
    assert front.apply(more).reloaded


@pytest.mark.parametrize("what", ["name", "certificate", "authority"])
def test_a_value_that_no_front_takes_changes_nothing(site: FrontSite, what: str) -> None:
    front = site.front
    release = front.apply(two(site)).release
    bad = {
        "name": two(site, instance={"name": "a;b"}),
        "certificate": two(site, default_pem=site.pem.partition("-----BEGIN EC")[0]),
        "authority": two(site, authorities={"a": "rubbish"}),
    }[what]
    with pytest.raises(FrontCertificateUnfit if what != "name" else FrontStateUnfit):
        front.apply(bad)
    assert front.apply(two(site)).release == release
    assert agrees(site)


def test_without_haproxy_the_files_are_brought_up_to_date_for_its_next_start(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    site.stop_haproxy()
    later = site.state(site.line(1), site.line(3))
    with pytest.raises(HaproxyUnavailable) as refused:
        front.apply(later)
    assert refused.value.code == "haproxy_unavailable"
    assert not front.status().running
    site.start_haproxy()
    assert not front.apply(later).changed
    assert serving(site) == {"l1", "l3"}


def test_a_socket_that_hangs_is_said_in_time_and_finished_afterwards(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    worker = site.runtime.show_info().pid
    os.kill(worker, signal.SIGSTOP)
    try:
        with pytest.raises(HaproxyUnavailable):
            front.apply(site.state(site.line(1, weight=5), site.line(2)))
    finally:
        os.kill(worker, signal.SIGCONT)
    front.apply(site.state(site.line(1, weight=5), site.line(2)))
    assert agrees(site)


@pytest.mark.parametrize("master", ["away", "silent"])
def test_without_a_master_nothing_changes_that_needs_a_reload(site: FrontSite, master: str) -> None:
    front = site.front
    release = front.apply(two(site)).release
    more = with_sets(two(site), "other")
    with lost_master(site, master), pytest.raises(HaproxyUnavailable):
        front.apply(more)
    current = Releases(site.settings).current()
    assert current is not None
    assert current.number == release
    assert front.apply(more).reloaded
    assert agrees(site)


@contextmanager
def lost_master(site: FrontSite, how: str) -> Iterator[None]:
    """The master's socket is not there, or takes calls and answers none."""
    assert site.haproxy is not None
    path, away = site.settings.master_socket, site.home / "master.away"
    if how == "away":
        path.rename(away)
    else:
        os.kill(site.haproxy.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if how == "away":
            away.rename(path)
        else:
            os.kill(site.haproxy.pid, signal.SIGCONT)


def apply_with_room_for(site: FrontSite, state: FrontState, most: int) -> bool:
    """Apply in a process that can write no file of more bytes; whether it says that the disk has failed."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            try:
                site.front.apply(state)
            except FrontDiskFailed:
                os._exit(7)
        os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(("what", "most"), [("map", 5), ("certificate", 500), ("configuration", 5000)])
def test_a_file_that_cannot_be_written_changes_nothing(site: FrontSite, what: str, most: int) -> None:
    front = site.front
    release = front.apply(two(site)).release
    more = {
        "map": two(site, denied=(ip_network("192.0.2.0/24"),)),
        "certificate": two(site, default_pem=site.pem_for("wops.example")),
        "configuration": site.state(site.line(1, weight=7), site.line(2)),
    }[what]
    for _ in range(2):
        assert apply_with_room_for(site, more, most)
    assert [path.name for path in site.settings.releases.iterdir() if not path.name.isdigit()] == []
    assert front.apply(two(site)).release == release
    assert agrees(site)
    assert front.apply(more).release == release + 1


def test_another_process_at_it_is_said_at_once(site: FrontSite) -> None:
    front = site.front
    with locked(site.settings.directory), pytest.raises(FrontBusy):
        front.apply(two(site))
    front.apply(two(site))


def test_two_keepers_at_once_get_in_nobodys_way(site: FrontSite) -> None:
    """Each is told that another one is at it, or brings it to its own state; what runs is one of the two."""
    states = [with_sets(two(site), "other"), site.state(site.line(1, weight=3), site.line(3))]
    site.front.apply(states[0])
    children = []
    for state in states:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                front = site.front
                for _ in range(12):
                    with suppress(FrontBusy):
                        front.apply(state)
                os._exit(0)
            os._exit(3)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert agrees(site)
    assert [site.front.plan(state).is_empty for state in states].count(True) == 1


def test_haproxy_that_is_killed_and_started_by_hand_while_states_change_agrees_in_the_end(
    site: FrontSite,
) -> None:
    denied = (ip_network("192.0.2.0/24"),)
    front, states = site.front, [two(site), site.state(site.line(1, weight=3), site.line(2), denied=denied)]
    stop = threading.Event()
    refused: set[str] = set()

    def change() -> None:
        while not stop.is_set():
            for state in states:
                try:
                    front.apply(state)
                except HaproxyError as error:
                    refused.add(error.code)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(4):
            site.stop_haproxy()
            site.start_haproxy()
            wait_until(lambda: site.get_plain("/acme/x").status == 200, "the front to serve")
    finally:
        stop.set()
        thread.join(60)
    assert refused <= {"haproxy_unavailable", "front_not_reloaded"}
    front.apply(states[1])
    assert agrees(site)
    assert serving(site) == {"l1", "l2"}


def test_an_old_worker_that_hangs_on_is_ended_and_holds_up_nobody() -> None:
    second = timedelta(seconds=1)
    with running_front(times=FrontTimes(hard_stop=second)) as site:
        site.start_line(1)
        site.front.apply(site.state(site.line(1)))
        host, port = site.plain.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"GET /acme/x?ms=9000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: used(site), "the line to have it")
            assert site.front.apply(with_sets(site.state(site.line(1)), "other")).reloaded
            assert site.master.show_proc().old_workers
            assert site.get_plain("/acme/x").status == 200
            wait_until(lambda: not site.master.show_proc().old_workers, "the old worker to be ended")
            assert connection.recv(1024) == b""
        assert agrees(site)


def test_old_workers_do_not_pile_up_however_often_everything_is_read_again() -> None:
    minute = timedelta(minutes=1)
    times, limits = FrontTimes(server=minute, hard_stop=minute), FrontLimits(reloads=2)
    with running_front(times=times, limits=limits) as site, ExitStack() as held:
        site.start_line(1)
        site.front.apply(site.state(site.line(1)))
        host, port = site.plain.split(":")
        for number in range(5):
            connection = held.enter_context(socket.create_connection((host, int(port)), timeout=20))
            connection.sendall(b"GET /acme/x?ms=60000 HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: used(site), "the line to have it")
            site.front.apply(with_sets(site.state(site.line(1)), f"set_{number}"))
        wait_until(lambda: len(site.master.show_proc().old_workers) <= 3, "the oldest to be ended")
        assert agrees(site)


def used(site: FrontSite) -> int:
    """Requests that lines work on."""
    return sum(each.used for each in site.runtime.show_servers_conn(ACME))


def with_sets(state: FrontState, *names: str) -> FrontState:
    """With more sets of lines, which takes a reload."""
    more = {name: LineSet(key=name, lines=()) for name in names}
    return replace(state, line_sets={**state.line_sets, **more})


def test_reloads_that_never_come_up_do_not_fill_the_disk(site: FrontSite) -> None:
    release = site.front.apply(two(site)).release
    unhealthy = Front(replace(site.settings, smoke_path="/nothing-here"), clock=Impatient())
    for number in range(6):
        with pytest.raises(FrontNotReloaded):
            unhealthy.apply(with_sets(two(site), f"set_{number}"))
    assert len(list(site.settings.releases.iterdir())) <= 6
    assert site.front.status().release == release
    assert agrees(site)


class Impatient(SystemClock):
    """Its seconds are over sooner."""

    def monotonic(self) -> float:
        return 10 * super().monotonic()


def test_threads_that_come_together_share_what_is_done(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    worker = site.runtime.show_info().pid
    states = [with_sets(two(site), f"set_{number}") for number in range(8)]
    with held(front):
        threads = [threading.Thread(target=front.apply, args=(state,)) for state in states]
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(60)
    # At most one of them had begun before the newest was known.
    assert site.master.show_proc().workers[0].pid != worker
    current = Releases(site.settings).current()
    assert current is not None
    assert len([name for name in current.model.backends if name.startswith("set_")]) == 1
    assert current.number <= 4
    assert agrees(site)


@contextmanager
def held(front: Front) -> Iterator[None]:
    """Nobody's turn comes meanwhile."""
    with front._turn:
        yield


def test_what_somebody_changed_by_hand_is_seen_and_put_right(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    site.runtime.servers.set_state(ACME, "l2", state=ServerTarget.DRAIN)
    site.runtime.maps.clear(f"{site.settings.current}/maps/instance.map")
    status = front.status()
    assert not status.agrees
    assert set(status.differences) == {f"servers of {ACME} differ", "instance.map differs"}
    front.apply(two(site))
    assert agrees(site)
    assert serving(site) == {"l1", "l2"}
    site.runtime.servers.set_weight(ACME, "l1", weight=3)
    assert front.status().differences == (f"servers of {ACME} differ",)
    front.apply(two(site))
    assert agrees(site)


def test_a_line_that_somebody_gave_another_address_by_hand_is_put_back(site: FrontSite) -> None:
    wanted = site.state(site.line(1), site.line(2, address="127.0.0.1:7002"))
    site.front.apply(wanted)
    site.runtime.servers.set_address(ACME, "l2", address="127.0.0.1", port=7003)
    assert site.front.status().differences == (f"servers of {ACME} differ",)
    assert site.front.apply(wanted).plan.reload == f"{ACME}/l2 has another address"
    assert agrees(site)


def test_a_front_that_runs_with_another_configuration_is_read_again(site: FrontSite) -> None:
    site.front.apply(two(site))
    # As if the files had been put back from a copy, with a release that this worker has never seen.
    for _ in range(3):
        site.front.apply(site.state(site.line(1), site.line(2)))
    current = Releases(site.settings).current()
    assert current is not None
    Releases(site.settings).unsettle()
    applied = site.front.apply(two(site))
    assert applied.reloaded
    assert agrees(site)
