"""One customer's certificate that HAProxy does not load holds up nobody else, however long it stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.clock import SystemClock
from app.operations.front.default_certificate import DefaultCertificate
from app.operations.front.desired import Desired
from app.operations.front.kept_front import KeptFront
from app.operations.front.state import LeftOut
from lb.front.state import FrontHost, FrontState
from lb.process import check_configuration
from tests.service.front_site import ACME, FrontSite, running_front
from tests.service.unfit_certificate import make_for_pss_alone

HOST = "licenses.bad.example"


@pytest.fixture
def site() -> Iterator[FrontSite]:
    with running_front() as running:
        running.start_line(1)
        yield running


def own_host(name: str, pem: str) -> FrontHost:
    return FrontHost(host_id=f"hst_{name.replace('.', '_')}", host=name, instance_id=None, pem=pem)


def test_haproxy_can_be_started_at_any_time_and_others_changes_arrive(
    site: FrontSite, tmp_path: Path
) -> None:
    made, clock = make_for_pss_alone(tmp_path, HOST), SystemClock()
    certificate = DefaultCertificate(tmp_path / "tls", names=(), given=None, clock=clock).read()
    keeper = KeptFront("lb1", site.front, clock=clock)
    # As an older version took it: read, and written as a key for everything.
    unfit = own_host(HOST, made.pem + made.key_pem)

    def keep(number: int, state: FrontState) -> None:
        hosts = {**state.hosts, HOST: unfit}
        desired = Desired(
            number=number,
            built_at=clock.now(),
            state=replace(state, hosts=hosts),
            left_out=(),
            hosts=(),
            certificate=certificate,
        )
        keeper.keep(desired)

    keep(1, site.state(site.line(1)))
    for number in range(2, 12):
        if number == 7:
            site.stop_haproxy()
            site.start_haproxy()
        name = f"licenses.good{number}.example"
        keep(
            number,
            site.state(
                site.line(1, weight=number),
                site.line(2),
                hosts={name: own_host(name, site.pem_for(name))},
            ),
        )
        report = keeper.report
        assert (report.in_step, report.applied, report.problem) == (True, number, None)
        assert report.left_out == (LeftOut(kind="host", name=HOST, why="front_certificate_unfit"),)
        assert check_configuration(site.settings.haproxy, site.settings.configuration).ok
        shown = site.curl("--connect-to", f"::{site.tls}", f"https://{name}/acme/x")
        assert shown.status == 200, shown
    weights = {each.name: each.user_weight for each in site.runtime.show_servers_state(ACME)}
    assert weights["l1"] < weights["l2"]
