from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address, ip_network

import pytest
from sqlalchemy import update

from app.core.command import Command
from app.core.db import Tx
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import InstanceId, LineId, new_id
from app.core.json import JsonObject
from app.core.origin import Actor, Origin
from app.core.outbox import list_events
from lb.routing import Line
from lb.rule.decide import LineChosen, Refused, RequestFacts
from lb.rule.rule import NO_RULES, HeaderMatch, Maintenance, Match, Network, Rule, RuleSet, ToLines
from lb.rule.vocabulary import HEADER_VALUE_MAX
from tenancy import ApiClient, Instance, tables
from tenancy.rule.erasure import forget_rules
from tenancy.rule.record import RuleTrial
from tenancy.rule.service import RuleService, contracted_lines
from tests.integration.tenancy.world import World

OFFICE: tuple[Network, ...] = (ip_network("192.0.2.0/24"),)
STAFF = Origin(
    actor=Actor(kind="staff", actor_id="stk_1", person="per_1", sealed_name="…"),
    action="putRules",
    reason="night batches",
)
CUSTOMER = Origin(actor=Actor(kind="client", actor_id="cli_1"), action="putOwnRules")


@pytest.fixture
def rules(world: World) -> RuleService:
    return RuleService(world.platform, clients=world.clients.list_clients)


@pytest.fixture
def acme(world: World) -> Instance:
    return world.ready_instance("acme", "high_availability")


def to(*lines: str, name: str = "pin", match: Match | None = None) -> Rule:
    weights = {LineId(each): 1 for each in lines}
    return Rule(name=name, match=match or Match(), action=ToLines(weights=weights))


ONE = RuleSet(rules=(to("acme-1"),))
TWO = RuleSet(rules=(to("acme-2"),))
PAUSE = RuleSet(rules=(Rule(name="pause", match=Match(), action=Maintenance(retry_after_seconds=7)),))


def facts(path: str = "/acme/api/v1/items", source: str = "192.0.2.7") -> RequestFacts:
    return RequestFacts.of("GET", path.encode(), headers=[], source=ip_address(source))


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(DomainError) as error:
        call()
    return error.value.code


def by(origin: Origin) -> Command:
    return Command(origin=origin)


def test_instance_begins_with_version_one_and_no_rules(rules: RuleService, acme: Instance) -> None:
    judged = rules.get_rules(acme.instance_id)
    assert (judged.version.version, judged.version.rules, judged.findings) == (1, NO_RULES, ())
    assert (judged.version.actor_kind, judged.version.created_at) == ("system", acme.created_at)
    assert rules.list_versions(acme.instance_id) == [judged.version]
    assert rules.get_version(acme.instance_id, 1) == judged.version
    assert rules.list_in_force() == {}
    assert rules.find_in_force([acme.instance_id]) == {}


def test_each_change_is_a_version_that_says_who_made_it_when_and_why(
    world: World, rules: RuleService, acme: Instance
) -> None:
    first = rules.put_rules(acme.instance_id, ONE, expected_version=1, command=by(STAFF))
    second = rules.put_rules(
        acme.instance_id, TWO, expected_version=2, reason="line 1 is slow", command=by(CUSTOMER)
    )
    assert (first.value.version.version, second.value.version.version) == (2, 3)
    assert (first.created, second.created) == (True, True)
    newest, older, oldest = rules.list_versions(acme.instance_id)
    assert [newest.rules, older.rules, oldest.rules] == [TWO, ONE, NO_RULES]
    assert [(each.actor_kind, each.actor_id, each.reason) for each in (newest, older)] == [
        ("client", "cli_1", "line 1 is slow"),
        ("staff", "stk_1", "night batches"),
    ]
    assert older.created_at == world.clock.now()
    assert rules.get_version(acme.instance_id, 2) == older
    assert rules.get_rules(acme.instance_id).version == newest
    assert rules.find_in_force([acme.instance_id]) == {acme.instance_id: newest}
    assert rules.list_in_force() == {acme.instance_id: newest}
    assert [each.version for each in rules.list_versions(acme.instance_id, limit=2)] == [3, 2]
    assert [each.version for each in rules.list_versions(acme.instance_id, before=2)] == [1]
    assert rules.list_versions(acme.instance_id, before=1) == []


