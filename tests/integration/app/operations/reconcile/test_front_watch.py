"""What load balancers say of lines and of themselves; with a real HAProxy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.operations.front.keeper import FrontsReport
from app.operations.front.kept_front import FrontReport
from app.operations.reconcile.front_watch import FrontView, FrontWatch
from lb.front.settings import FrontSettings
from tests.service.front_site import ACME, FrontSite, running_front
from tests.service.wait import wait_until

SOON = timedelta(seconds=30)


@pytest.fixture(scope="module")
def front() -> Iterator[FrontSite]:
    with running_front() as site:
        for number in (1, 2):
            site.start_line(number)
        site.front.apply(site.state(site.line(1), site.line(2, in_service=False)))
        yield site


def look(site: FrontSite, report: FrontReport | None = None) -> FrontView:
    reports = FrontsReport(desired=None, problem=None, fronts=() if report is None else (report,))
    watch = FrontWatch([site.settings], lambda: reports)
    (view,) = asyncio.run(watch.look())
    return view


def says(site: FrontSite, number: int) -> str:
    view = look(site)
    assert view.lines is not None
    return view.lines[(ACME, number)].verdict


def test_line_is_sick_when_its_health_check_fails_in_service_or_not(front: FrontSite) -> None:
    for number in (1, 2):
        wait_until(lambda number=number: says(front, number) == "ok", "it to be up", deadline=SOON)  # type: ignore[misc]
    front.kill_line(2)
    wait_until(lambda: says(front, 2) == "bad", "it to be down", deadline=SOON)
    assert says(front, 1) == "ok"


@pytest.mark.parametrize(
    ("report", "verdict"),
    [
        (FrontReport(name="lb1", in_step=True), "ok"),
        (FrontReport(name="lb1", problem="front_refused"), "bad"),
        (FrontReport(name="lb1", problem="haproxy_unavailable"), "unknown"),
        (FrontReport(name="lb1"), "unknown"),
    ],
)
def test_whether_it_is_what_it_is_to_be_its_keeper_says(
    front: FrontSite, report: FrontReport, verdict: str
) -> None:
    (config,) = look(front, report).others
    assert (config.subject.key, config.verdict, config.is_healing) == ("config:lb1", verdict, True)


def test_load_balancer_that_is_gone_is_sick_by_three_witnesses(front: FrontSite) -> None:
    assert look(front).observation.verdict == "ok"
    front.stop_haproxy()
    view = look(front)
    assert (view.lines, view.observation.verdict) == (None, "bad")
    assert [each.witness for each in view.observation.evidence] == ["runtime", "health", "master"]
    assert view.observation.cures == ()


def test_load_balancer_that_cannot_be_asked_in_time_is_in_doubt_and_still_a_witness(front: FrontSite) -> None:
    reports = FrontsReport(desired=None, problem=None, fronts=(FrontReport(name="lb1", in_step=True),))
    watch = FrontWatch([front.settings], lambda: reports, all_within=timedelta(0))
    (view,) = asyncio.run(watch.look())
    (found,) = view.observation.evidence
    assert (view.lines, found.verdict, found.detail) == (None, "unknown", "not_in_time")
    assert [each.verdict for each in view.others] == ["ok"]


class BrokenSettings(FrontSettings):
    """Nobody has foreseen what happens when this load balancer is asked."""

    @property
    def runtime_socket(self) -> Path:
        raise RuntimeError("a defect of ours")


def test_load_balancer_that_cannot_be_asked_at_all_hides_no_other_part(front: FrontSite) -> None:
    known = front.settings
    broken = BrokenSettings(directory=known.directory, binds=known.binds, health=known.health, name="lb2")
    reports = FrontsReport(desired=None, problem=None, fronts=())
    views = asyncio.run(FrontWatch([broken, known], lambda: reports).look())
    assert [each.name for each in views] == ["lb2", known.name]
    assert (views[0].lines, views[0].observation.verdict) == (None, "unknown")
