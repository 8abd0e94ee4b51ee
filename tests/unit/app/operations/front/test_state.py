from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest

from app.core.ids import InstanceId, LineId
from app.operations.front.state import FrontSources, LeftOut, build_state
from lb.rule.rule import Maintenance, Match, Rule, RuleSet
from tenancy.access.policy import make_policy
from tenancy.front.access_view import FrontAccess, KeptList, PinnedAuthority, edge_networks
from tenancy.front.host import HostId, HostRecord, ServedHost
from tenancy.line.record import ServedInstance, ServedLine
from tests.service.pki import START

ACME, SHOP, TINY = (InstanceId(f"ins_{name}") for name in ("acme", "shop", "tiny"))
RULES = RuleSet(rules=(Rule(name="closed", match=Match(), action=Maintenance()),))


def line(name: str, number: int = 1, **values: int) -> ServedLine:
    return ServedLine(
        line_id=LineId(f"{name}-{number}"),
        number=number,
        weight=values.get("weight", 100),
        in_service=bool(values.get("in_service", 1)),
    )


def served(instance_id: InstanceId, name: str, *lines: ServedLine, line_set: str = "") -> ServedInstance:
    return ServedInstance(
        instance_id=instance_id, name=name, state="ready", line_set=line_set or instance_id, lines=lines
    )


def host(name: str, owner: InstanceId | None) -> ServedHost:
    record = HostRecord(
        host_id=HostId(f"hst_{name}"),
        host=name,
        instance_id=owner,
        chain=f"chain of {name}\n",
        fingerprint="0" * 64,
        subject="CN=x",
        issuer="CN=y",
        not_before=START,
        not_after=START,
        version=1,
        created_at=START,
        changed_at=START,
    )
    return ServedHost(record=record, key=f"key of {name}\n")


def access(
    *authorities: PinnedAuthority, lists: dict[str, KeptList] | None = None, **values: object
) -> FrontAccess:
    return FrontAccess(
        revision=1,
        client_certificates={"acme.erp": ("ab" * 32,)} if values.get("client") else {},
        networks=(ip_network("192.0.2.0/24"),) if values.get("networks") else None,
        authorities=authorities,
        lists=lists or {},
    )


def authority(key: str, subject: str = "CN=CA", *, renewed: int = 0) -> PinnedAuthority:
    return PinnedAuthority(
        key=key, subject=subject, fingerprint=f"{key}{renewed}", pem=f"certificate {renewed} of {key}"
    )


def kept(text: str, *, days: int = 0) -> KeptList:
    return KeptList(pem=text, this_update=START + timedelta(days=days))


def sources(*instances: ServedInstance, **values: object) -> FrontSources:
    given: dict[str, object] = {
        "served": instances,
        "address_of": lambda line_id: f"unix@/lines/{line_id}/front.sock",
        "rules": {},
        "access": {},
        "hosts": (),
        "denied": (),
        "control": "unix@/control.sock",
        "default_pem": "default",
        **values,
    }
    return FrontSources(**given)  # type: ignore[arg-type]


def test_instances_have_their_lines_and_shared_ones_the_same() -> None:
    state, left_out = build_state(
        sources(
            served(ACME, "acme", line("acme", 1, weight=50), line("acme", 2, in_service=0)),
            served(SHOP, "shop", line("shared"), line_set="shared"),
            served(TINY, "tiny", line("shared"), line_set="shared"),
            rules={ACME: RULES},
            access={ACME: access(client=True, networks=True)},
        )
    )
    assert left_out == ()
    assert set(state.line_sets) == {ACME, "shared"}
    first, second = state.line_sets[ACME].lines
    assert (first.number, first.weight, first.in_service) == (1, 50, True)
    assert (first.address, second.in_service) == ("unix@/lines/acme-1/front.sock", False)
    assert [each.line_set for each in state.instances.values()] == [ACME, "shared", "shared"]
    acme, shop = state.instances[ACME], state.instances[SHOP]
    assert (acme.rules, shop.rules.rules) == (RULES, ())
    assert (acme.client_certificates, shop.client_certificates) == ({"acme.erp": ("ab" * 32,)}, {})
    assert (acme.networks, shop.networks) == ((ip_network("192.0.2.0/24"),), None)
    assert (state.control, state.default_pem) == ("unix@/control.sock", "default")