def test_change_is_told_with_a_digest_of_both_versions(
    world: World, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, ONE, expected_version=1, command=by(STAFF))
    rules.undo(acme.instance_id, expected_version=2, reason="too early", command=by(CUSTOMER))
    events = world.platform.read(lambda reader: list_events(reader, after=0, limit=1000))
    told = [each for each in events if each.type == "instance.rules_changed"]
    assert [each.subject for each in told] == [acme.instance_id] * 2
    changed, undone = (each.data for each in told)
    assert (changed["version"], changed["rules"]) == (2, ["pin"])
    assert (undone["version"], undone["rules"], undone["restored"]) == (3, [], 1)
    assert len(str(changed["sha256"])) == 64
    assert changed["sha256"] != undone["sha256"]


def test_unchanged_rules_make_no_version_and_no_event(
    world: World, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, ONE, expected_version=1)
    again = rules.put_rules(acme.instance_id, ONE, expected_version=2)
    assert (again.value.version.version, again.created, again.replayed) == (2, False, False)
    rules.undo(acme.instance_id, expected_version=2, to=2)
    assert len(world.events("instance.rules_changed")) == 1


def test_repeated_command_is_carried_out_once(world: World, rules: RuleService, acme: Instance) -> None:
    command = Command(op_id="op_1", fingerprint="f")
    first = rules.put_rules(acme.instance_id, ONE, expected_version=1, command=command)
    repeated = rules.put_rules(acme.instance_id, ONE, expected_version=1, command=command)
    assert (first.replayed, repeated.replayed) == (False, True)
    assert repeated.value.version == first.value.version
    assert len(rules.list_versions(acme.instance_id)) == 2


def test_stale_version_is_refused_before_anything_is_changed(rules: RuleService, acme: Instance) -> None:
    rules.put_rules(acme.instance_id, ONE, expected_version=1)
    for stale in (1, 3, 99):
        put = refused(partial(rules.put_rules, acme.instance_id, TWO, expected_version=stale))
        undo = refused(partial(rules.undo, acme.instance_id, expected_version=stale))
        assert (put, undo) == ("rule_version_conflict", "rule_version_conflict")
    assert rules.get_rules(acme.instance_id).version.rules == ONE


@pytest.mark.parametrize("versions_before", [0, 1])
def test_one_of_many_changes_at_once_wins(
    rules: RuleService, acme: Instance, *, versions_before: int
) -> None:
    for n in range(versions_before):
        rules.put_rules(acme.instance_id, PAUSE, expected_version=n + 1)
    expected = versions_before + 1
    sets = [RuleSet(rules=(to("acme-1", name=f"rule-{n}"),)) for n in range(6)]
    start, codes = threading.Barrier(len(sets)), []

    def change(wanted: RuleSet) -> None:
        start.wait(timeout=10)
        try:
            rules.put_rules(acme.instance_id, wanted, expected_version=expected)
            codes.append("done")
        except DomainError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=change, args=(each,)) for each in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(codes) == ["done", *["rule_version_conflict"] * 5]
    assert len(rules.list_versions(acme.instance_id)) == expected + 1


def test_undo_puts_the_version_before_back_and_undone_again_the_change(
    rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, ONE, expected_version=1)
    rules.put_rules(acme.instance_id, TWO, expected_version=2)
    undone = rules.undo(acme.instance_id, expected_version=3).value.version
    assert (undone.version, undone.rules, undone.restored) == (4, ONE, 2)
    redone = rules.undo(acme.instance_id, expected_version=4).value.version
    assert (redone.version, redone.rules, redone.restored) == (5, TWO, 3)
    empty = rules.undo(acme.instance_id, expected_version=5, to=1).value.version
    assert (empty.version, empty.rules, empty.restored) == (6, NO_RULES, 1)
    assert rules.list_in_force() == {}
    assert rules.find_in_force([acme.instance_id]) == {acme.instance_id: empty}


