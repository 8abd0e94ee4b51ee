"""Bringing a running front to another state: nobody loses a request, and whatever goes wrong leaves it as it was."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from app.core.lock import locked
from lb.errors import HaproxyUnavailable
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
from lb.front.state import FrontHost, FrontState, LineSet
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from lb.stats.server import Servers
from tests.service.front_site import ACME, FrontSite, front_home
from tests.service.open_loop import Ask, LoadPlan, open_loop
from tests.service.pki import make_authority

CHANGES = 100
_WORDS = ("erp", "crm", "shop")


def agrees(site: FrontSite) -> bool:
    """Whether what runs is what the files say, asked by somebody who knows nothing."""
    status = site.front.status()
    assert status.running
    assert status.differences == ()
    return status.agrees


def served(site: FrontSite, count: int) -> list[str]:
    """Who answers requests on one connection, in their order."""
    host, port = site.plain.split(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    found = []
    with closing(connection):
        for _ in range(count):
            connection.request("GET", "/acme/x")
            with connection.getresponse() as answer:
                answer.read()
                found.append(str(answer.headers["x-answered-by"]))
    return found


def serving(site: FrontSite) -> set[str]:
    """The lines that get requests: lots are drawn, and one of three is left out once in 10^35 times."""
    return set(served(site, 200))


def two(site: FrontSite, **values: Any) -> FrontState:
    return site.state(site.line(1), site.line(2), **values)


class Changer:
    """States that follow each other at random; line 1 always serves."""

    def __init__(self, site: FrontSite, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._pems = {name: [site.pem_for(name) for _ in range(3)] for name in ("a.example", "b.example")}
        self._wops = [site.pem, *(site.pem_for("wops.example") for _ in range(2))]

        self._authorities = {name: make_authority(f"CN={name}").pem for name in ("one", "two")}

    def next(self) -> FrontState:
        chance, site = self._chance, self._site
        numbers = [1, *(number for number in (2, 3) if chance.random() < 0.8)]
        lines = tuple(
            site.line(
                number,
                weight=chance.randint(1, 256),
                in_service=number == 1 or chance.random() < 0.7,
            )
            for number in numbers
        )
        hosts = {
            host[0]: FrontHost(host_id=f"hst_{host[0]}", host=host, instance_id=ACME, pem=chance.choice(pems))
            for host, pems in self._pems.items()
            if chance.random() < 0.6
        }
        state = site.state(
            *lines,
            instance={"rules": self._rules([line.line_id for line in lines])},
            hosts=hosts,
            default_pem=chance.choice(self._wops),
            authorities={name: pem for name, pem in self._authorities.items() if chance.random() < 0.5},
            denied=(ip_network(f"192.0.2.{chance.randint(0, 255)}"),),
        )
        if chance.random() < 0.1:
            # Another set of lines comes or goes: that takes a reload.
            key = f"set_{chance.randint(1, 9)}"
            sets = {**state.line_sets, key: LineSet(key=key, lines=(site.line(3),))}
            state = replace(state, line_sets=sets)
        return state

    def _rules(self, lines: list[Any]) -> RuleSet:
        chance = self._chance
        names = chance.sample(_WORDS, chance.randint(0, 3))
        return RuleSet(
            rules=tuple(
                Rule(
                    name=name,
                    match=Match(path_prefix=f"/{name}/"),
                    action=ToLines(
                        weights={
                            line: chance.randint(1, 256)
                            for line in chance.sample(lines, chance.randint(1, len(lines)))
                        },
                        sticky=chance.random() < 0.5,
                    ),
                )
                for name in names
            )
        )


def test_a_hundred_random_changes_lose_no_request_of_anybody(patient_site: FrontSite) -> None:
    site = patient_site
    front, changer = site.front, Changer(site, seed=4711)
    front.apply(two(site))
    plan = LoadPlan(
        address=site.tls,
        server_name="wops.example",
        authority=site.authority_file,
        rate=90,
        kinds=("keep_alive", "fresh", "http2"),
        asks=(
            Ask(path="/acme/api/v1/items?ms=20"),
            Ask(path="/acme/erp/x", headers=(("Authorization", "Basic ZXJwOnNlY3JldA=="),)),
            Ask(path="/acme/crm/{number}", method="POST", body="{number}"),
        ),
        attempts=1,
        # A busy machine is slow; what is lost is never answered at all, or by an error.
        timeout_seconds=20,
    )
    reloads = steps = 0
    with open_loop(plan) as load:
        load.wait_for(50)
        for _ in range(CHANGES):
            applied = front.apply(changer.next())
            reloads += applied.reloaded
            steps += len(applied.plan.steps)
            assert applied.escalated is None, applied.escalated
            assert agrees(site)
        load.wait_seconds(1)
    assert load.failed == (), load.story()
    assert {each.kind for each in load.answered} == {"keep_alive", "fresh", "http2"}
    assert reloads >= 5
    assert steps >= CHANGES
    assert len({who for who in load.who() if who}) == 3


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


_PLACES: tuple[tuple[type, tuple[str, ...]], ...] = (
    (RuntimeActor, ("carry_out",)),
    (Servers, ("enable_health", "enable")),
    (Releases, ("write", "put_in_force", "unsettle", "settle", "prune", "_fill")),
    (Applier, ("_check", "_reload", "_smoke")),
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
    more = two(site)
    more = replace(more, line_sets={**more.line_sets, "other": LineSet(key="other", lines=())})
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
    more = two(site)
    more = replace(more, line_sets={**more.line_sets, "other": LineSet(key="other", lines=())})
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


def test_without_a_master_nothing_changes_that_needs_a_reload(site: FrontSite) -> None:
    front = site.front
    release = front.apply(two(site)).release
    site.settings.master_socket.rename(site.home / "master.away")
    more = replace(two(site), line_sets={**two(site).line_sets, "other": LineSet(key="other", lines=())})
    with pytest.raises(HaproxyUnavailable):
        front.apply(more)
    current = Releases(site.settings).current()
    assert current is not None
    assert current.number == release
    (site.home / "master.away").rename(site.settings.master_socket)
    assert front.apply(more).reloaded
    assert agrees(site)


def test_a_full_disk_changes_nothing(site: FrontSite, monkeypatch: pytest.MonkeyPatch) -> None:
    front = site.front
    release = front.apply(two(site)).release
    written = 0

    def full(draft: Path, *_arguments: object) -> None:
        nonlocal written
        written += 1
        draft.mkdir()
        (draft / "half").write_text("half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(front._releases, "_fill", full)
        with pytest.raises(FrontDiskFailed):
            front.apply(site.state(site.line(1)))
    assert written == 1
    assert sorted(path.name for path in site.settings.releases.iterdir() if not path.name.isdigit()) == []
    assert front.apply(two(site)).release == release
    assert agrees(site)


def test_another_process_at_it_is_said_at_once(site: FrontSite) -> None:
    front = site.front
    with locked(site.settings.directory), pytest.raises(FrontBusy):
        front.apply(two(site))
    front.apply(two(site))


def test_threads_that_come_together_share_what_is_done(site: FrontSite) -> None:
    front = site.front
    front.apply(two(site))
    worker = site.runtime.show_info().pid
    states = [
        replace(two(site), line_sets={**two(site).line_sets, f"set_{n}": LineSet(key=f"set_{n}", lines=())})
        for n in range(8)
    ]
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
    site.runtime.servers.set_weight(ACME, "l2", weight=3)
    site.runtime.maps.clear(f"{site.settings.current}/maps/instance.map")
    status = front.status()
    assert not status.agrees
    assert set(status.differences) == {f"servers of {ACME} differ", "instance.map differs"}
    front.apply(two(site))
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
