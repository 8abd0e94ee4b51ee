"""The directory follows rules and lines, and chooses by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

import pytest

from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import InstanceId, LineId
from app.operations.directory import Caller, InstanceDirectory
from lb.routing import Line
from lb.rule.decide import RequestFacts
from lb.rule.rule import NO_RULES, Maintenance, Match, Rule, RuleSet, ToLines
from tenancy import Instance
from tenancy.rule.service import RuleService
from tests.integration.tenancy.conftest import world
from tests.integration.tenancy.lifecycle.life import Life
from tests.integration.tenancy.world import World

__all__ = ["world"]

pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)

PAUSE = RuleSet(rules=(Rule(name="pause", match=Match(), action=Maintenance()),))


class Lines:
    """Weights and readiness by hand."""

    def __init__(self) -> None:
        self.by_instance: dict[InstanceId, tuple[Line, ...]] = {}

    def list_lines(self) -> Mapping[InstanceId, tuple[Line, ...]]:
        return self.by_instance

    def lines_of(self, instance_id: InstanceId) -> tuple[Line, ...]:
        return self.by_instance[instance_id]


@pytest.fixture
def life(world: World, tmp_path: Path) -> Life:
    return Life(world, tmp_path)


@pytest.fixture
def rules(world: World) -> RuleService:
    return RuleService(world.platform, clients=world.clients.list_clients)


@pytest.fixture
def acme(world: World) -> Instance:
    return world.ready_instance("acme", "high_availability")


def open_directory(world: World, rules: RuleService, lines: Lines | None = None) -> InstanceDirectory:
    directory = InstanceDirectory(world.instances, clock=world.clock, rules=rules, lines=lines)
    directory.load()
    return directory


def pinned(line: str, **match: object) -> RuleSet:
    made = Match(**match)  # type: ignore[arg-type]
    action = ToLines(weights={LineId(line): 1}, otherwise="refuse")
    return RuleSet(rules=(Rule(name="pin", match=made, action=action),))


def went(directory: InstanceDirectory, **more: object) -> set[str]:
    """The lines that a hundred requests go to, or the code of what refuses them."""
    facts = RequestFacts.of("GET", b"/acme/api/v1/items", headers=[], source=ip_address("192.0.2.7"))
    caller = Caller(facts=facts, **more)  # type: ignore[arg-type]
    try:
        found = [directory.find("acme", request_key=f"k{n}", caller=caller) for n in range(100)]
    except DomainError as error:
        return {error.code}
    return {each.line_id for each in found if each is not None}


def test_rules_are_loaded_followed_and_taken_away(world: World, rules: RuleService, acme: Instance) -> None:
    rules.put_rules(acme.instance_id, pinned("acme-2"), expected_version=1)
    directory = open_directory(world, rules)
    assert directory.has_rules("acme")
    assert went(directory) == {"acme-2"}
    rules.put_rules(acme.instance_id, PAUSE, expected_version=2)
    assert went(directory) == {"acme-2"}
    assert [each.name for each in directory.follow()] == ["acme"]
    assert went(directory) == {"rule_maintenance"}
    rules.put_rules(acme.instance_id, NO_RULES, expected_version=3)
    directory.follow()
    assert not directory.has_rules("acme")
    assert went(directory) == {"acme-1", "acme-2"}


def test_control_and_probes_are_served_whatever_the_rules_say(
    world: World, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, PAUSE, expected_version=1)
    directory = open_directory(world, rules)
    assert directory.find("acme", request_key="k") is not None
    found = directory.find_for_control("acme")
    assert found is not None
    assert found.line_id == "acme-1"


def test_rules_of_an_instance_that_is_looked_up_are_known_at_once(world: World, rules: RuleService) -> None:
    directory = open_directory(world, rules)
    acme = world.ready_instance("acme", "high_availability")
    rules.put_rules(acme.instance_id, PAUSE, expected_version=1)
    assert directory.find("acme", request_key="k") is None
    directory.look_up("acme")
    assert went(directory) == {"rule_maintenance"}


def test_older_instance_that_is_noted_loses_no_rules(
    world: World, life: Life, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, pinned("acme-2"), expected_version=1)
    directory = open_directory(world, rules)
    directory.note(acme)
    assert went(directory) == {"acme-2"}
    life.service.rename_instance(acme.instance_id, "beta", expected_version=acme.version)
    directory.follow()
    assert directory.has_rules("beta")
    assert not directory.has_rules("acme")


def test_certificate_stands_for_its_client(world: World, rules: RuleService, acme: Instance) -> None:
    rules.put_rules(acme.instance_id, pinned("acme-2", clients=frozenset({"acme.erp"})), expected_version=1)
    directory = open_directory(world, rules)
    fingerprint = sha256(b"certificate").hexdigest()
    facts = RequestFacts.of("GET", b"/acme/", headers=[], source=None, fingerprint=fingerprint)
    known, unknown = (
        {
            found.line_id
            for n in range(50)
            if (found := directory.find("acme", request_key=f"k{n}", caller=caller)) is not None
        }
        for caller in (
            Caller(facts=facts, certificates={"acme.erp": (fingerprint,)}),
            Caller(facts=facts, certificates={"acme.crm": (fingerprint,)}),
        )
    )
    assert (known, unknown) == ({"acme-2"}, {"acme-1", "acme-2"})


def test_lines_out_of_service_and_weights_are_followed(
    world: World, rules: RuleService, acme: Instance
) -> None:
    lines = Lines()
    first, second = (Line(line_id=LineId(f"acme-{n}")) for n in (1, 2))
    lines.by_instance[acme.instance_id] = (first, second)
    directory = open_directory(world, rules, lines)
    assert went(directory) == {"acme-1", "acme-2"}
    lines.by_instance[acme.instance_id] = (first, Line(line_id=second.line_id, ready=False))
    # What changes lines says so; here the rules do.
    rules.put_rules(acme.instance_id, pinned("acme-2"), expected_version=1)
    directory.follow()
    assert went(directory) == {"rule_lines_not_ready"}
    rules.put_rules(acme.instance_id, NO_RULES, expected_version=2)
    lines.by_instance[acme.instance_id] = (Line(line_id=first.line_id, weight=0), second)
    directory.follow()
    assert went(directory) == {"acme-2"}
    lines.by_instance[acme.instance_id] = (Line(line_id=first.line_id, ready=False),)
    rules.put_rules(acme.instance_id, PAUSE, expected_version=3)
    rules.put_rules(acme.instance_id, NO_RULES, expected_version=4)
    directory.follow()
    assert went(directory) == {"no_line_ready"}
    assert directory.find_for_control("acme") is not None


def test_what_cannot_be_read_is_read_again_later(
    world: World, rules: RuleService, acme: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = open_directory(world, rules)
    rules.put_rules(acme.instance_id, PAUSE, expected_version=1)

    def away(_ids: object) -> None:
        raise DatabaseUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(rules, "find_in_force", away)
        with pytest.raises(DatabaseUnavailable):
            directory.follow()
    assert went(directory) == {"acme-1", "acme-2"}
    directory.follow()
    assert went(directory) == {"rule_maintenance"}


def test_rules_of_an_edition_with_a_shared_line_are_not_looked_at(
    world: World, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, PAUSE, expected_version=1)
    directory = open_directory(world, rules)
    directory.note(replace(acme, edition="datacenter", version=acme.version + 1))
    assert not directory.has_rules("acme")
    assert went(directory) == {"shared-1"}
    directory.note(replace(acme, version=acme.version + 2))
    assert went(directory) == {"rule_maintenance"}
