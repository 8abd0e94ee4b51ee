from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from app.core.command import Command
from app.core.db import Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from app.core.outbox import list_events
from tenancy.front import repository
from tenancy.front.host import MOST_HOSTS, HostId, HostRecord
from tenancy.front.host_proof import HostProof
from tenancy.front.host_service import HostCertificate, HostService
from tenancy.front.tables import front_host
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import KEY, World
from tests.service.pki import START, YEAR, Issued, issue_for_host, make_authority

HOST = "erp.example.com"
PUBLIC = make_authority("CN=Public")


def given(issued: Issued) -> HostCertificate:
    return HostCertificate(chain=issued.pem, key=issued.key_pem)


@dataclass
class Desk:
    """An instance and whoever adds host names to it."""

    world: World
    hosts: HostService
    owner: InstanceId
    stranger: InstanceId

    def add(
        self, host: str = HOST, issued: Issued | None = None, *, owner: InstanceId | None = None
    ) -> HostRecord:
        issued = issued or issue_for_host(host)
        owner = owner or self.owner
        return self.hosts.add_host(owner, host, given(issued), proven=True).value

    def events(self) -> list[str]:
        found = self.world.platform.read(lambda reader: list_events(reader, after=0, limit=500))
        return [each.type for each in found if each.type.startswith("front_host.")]


@pytest.fixture
def desk(world: World, tmp_path: Path) -> Desk:
    trusted = tmp_path / "roots.pem"
    trusted.write_text(PUBLIC.pem)
    hosts = HostService(world.platform, key=KEY, proof=HostProof(trusted))
    owner, stranger = (world.ready_instance(name=name).instance_id for name in ("acme", "other"))
    return Desk(world, hosts, owner, stranger)


def test_host_is_served_with_its_certificate_and_key(desk: Desk) -> None:
    issued = issue_for_host(HOST)
    added = desk.add("ERP.example.com", issued)
    assert (added.host, added.instance_id, added.version) == (HOST, desk.owner, 1)
    assert (added.fingerprint, added.not_after) == (issued.fingerprint, START + YEAR)
    assert desk.hosts.list_hosts_of(desk.owner) == [added]
    (served,), damaged = desk.hosts.list_served()
    assert (served.record, damaged) == (added, [])
    assert served.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert served.key not in repr(served)
    assert desk.events() == ["front_host.added"]


def test_private_key_is_stored_sealed_and_bound_to_its_host(desk: Desk) -> None:
    first, second = desk.add(), desk.add("crm.example.com")
    keys = {each.record.host_id: each.key for each in desk.hosts.list_served()[0]}
    stored = {
        each.record.host_id: each.sealed_key for each in desk.world.platform.read(repository.list_sealed)
    }
    for host_id, sealed in stored.items():
        assert "PRIVATE" not in sealed
        assert keys[host_id] not in sealed

    def swap(tx: Tx) -> JsonObject:
        statement = update(front_host).where(front_host.c.host_id == first.host_id)
        tx.write(statement.values(private_key=stored[second.host_id]))
        return {}

    desk.world.platform.run_tx("swap", swap)
    served, damaged = desk.hosts.list_served()
    assert [each.record.host for each in served] == ["crm.example.com"]
    assert [each.host for each in damaged] == [HOST], "a key that was moved opens nothing"


def test_host_belongs_to_one_owner(desk: Desk) -> None:
    added, renewal = desk.add(), given(issue_for_host(HOST))
    for owner in (desk.stranger, None, desk.owner):
        assert outcome(partial(desk.hosts.add_host, owner, HOST, renewal, proven=True)) == "host_taken"
    for owner in (desk.stranger, None):
        for call in (
            partial(desk.hosts.get_host, owner, added.host_id),
            partial(desk.hosts.renew_host, owner, added.host_id, renewal, version=1),
            partial(desk.hosts.remove_host, owner, added.host_id, version=1),
        ):
            assert outcome(call) == "host_not_found"
    assert desk.hosts.get_host(desk.owner, added.host_id) == added
    assert desk.hosts.owner_of(added.host_id) == desk.owner


def test_renewal_takes_the_place_of_the_old_certificate(desk: Desk) -> None:
    added = desk.add()
    newer = issue_for_host(HOST, lasts=2 * YEAR)
    renewed = desk.hosts.renew_host(desk.owner, added.host_id, given(newer), version=1).value
    assert (renewed.version, renewed.fingerprint) == (2, newer.fingerprint)
    assert renewed.not_after == START + 2 * YEAR
    stale = outcome(lambda: desk.hosts.renew_host(desk.owner, added.host_id, given(newer), version=1))
    assert stale == "host_version_conflict"
    foreign = given(issue_for_host("crm.example.com"))
    unfit = outcome(lambda: desk.hosts.renew_host(desk.owner, added.host_id, foreign, version=2))
    assert unfit == "host_certificate_unfit"
    assert desk.hosts.get_host(desk.owner, added.host_id) == renewed
    assert desk.events() == ["front_host.added", "front_host.renewed"]


def test_removed_host_is_free_for_somebody_else(desk: Desk) -> None:
    added = desk.add()
    assert outcome(lambda: desk.hosts.remove_host(desk.owner, added.host_id, version=9)) == (
        "host_version_conflict"
    )
    desk.hosts.remove_host(desk.owner, added.host_id, version=1)
    assert desk.hosts.list_served() == ([], [])
    assert desk.add(owner=desk.stranger).instance_id == desk.stranger


def test_customer_proves_a_new_host_by_a_trusted_authority(desk: Desk) -> None:
    def add(issued: Issued) -> str:
        return outcome(lambda: desk.hosts.add_host(desk.owner, HOST, given(issued), proven=False))

    assert add(issue_for_host(HOST)) == "host_not_proven"
    assert add(issue_for_host(HOST, issuer=make_authority("CN=Public"))) == "host_not_proven"
    assert desk.events() == []
    assert add(issue_for_host(HOST, issuer=PUBLIC)) == "done"


def test_instance_has_so_many_hosts_at_most(desk: Desk) -> None:
    for number in range(MOST_HOSTS):
        desk.add(f"h{number}.example.com")
    assert outcome(desk.add) == "hosts_too_many"
    assert desk.add(owner=desk.stranger).instance_id == desk.stranger


def test_same_command_adds_once(desk: Desk) -> None:
    command, issued = Command(op_id="op_1"), issue_for_host(HOST)
    first, again = (
        desk.hosts.add_host(desk.owner, HOST, given(issued), proven=True, command=command) for _ in range(2)
    )
    assert (first.created, first.replayed) == (True, False)
    assert (again.created, again.replayed) == (False, True)
    assert first.value == again.value
    assert desk.events() == ["front_host.added"]


def test_owner_must_be_there(desk: Desk) -> None:
    nobody = InstanceId("ins_nobody")
    assert outcome(lambda: desk.add(owner=nobody)) == "instance_not_found"
    assert outcome(lambda: desk.hosts.list_hosts_of(nobody)) == "instance_not_found"
    assert outcome(lambda: desk.hosts.get_host(desk.owner, HostId("hst_x"))) == "host_not_found"


def test_expiry_shows_in_time(desk: Desk) -> None:
    added = desk.add()
    assert not added.expires_soon(START + YEAR - timedelta(days=31))
    assert added.expires_soon(START + YEAR - timedelta(days=29))
    assert added.expires_in(START + YEAR + timedelta(days=1)) < timedelta(0)
    early = desk.add("crm.example.com", issue_for_host("crm.example.com", not_before=START + YEAR))
    assert early.is_early(early.created_at)