def test_host_of_nobody_who_is_served_is_left_out_and_said() -> None:
    state, left_out = build_state(
        sources(
            served(ACME, "acme"),
            hosts=(host("a.example", ACME), host("p.example", None), host("gone.example", SHOP)),
        )
    )
    assert {name: each.instance_id for name, each in state.hosts.items()} == {
        "a.example": ACME,
        "p.example": None,
    }
    assert state.hosts["a.example"].pem == "chain of a.example\nkey of a.example\n"
    assert left_out == (LeftOut(kind="host", name="gone.example", why="instance_not_served"),)


def test_front_holds_authorities_with_a_list_and_the_newest_list() -> None:
    shared, alone = authority("k1", "CN=Public CA"), authority("k2", "CN=No list")
    renewed = authority("k1", "CN=Public CA", renewed=1)
    state, left_out = build_state(
        sources(
            served(ACME, "acme"),
            served(SHOP, "shop"),
            access={
                ACME: access(shared, alone, lists={"k1": kept("old")}),
                SHOP: access(renewed, lists={"k1": kept("new", days=1)}),
            },
        )
    )
    assert state.authorities == {"k10": shared.pem, "k11": renewed.pem}
    assert state.revocation_lists == {"k10": "new", "k11": "new"}
    assert left_out == ()


def test_authorities_of_one_name_and_several_customers_stay_out() -> None:
    ours, theirs = authority("k1", "CN=ACME  CA"), authority("k2", "cn=acme ca")
    lists = {"k1": kept("ours")}
    instances = (served(ACME, "acme"), served(SHOP, "shop"))
    for given, wanted in (
        ({ACME: access(ours, lists=lists), SHOP: access(theirs)}, {}),
        ({ACME: access(ours, theirs, lists=lists)}, {"k10": ours.pem}),
        ({ACME: access(ours, lists=lists), SHOP: access(ours)}, {"k10": ours.pem}),
    ):
        state, left_out = build_state(sources(*instances, access=given))
        assert state.authorities == wanted
        assert set(state.revocation_lists) == set(wanted)
        assert bool(left_out) is not bool(wanted)


@pytest.mark.parametrize("alike", ["CN=\\ ACME CA", "CN=ACME CA\\ ", "CN=ACME\tCA", "cn=acme  ca"])
def test_names_that_openssl_takes_for_one_are_one(alike: str) -> None:
    ours, theirs = authority("k1", "CN=ACME CA"), authority("k2", alike)
    given = {ACME: access(ours, lists={"k1": kept("x")}), SHOP: access(theirs)}
    state, left_out = build_state(sources(served(ACME, "acme"), served(SHOP, "shop"), access=given))
    assert state.authorities == {}
    assert left_out == (LeftOut(kind="authority", name="CN=ACME CA", why="authority_name_shared"),)


def test_long_lists_are_left_to_lines_and_keep_nobody_elses_out() -> None:
    authorities = [authority(f"k{number:03}", f"CN=CA {number}") for number in range(72)]
    long, *others = authorities
    lists = {each.key: kept("x" * 60_000) for each in others} | {long.key: kept("x" * 100_000)}
    small = authority("s", "CN=Small")
    given = {ACME: access(*authorities, lists=lists), SHOP: access(small, lists={"s": kept("y")})}
    state, left_out = build_state(sources(served(ACME, "acme"), served(SHOP, "shop"), access=given))
    assert state.authorities[small.fingerprint] == small.pem
    assert sum(map(len, state.revocation_lists.values())) <= 4 * 1024 * 1024
    assert {each.why for each in left_out} == {"revocation_list_too_long"}
    assert {each.name for each in left_out} == {"CN=CA 0", "CN=CA 70", "CN=CA 71"}


def test_list_of_an_authority_that_nobody_is_pinned_to_any_more_stays_out() -> None:
    state, _ = build_state(sources(served(ACME, "acme"), access={ACME: access(lists={"k1": kept("x")})}))
    assert (state.authorities, state.revocation_lists) == ({}, {})


def test_denied_networks_stand_in_it_once() -> None:
    network = ip_network("198.51.100.0/24")
    state, _ = build_state(sources(denied=(network, network)))
    assert state.denied == (network,)


def test_edge_refuses_only_where_there_is_no_other_way_in() -> None:
    network = ip_network("192.0.2.0/24")
    for mode, methods, wanted in (
        ("all", ["network"], (network,)),
        ("any", ["network"], (network,)),
        ("all", ["network", "basic"], (network,)),
        ("any", ["network", "basic"], None),
        ("all", ["basic"], None),
    ):
        networks = [str(network)] if "network" in methods else []
        policy = make_policy(mode=mode, methods=methods, networks=networks)
        assert edge_networks(policy) == wanted, (mode, methods)
