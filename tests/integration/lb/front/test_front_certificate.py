"""A certificate that HAProxy does not load is called by its name, and is never in force."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from lb.front.candidate import check_certificates
from lb.front.error import FrontCertificateUnfit, FrontDiskFailed, FrontNotReloaded, FrontRefused
from lb.front.front import Front
from lb.front.model import FrontFiles
from lb.front.release import Release, Releases
from lb.front.state import FrontHost, FrontState, LineSet
from lb.process import check_configuration
from tests.integration.lb.front.change import agrees, two
from tests.service.front_site import FrontSite
from tests.service.pki import issue, make_authority, make_revocation_list
from tests.service.unfit_certificate import Unfit, make_for_pss_alone, make_forgeable

BAD = "bad.example"


@pytest.fixture(scope="module")
def unfit(tmp_path_factory: pytest.TempPathFactory) -> Unfit:
    return make_for_pss_alone(tmp_path_factory.mktemp("unfit"), BAD)


def with_hosts(state: FrontState, **pems: str) -> FrontState:
    """With own hosts of the whole platform, by the first label of their names."""
    hosts = {
        f"{name}.example": FrontHost(host_id=f"hst_{name}", host=f"{name}.example", instance_id=None, pem=pem)
        for name, pem in pems.items()
    }
    return replace(state, hosts=hosts)


def loads(site: FrontSite) -> bool:
    """Whether HAProxy would start with what is in force."""
    return check_configuration(site.settings.haproxy, site.settings.configuration).ok


def test_unfit_one_of_many_is_called_by_its_name(site: FrontSite, tmp_path: Path) -> None:
    forgeable = make_forgeable(tmp_path, BAD)
    good = {f"host-hst_{number:03}.pem": site.pem for number in range(60)}
    check_certificates(site.settings, good)
    for name in ("host-aaa.pem", "host-hst_030x.pem", "host-zzz.pem"):
        mixed = dict(sorted({**good, name: forgeable.pem + forgeable.key_pem}.items()))
        with pytest.raises(FrontCertificateUnfit) as refused:
            check_certificates(site.settings, mixed)
        assert refused.value.detail["name"] == name
    with pytest.raises(FrontRefused):
        check_certificates(replace(site.settings, haproxy="/bin/false"), good)
    assert not (site.settings.releases / ".certificates").exists()


def test_unfit_certificate_touches_nothing(site: FrontSite, unfit: Unfit) -> None:
    front = site.front
    release = front.apply(two(site)).release
    worker = site.runtime.show_info().pid
    for more in (two(site), two(site, instance={"name": "other"})):
        with pytest.raises(FrontCertificateUnfit) as refused:
            front.apply(with_hosts(more, bad=unfit.pem + unfit.key_pem, good=site.pem_for("good.example")))
        assert refused.value.detail["name"] == "host-hst_bad.pem"
    assert site.front.status().release == release
    assert site.runtime.show_info().pid == worker
    assert agrees(site)


@pytest.mark.parametrize("whose", ["subject", "issuer"])
def test_authority_with_a_name_that_openssl_cannot_read_is_called_by_its_key(
    site: FrontSite, whose: str
) -> None:
    root = make_authority("CN=the-root")
    issued = issue("CN=the-sub", issuer=root)
    name = {"subject": b"the-sub", "issuer": b"the-root"}[whose]
    bad = ssl.DER_cert_to_PEM_cert(issued.der.replace(name, name[:-1] + b"\xff"))
    lists = {"good": make_revocation_list(root), "bad": make_revocation_list(make_authority("CN=sub"))}
    release = site.front.apply(two(site)).release
    with pytest.raises(FrontCertificateUnfit) as refused:
        site.front.apply(two(site, authorities={"good": root.pem, "bad": bad}, revocation_lists=lists))
    assert refused.value.detail["name"] == "bad"
    assert site.front.status().release == release
    assert agrees(site)


def test_refused_steps_lead_back_however_often_and_haproxy_can_start_at_any_time(
    site: FrontSite, unfit: Unfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = site.front
    release = front.apply(two(site)).release
    # As if a worker refused in the end what the look at it had let through.
    monkeypatch.setattr("lb.front.front.check_certificates", lambda *_: None)
    bad = with_hosts(two(site), bad=unfit.pem + unfit.key_pem)
    for number in range(10):
        with pytest.raises(FrontCertificateUnfit):
            front.apply(bad)
        assert loads(site)
        assert site.front.status().release == release
        if number in {3, 9}:
            site.stop_haproxy()
            site.start_haproxy()
        assert agrees(site)
    assert len(list(site.settings.releases.iterdir())) <= 7
    changed = front.apply(site.state(site.line(1, weight=7), site.line(2)))
    assert changed.changed
    assert agrees(site)


def test_reloads_and_then_steps_that_are_refused_lead_back(
    site: FrontSite, unfit: Unfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = site.front
    release = front.apply(two(site)).release
    unhealthy = Front(replace(site.settings, smoke_path="/nothing-here"), clock=front._clock)
    for number in range(5):
        name = f"set_{number}"
        more = replace(two(site), line_sets={**two(site).line_sets, name: LineSet(key=name, lines=())})
        with pytest.raises(FrontNotReloaded):
            unhealthy.apply(more)
    monkeypatch.setattr("lb.front.front.check_certificates", lambda *_: None)
    with pytest.raises(FrontCertificateUnfit):
        site.front.apply(with_hosts(two(site), bad=unfit.pem + unfit.key_pem))
    assert loads(site)
    assert site.front.status().release == release
    assert agrees(site)


def test_refused_steps_lead_back_on_a_full_disk_too(
    site: FrontSite, unfit: Unfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = site.front
    release = front.apply(two(site)).release
    monkeypatch.setattr("lb.front.front.check_certificates", lambda *_: None)
    write = Releases.write

    def full(self: Releases, files: FrontFiles, former: Release | None, *, base: int | None) -> Release:
        if base is None:
            raise FrontDiskFailed("Full.")
        return write(self, files, former, base=base)

    def cannot_be_noted(_: Releases) -> None:
        raise FrontDiskFailed("Full.")

    monkeypatch.setattr(Releases, "write", full)
    monkeypatch.setattr(Releases, "unsettle", cannot_be_noted)
    with pytest.raises(FrontDiskFailed):
        front.apply(with_hosts(two(site), bad=unfit.pem + unfit.key_pem))
    assert loads(site)
    assert site.front.status().release == release
    assert agrees(site)


def test_failed_reload_is_taken_back_on_a_full_disk_too(
    site: FrontSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = site.front.apply(two(site)).release
    unsettle = Releases.unsettle
    noted: list[bool] = []

    def once(self: Releases) -> None:
        if noted:
            raise FrontDiskFailed("Full.")
        noted.append(True)
        unsettle(self)

    monkeypatch.setattr(Releases, "unsettle", once)
    unhealthy = Front(replace(site.settings, smoke_path="/nothing-here"), clock=site.front._clock)
    more = replace(two(site), line_sets={**two(site).line_sets, "set": LineSet(key="set", lines=())})
    with pytest.raises(FrontNotReloaded):
        unhealthy.apply(more)
    assert site.front.status().release == release
    assert agrees(site)
