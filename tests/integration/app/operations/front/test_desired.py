"""What load balancers are to be, as it follows from real databases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.db import Database
from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from app.operations.front.access_book import AccessBook
from app.operations.front.default_certificate import DefaultCertificate
from app.operations.front.desired import Desired, DesiredFront, DesiredParts
from lb.rule.rule import Maintenance, Match, Rule, RuleSet
from tenancy import (
    CertificateService,
    Insistence,
    InstanceDatabases,
    InstanceService,
    PinDraft,
    check_scopes,
    make_policy,
)
from tenancy.database.placed import PlacedDatabases
from tenancy.front.access_view import FrontAccess
from tenancy.front.denied_service import DeniedNetworkService
from tenancy.front.host_proof import HostProof
from tenancy.front.host_service import HostCertificate, HostService
from tenancy.line.service import LineService
from tenancy.rule.service import RuleService
from tests.integration.tenancy.conftest import mariadb_admin, world
from tests.integration.tenancy.world import KEY, World
from tests.service.pki import issue, issue_for_host

__all__ = ["mariadb_admin", "world"]

FORCED = Insistence(force=True)
RULES = RuleSet(rules=(Rule(name="closed", match=Match(), action=Maintenance()),))


class Locked(PlacedDatabases):
    """Databases of which some do not answer."""

    def __init__(self, inner: InstanceDatabases) -> None:
        self._inner = inner
        self.away: set[InstanceId] = set()
        self.opened: list[InstanceId] = []

    def open(self, instance_id: InstanceId) -> Database:
        self.opened.append(instance_id)
        if instance_id in self.away:
            raise DatabaseUnavailable("It does not answer.")
        return self._inner.open(instance_id)


class Away(InstanceService):
    """Instances of a platform database that may not answer."""

    is_away = False

    def last_change(self) -> int:
        if self.is_away:
            raise DatabaseUnavailable("It does not answer.")
        return super().last_change()


@dataclass
class Scene:
    world: World
    instances: Away
    databases: Locked
    access: AccessBook
    rules: RuleService
    hosts: HostService
    denied: DeniedNetworkService
    desired: DesiredFront

    def look(self) -> Desired:
        """What they are to be, once everything that is due has been read."""
        for _ in range(2):
            self.desired.look()
            self.access.read(self.access.take_noted(9))
            self.access.read(self.access.take_turn(self.desired.served))
        found = self.desired.look()
        assert found is not None
        return found


@pytest.fixture
def scene(world: World, tmp_path: Path) -> Scene:
    databases, lines = Locked(world.databases), LineService(world.platform)
    instances = Away(world.platform)
    access = AccessBook(databases)
    rules = RuleService(world.platform, clients=world.clients.list_clients)
    hosts = HostService(world.platform, key=KEY, proof=HostProof(None))
    denied = DeniedNetworkService(world.platform)
    parts = DesiredParts(
        instances=instances,
        lines=lines,
        rules=rules,
        hosts=hosts,
        denied=denied,
        access=access,
        certificate=DefaultCertificate(tmp_path / "tls", names=(), given=None, clock=world.clock),
        address_of=lambda line_id: f"unix@/lines/{line_id}/front.sock",
        control="unix@/control.sock",
    )
    desired = DesiredFront(parts, clock=world.clock)
    return Scene(world, instances, databases, access, rules, hosts, denied, desired)


def test_every_kind_of_change_is_found_and_nothing_else(scene: Scene) -> None:
    first = scene.look()
    assert (first.number, dict(first.state.instances)) == (1, {})
    assert scene.look() is first
    acme = scene.world.ready_instance("acme").instance_id
    second = scene.look()
    assert second.number > first.number
    assert [each.name for each in second.state.instances.values()] == ["acme"]
    (line,) = second.state.line_sets[acme].lines
    assert line.address == "unix@/lines/acme-1/front.sock"

    issued = issue_for_host("a.example")
    given = HostCertificate(chain=issued.pem, key=issued.key_pem)
    scene.hosts.add_host(acme, "a.example", given, proven=True)
    scene.rules.put_rules(acme, RULES, expected_version=1)
    scene.denied.deny_network("192.0.2.0/24", reason="x")
    third = scene.look()
    assert list(third.state.hosts) == ["a.example"]
    assert third.state.instances[acme].rules == RULES
    assert [str(each) for each in third.state.denied] == ["192.0.2.0/24"]
    assert scene.look().number == third.number


def test_change_of_access_is_found_when_it_is_noted_or_by_turns(scene: Scene) -> None:
    acme = scene.world.ready_instance("acme").instance_id
    erp = scene.world.clients.add_client(acme, name="erp", scopes=check_scopes(["read"])).value.client
    before = scene.look()
    own = issue()
    CertificateService(scene.world.clients).add_certificate(
        acme, erp.client_id, PinDraft(certificate=own.pem)
    )
    scene.access.note(acme)
    after = scene.look()
    assert after.number == before.number + 1
    assert after.state.instances[acme].client_certificates == {"acme.erp": (own.fingerprint,)}
    policy = make_policy(mode="all", methods=["network"], networks=["192.0.2.0/24"])
    scene.world.access.put_policy(acme, policy, expected_version=1, insistence=FORCED)
    later = scene.look()
    assert [str(each) for each in later.state.instances[acme].networks or ()] == ["192.0.2.0/24"]


def test_denial_ends_without_anybody_doing_anything(scene: Scene) -> None:
    until = scene.world.clock.now() + timedelta(minutes=5)
    scene.denied.deny_network("192.0.2.0/24", reason="x", until=until)
    assert len(scene.look().state.denied) == 1
    scene.world.clock.advance(timedelta(minutes=5))
    assert scene.look().state.denied == ()


def test_instance_whose_database_is_away_is_served_and_keeps_what_is_known(scene: Scene) -> None:
    acme, shop = (scene.world.ready_instance(name).instance_id for name in ("acme", "shop"))
    policy = make_policy(mode="all", methods=["network"], networks=["192.0.2.0/24"])
    scene.world.access.put_policy(acme, policy, expected_version=1, insistence=FORCED)
    scene.databases.away = {shop}
    first = scene.look()
    assert set(first.state.instances) == {acme, shop}
    assert first.state.instances[shop].networks is None
    scene.databases.away = {acme, shop}
    scene.access.note(acme)
    assert scene.look().state.instances[acme].networks == first.state.instances[acme].networks
    scene.databases.away = set()
    scene.access.note(shop)
    assert scene.look().number == first.number, "there is nothing to know of it"


def test_first_state_waits_until_every_instance_has_been_asked(scene: Scene) -> None:
    scene.world.ready_instance("acme")
    assert scene.desired.look() is None
    assert scene.desired.look() is None
    scene.world.clock.advance(timedelta(seconds=31))
    found = scene.desired.look()
    assert found is not None, "one that never answers holds up nobody for ever"
    assert len(found.state.instances) == 1


def test_reading_an_instance_twice_at_once_never_keeps_what_is_old(scene: Scene) -> None:
    acme = scene.world.ready_instance("acme").instance_id
    scene.look()
    networks = [f"192.0.2.{number}/32" for number in (1, 2)]

    def change(version: int, network: str) -> None:
        policy = make_policy(mode="all", methods=["network"], networks=[network])
        scene.world.access.put_policy(acme, policy, expected_version=version, insistence=FORCED)
        scene.access.note(acme)

    class Slow(AccessBook):
        def _keep(self, instance_id: InstanceId, found: FrontAccess | None) -> None:
            if not changed:
                changed.append(True)
                change(2, networks[1])
                assert self.take_noted(9) == [], "it is being read"
                self.read([instance_id])
            super()._keep(instance_id, found)

    changed: list[bool] = []
    book = scene.access = Slow(scene.databases)
    change(1, networks[0])
    book.read(book.take_noted(9))
    assert changed
    book.read(book.take_noted(9))
    found = book.find(acme)
    assert found is not None
    assert [str(each) for each in found.networks or ()] == networks[1:]


def test_what_could_not_be_built_is_built_at_the_next_look(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.look()
    scene.denied.deny_network("192.0.2.0/24", reason="x")

    def fail() -> None:
        raise DatabaseUnavailable("It does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(scene.denied, "list_in_force", fail)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                scene.desired.look()
    after = scene.desired.look()
    assert after is not None
    assert (after.number, len(after.state.denied)) == (before.number + 1, 1)


def test_platform_database_that_is_away_leaves_what_is_known(scene: Scene) -> None:
    known = scene.look()
    scene.instances.is_away = True
    with pytest.raises(DatabaseUnavailable):
        scene.desired.look()
    scene.instances.is_away = False
    assert scene.desired.look() is known