def test_undo_of_nothing_and_to_nowhere_is_refused(rules: RuleService, acme: Instance) -> None:
    assert refused(lambda: rules.undo(acme.instance_id, expected_version=1)) == "rules_nothing_to_undo"
    for nowhere in (2, 2**31 - 1):
        code = refused(partial(rules.undo, acme.instance_id, expected_version=1, to=nowhere))
        assert code == "rule_version_not_found"
        missing = refused(partial(rules.get_version, acme.instance_id, nowhere))
        assert missing == "rule_version_not_found"


def test_version_with_a_line_that_is_gone_stays_readable_is_warned_of_and_is_not_put_back(
    world: World, acme: Instance
) -> None:
    lines: list[Line] = list(contracted_lines(acme))
    rules = RuleService(world.platform, clients=world.clients.list_clients, lines=lambda _: tuple(lines))
    rules.put_rules(acme.instance_id, TWO, expected_version=1)
    lines.pop()
    judged = rules.get_rules(acme.instance_id)
    assert [each.code for each in judged.findings] == ["rule_line_foreign"]
    rules.put_rules(acme.instance_id, ONE, expected_version=2)
    assert refused(lambda: rules.undo(acme.instance_id, expected_version=3)) == "rule_line_foreign"
    assert rules.get_version(acme.instance_id, 2).rules == TWO


def test_rules_with_another_instances_line_are_refused(
    world: World, rules: RuleService, acme: Instance
) -> None:
    world.ready_instance("beta", "high_availability")
    foreign = RuleSet(rules=(to("acme-1", "beta-1"),))
    assert refused(lambda: rules.put_rules(acme.instance_id, foreign, expected_version=1)) == (
        "rule_line_foreign"
    )
    assert rules.get_rules(acme.instance_id).version.version == 1


def test_edition_with_a_shared_line_has_no_rules(world: World, rules: RuleService) -> None:
    shared = world.ready_instance("shop", "datacenter").instance_id
    calls: Sequence[Callable[[], object]] = (
        lambda: rules.get_rules(shared),
        lambda: rules.list_versions(shared),
        lambda: rules.get_version(shared, 1),
        lambda: rules.put_rules(shared, NO_RULES, expected_version=1),
        lambda: rules.undo(shared, expected_version=1),
        lambda: rules.try_out(shared, facts()),
    )
    assert [refused(each) for each in calls] == ["rules_not_offered"] * len(calls)


def test_instance_that_is_not_there_or_not_ready_has_none(world: World, rules: RuleService) -> None:
    assert refused(lambda: rules.get_rules(InstanceId("ins_0"))) == "instance_not_found"
    ordered = world.order("acme", "dedicated")
    unborn = InstanceId(ordered.object_id)
    assert refused(lambda: rules.put_rules(unborn, NO_RULES, expected_version=1)) == "instance_not_ready"


def test_largest_rule_set_is_stored_and_read_again(rules: RuleService, acme: Instance) -> None:
    sources = {
        f"group-{g}": tuple(ip_network(f"2001:db8:{g:x}:{n:x}:ffff:ffff:ffff:fff0/124") for n in range(64))
        for g in range(16)
    }
    largest = RuleSet(
        rules=tuple(
            Rule(
                name=f"rule-{n}",
                match=Match(
                    path_prefix="/" + f"{n:03}" + "p" * 110 + "/",
                    methods=frozenset({"GET", "POST"}),
                    header=HeaderMatch(name="user-agent", value="v" * HEADER_VALUE_MAX),
                    source=f"group-{n % 16}",
                    clients=frozenset(f"acme.client-{c:02}-{'x' * 20}" for c in range(64)),
                ),
                action=ToLines(weights={LineId("acme-1"): 256, LineId("acme-2"): 1}, sticky=True),
            )
            for n in range(62)
        ),
        sources=sources,
    )
    rules.put_rules(acme.instance_id, largest, expected_version=1)
    assert rules.get_rules(acme.instance_id).version.rules == largest


