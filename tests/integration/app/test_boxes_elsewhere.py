"""The platform with boxes in other processes: started by itself, or behind an address."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.core.clock import SystemClock
from app.core.errors import InputInvalid
from app.gateway_part import start_gateway
from app.gateway_process import SupervisedGateway
from app.settings import Settings
from fsb_gateway.carrier.machine_certificate import MachineAuthorities
from fsb_gateway.key.wrap import KeyWrap
from tests.api.site import Instance, Site, good, refused
from tests.fake.clock import FakeClock
from tests.service.gateway import ServedGateway, processes_of
from tests.service.wait import wait_until

_SOON = timedelta(seconds=30)


def make_site(folder: Path, **settings: Any) -> Site:
    """A site whose clock began with the gateway's, which is another process's."""
    return Site(folder, clock=FakeClock(SystemClock().now()), **settings)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("processes")
    with make_site(folder, boxes="processes", operation_time_ms=300) as site:
        yield site
        assert set(processes_of(site.settings.data_dir)) == {"serve", "acme-box-1"}
    assert processes_of(site.settings.data_dir) == {}


@pytest.fixture(scope="module")
def instance(site: Site) -> Instance:
    return site.add_instance("high_performance", "acme")


def gateway_of(site: Site) -> int:
    """The number of the gateway's process."""
    part = site.platform.gateway
    assert isinstance(part, SupervisedGateway)
    found = wait_until(lambda: part.pid, "the gateway's process", deadline=_SOON)
    assert found is not None
    return found


def activate(instance: Instance) -> httpx2.Response:
    """Sell a licence and have it programmed into a new container."""
    device = instance.device()
    body = {"action": "activate", "ticket": instance.sell(), "context": device.context()}
    answer = instance.call("POST", "/transfers", body)
    if answer.status_code == 201:
        device.apply(answer.json()["update"])
    return answer


def test_licence_is_activated_through_processes_of_their_own(site: Site, instance: Instance) -> None:
    good(activate(instance), 201)
    boxes = good(site.admin("GET", "/boxes"))
    assert [each["condition"] for each in boxes if each["pool"] == "acme"] == ["ready"]
    instance.check_books()


def test_killed_gateway_costs_nobody_an_activation(site: Site, instance: Instance) -> None:
    before = gateway_of(site)
    answers: list[httpx2.Response] = []
    caller = threading.Thread(target=lambda: answers.append(activate(instance)))
    caller.start()
    running = f"/instances/{instance.instance_id}/queue"
    wait_until(lambda: good(site.admin("GET", running))["running"], "the job at the box", deadline=_SOON)
    os.kill(before, signal.SIGKILL)
    caller.join(30)
    assert [good(each, 201)["state"] for each in answers] == ["issued"]
    assert gateway_of(site) != before
    instance.check_books()


