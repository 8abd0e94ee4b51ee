from __future__ import annotations

from datetime import timedelta

import pytest

from app.core.command import Command
from tenancy.front.denied import DeniedId
from tenancy.front.denied_service import DeniedNetworkService
from tests.integration.tenancy.access.outcome import outcome
from tests.integration.tenancy.world import World


@pytest.fixture
def denied(world: World) -> DeniedNetworkService:
    return DeniedNetworkService(world.platform)


def test_network_is_denied_until_it_is_allowed(denied: DeniedNetworkService) -> None:
    added = denied.deny_network("198.51.100.0/24", reason="a flood").value
    assert (str(added.network), added.reason, added.until) == ("198.51.100.0/24", "a flood", None)
    assert denied.list_in_force() == denied.list_networks() == [added]
    again = outcome(lambda: denied.deny_network("198.51.100.0/24", reason="x"))
    assert again == "denied_network_taken"
    denied.allow_network(added.denied_id)
    assert denied.list_in_force() == []
    assert outcome(lambda: denied.allow_network(added.denied_id)) == "denied_network_not_found"
    assert outcome(lambda: denied.get_network(DeniedId("dny_x"))) == "denied_network_not_found"


def test_denial_ends_by_itself_and_can_then_be_made_anew(denied: DeniedNetworkService, world: World) -> None:
    until = world.clock.now() + timedelta(hours=1)
    first = denied.deny_network("2001:db8::/48", reason="a flood", until=until).value
    world.clock.advance(timedelta(hours=1))
    assert denied.list_in_force() == []
    assert denied.list_networks() == [first]
    past = outcome(lambda: denied.deny_network("192.0.2.0/24", reason="x", until=until))
    assert past == "denied_network_past"
    second = denied.deny_network("2001:db8::/48", reason="again").value
    assert denied.list_networks() == [second]


def test_repeat_gets_the_first_answer_also_when_the_network_is_denied_no_longer(
    denied: DeniedNetworkService, world: World
) -> None:
    until = world.clock.now() + timedelta(hours=1)
    for network, ends in (("198.51.100.0/24", until), ("2001:db8::/48", None)):
        command = Command(op_id=f"op_{network}")
        first = denied.deny_network(network, reason="a flood", until=ends, command=command)
        assert first.value == denied.get_network(first.value.denied_id)
        denied.allow_network(first.value.denied_id)
        world.clock.advance(timedelta(hours=2))
        again = denied.deny_network(network, reason="a flood", until=ends, command=command)
        assert (again.value, again.replayed, again.created) == (first.value, True, False)
    assert denied.list_networks() == []


def test_as_many_as_can_be_are_denied_at_once_and_ended_ones_do_not_count(
    denied: DeniedNetworkService, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenancy.front.denied_service.MOST_DENIED", 2)
    until = world.clock.now() + timedelta(hours=1)
    denied.deny_network("192.0.2.0/24", reason="a flood", until=until)
    denied.deny_network("198.51.100.0/24", reason="a flood")
    assert outcome(lambda: denied.deny_network("203.0.113.0/24", reason="x")) == "denied_networks_too_many"
    world.clock.advance(timedelta(hours=1))
    denied.deny_network("203.0.113.0/24", reason="a flood")
    assert outcome(lambda: denied.deny_network("233.252.0.0/24", reason="x")) == "denied_networks_too_many"