def test_trial_asks_rules_in_force_or_those_that_are_given(rules: RuleService, acme: Instance) -> None:
    office = RuleSet(
        rules=(to("acme-2", name="office", match=Match(source="office")),), sources={"office": OFFICE}
    )
    rules.put_rules(acme.instance_id, office, expected_version=1)
    inside, outside = (
        rules.try_out(acme.instance_id, facts(source=each)) for each in ("192.0.2.7", "198.51.100.1")
    )
    assert (inside.version, chosen(inside), inside.decision.rule) == (2, {"acme-2"}, "office")
    assert (chosen(outside), outside.decision.rule) == ({"acme-1", "acme-2"}, None)
    given = rules.try_out(acme.instance_id, facts(), rules=PAUSE)
    assert given.version is None
    assert isinstance(given.choice, Refused)
    assert given.choice.error.code == "rule_maintenance"
    bad = RuleSet(rules=(to("nobodys-1"),))
    assert refused(lambda: rules.try_out(acme.instance_id, facts(), rules=bad)) == "rule_line_foreign"
    assert len(rules.list_versions(acme.instance_id)) == 2


def chosen(trial: RuleTrial) -> set[str]:
    assert isinstance(trial.choice, LineChosen)
    return {each.line_id for each in trial.choice.candidates}


def test_unknown_api_client_is_warned_of_unless_nobody_knows(
    world: World, rules: RuleService, acme: Instance
) -> None:
    world.clients.add_client(acme.instance_id, name="erp", scopes=frozenset({"read"}))
    known, unknown = (
        RuleSet(rules=(to("acme-1", match=Match(clients=frozenset({name}))),))
        for name in ("acme.erp", "acme.nobody")
    )
    fine = rules.put_rules(acme.instance_id, known, expected_version=1)
    odd = rules.put_rules(acme.instance_id, unknown, expected_version=2)
    assert ([*fine.value.findings], [each.code for each in odd.value.findings]) == (
        [],
        ["rule_client_unknown"],
    )

    def away(_instance_id: InstanceId) -> Sequence[ApiClient]:
        raise DatabaseUnavailable("away")

    blind = RuleService(world.platform, clients=away)
    assert blind.get_rules(acme.instance_id).findings == ()
    done = blind.put_rules(acme.instance_id, ONE, expected_version=3)
    assert done.value.version.version == 4


def test_erased_instance_leaves_no_rules_however_many_there_were(
    world: World, rules: RuleService, acme: Instance
) -> None:
    other = world.ready_instance("beta", "dedicated").instance_id
    rules.put_rules(other, PAUSE, expected_version=1)
    for n in range(103):
        rules.put_rules(acme.instance_id, ONE if n % 2 else PAUSE, expected_version=n + 1)
    for _ in range(2):
        forget_rules(world.platform, acme.instance_id, origin=STAFF)
        assert [each.version for each in rules.list_versions(acme.instance_id)] == [1]
    assert list(rules.list_in_force()) == [other]
    assert len(rules.list_versions(other)) == 2


def test_rules_from_before_a_change_to_a_shared_line_are_kept_and_not_listed(
    world: World, rules: RuleService, acme: Instance
) -> None:
    rules.put_rules(acme.instance_id, ONE, expected_version=1)
    assert list(rules.list_in_force()) == [acme.instance_id]
    change = update(tables.instance).where(tables.instance.c.instance_id == acme.instance_id)
    for edition, listed in (("datacenter", []), ("high_availability", [acme.instance_id])):

        def body(tx: Tx, edition: str = edition) -> JsonObject:
            tx.write(change.values(edition=edition))
            return {}

        world.platform.run_tx(new_id("op"), body)
        assert list(rules.list_in_force()) == listed
    assert rules.get_rules(acme.instance_id).version.rules == ONE