def test_platform_stays_up_while_its_gateway_is_away(site: Site, instance: Instance) -> None:
    stopped = gateway_of(site)
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert site.call("GET", "/readyz").status_code == 200
        good(instance.call("GET", "/items"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    good(activate(instance), 201)


def test_metrics_are_for_staff(site: Site, instance: Instance) -> None:
    refused(site.call("GET", "/metrics"), 401, "staff_token_invalid")
    refused(site.call("GET", "/metrics", auth=instance.auth), 401, "staff_token_invalid")
    for role in ("support", "auditor", "operator", "admin"):
        token = site.new_token(role)
        answer = site.call("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert "wops_fsb_" in answer.text
    shown = site.operator("GET", "/metrics").text
    assert shown.startswith("# HELP")
    assert "\nwops_fsb_gateway_up 1\n" in shown


def test_gateway_that_has_lost_its_boxes_is_told_of_them_again(tmp_path: Path) -> None:
    with ServedGateway(tmp_path / "gateway") as gateway:
        boxes = f"unix:{tmp_path}/gateway/boxes/gateway.sock"
        with make_site(tmp_path, boxes=boxes) as site:
            acme = site.add_instance("high_performance", "acme")
            good(activate(acme), 201)
            gateway.kill()
            for path in (tmp_path / "gateway" / "boxes" / "box").iterdir():
                path.unlink()
            assert [each["condition"] for each in good(site.admin("GET", "/boxes"))] == ["unknown"]
            gateway.start()

            def restored() -> bool:
                answer = site.admin("GET", "/boxes")
                return answer.status_code == 200 and [each["condition"] for each in answer.json()] == [
                    "ready"
                ]

            wait_until(restored, "the box to be there again", deadline=_SOON)
            good(activate(acme), 201)
            acme.check_books()


def test_platform_without_its_gateway_tells_staff_where_and_why_and_has_its_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    socket = tmp_path / "nothing.sock"
    why = f"The gateway at {socket} cannot be reached: there is no such socket."
    with make_site(tmp_path, boxes=f"unix:{socket}") as site:
        assert site.platform.gateway_trouble == why
        assert refused(site.admin("GET", "/pools"), 503, "fsb_unavailable")["detail"] == why
        metrics = site.operator("GET", "/metrics")
        assert metrics.status_code == 200
        assert metrics.text.endswith("\nwops_fsb_gateway_up 0\n")
        assert metrics.text.count("wops_fsb_") == 3

        def complaints() -> list[Any]:
            return [each for each in caplog.records if vars(each).get("loop") == "boxes"]

        (complaint,) = wait_until(complaints, "the loop to say so", deadline=_SOON)
        assert vars(complaint)["cause"] == why


def test_platform_that_is_sent_to_where_lines_are_served_says_so(tmp_path: Path) -> None:
    with ServedGateway(tmp_path / "gateway"):
        boxes = f"unix:{tmp_path}/gateway/boxes/jobs.sock"
        with make_site(tmp_path, boxes=boxes) as site:
            assert site.platform.gateway_trouble is not None
            assert site.platform.gateway_trouble.endswith("does not take what control asks. Is it for lines?")


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "needs WOPS_FSB_CERTIFICATE"),
        ({"fsb_certificate": "/dev/null", "fsb_key": "/dev/null", "fsb_ca": "/dev/null"}, "is no PEM file"),
        (
            {"fsb_certificate": "/dev/null", "fsb_key": "/no/such.key", "fsb_ca": "/dev/null"},
            "WOPS_FSB_KEY names",
        ),
        ({"fsb_certificate": "/", "fsb_key": "/", "fsb_ca": "/"}, "is no PEM file"),
        (
            {"fsb_certificate": "own.crt", "fsb_key": "own.crt", "fsb_ca": "own.crt"},
            "WOPS_FSB_KEY is no PEM file of a private key",
        ),
        (
            {"fsb_certificate": "own.crt", "fsb_key": "own.key", "fsb_ca": "own.key"},
            "WOPS_FSB_CA is no PEM file of a certificate",
        ),
        (
            {"fsb_certificate": "own.crt", "fsb_key": "other.key", "fsb_ca": "own.crt"},
            "key of WOPS_FSB_KEY does not belong to the certificate of WOPS_FSB_CERTIFICATE",
        ),
    ],
    ids=["missing", "empty", "no such file", "directory", "no key", "no authority", "another's key"],
)
def test_address_without_certificates_is_refused(tmp_path: Path, settings: dict[str, Any], what: str) -> None:
    for name in ("own", "other"):
        made = MachineAuthorities(tmp_path / "ca", KeyWrap(bytes(32)), clock=SystemClock()).issue(
            name, "control"
        )
        (tmp_path / f"{name}.crt").write_bytes(made.certificate)
        (tmp_path / f"{name}.key").write_bytes(made.key)
    files = {name: tmp_path / value for name, value in settings.items()}
    wanted = Settings(data_dir=tmp_path, boxes="https://127.0.0.1:1", **files)
    with pytest.raises(InputInvalid, match=what):
        asyncio.run(start_gateway(wanted, clock=SystemClock()))
