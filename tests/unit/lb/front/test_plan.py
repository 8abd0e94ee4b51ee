"""From one model to the next: what a plan says, and that carrying it out leaves nothing to do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from lb.front.model import FrontModel
from lb.front.plan import Plan, make_plan
from lb.front.render import render
from lb.front.state import FrontState
from lb.front.step import (
    AddServer,
    ChangeCertificate,
    ChangeMap,
    RemoveServer,
    ReplaceTrust,
    SetWeight,
    Step,
)
from tests.unit.lb.front.carried_out import carried_out
from tests.unit.lb.front.front_state import (
    SETTINGS,
    authority,
    instance,
    line,
    pem,
    random_state,
    rules,
    state,
)


def model_of(wanted: FrontState, former: FrontModel | None = None) -> FrontModel:
    return render(wanted, SETTINGS, former=former).model


def plan_of(before: FrontState, after: FrontState) -> Plan:
    model = model_of(before)
    return make_plan(model, model_of(after, model))


def steps_of(before: FrontState, after: FrontState) -> tuple[Step, ...]:
    plan = plan_of(before, after)
    assert plan.reload is None
    return plan.steps


def changes(steps: Sequence[Step], change: str, map_: str | None = None) -> list[int]:
    """Places of the steps that change maps so; of one map, or of all."""
    return [
        number
        for number, step in enumerate(steps)
        if isinstance(step, ChangeMap) and step.change == change and map_ in {None, step.map}
    ]


TWO = state(line(1), line(2))


def test_the_same_state_again_leaves_nothing_to_do() -> None:
    plan = plan_of(TWO, TWO)
    assert plan.is_empty
    assert str(plan) == "nothing to do"


def test_what_nobody_knows_is_read_again() -> None:
    assert make_plan(None, model_of(TWO)).reload == "what runs is not known"


def test_weights_change_by_steps_the_greater_one_first() -> None:
    steps = steps_of(TWO, state(line(1, weight=10), line(2, weight=200)))
    assert steps == (
        SetWeight(backend="ins_acme", server="l2", weight=20),
        SetWeight(backend="ins_acme", server="l1", weight=1),
    )


def test_a_line_out_of_service_gets_weight_zero_and_keeps_no_sticky_caller() -> None:
    steps = steps_of(TWO, state(line(1, in_service=False), line(2)))
    assert set(steps) == {
        SetWeight(backend="ins_acme", server="l1", weight=0),
        ChangeMap(map="sticky.map", change="drop", keys=("ins_acme|1",)),
    }


def test_a_new_line_comes_to_its_set_before_the_groups() -> None:
    added = [step for step in steps_of(TWO, state(line(1), line(2), line(3))) if isinstance(step, AddServer)]
    assert [step.backend for step in added] == ["ins_acme", "ins_acme_g1", "ins_acme_g2"]
    assert [step.server.weight for step in added] == [8, 0, 0]


def test_a_line_that_came_while_it_ran_goes_while_it_runs_from_the_groups_first() -> None:
    model = model_of(TWO)
    with_third = make_plan(model, model_of(state(line(1), line(2), line(3)), model)).result
    steps = make_plan(with_third, model_of(TWO, with_third)).steps
    removed = [step for step in steps if isinstance(step, RemoveServer)]
    assert [step.backend for step in removed] == ["ins_acme_g2", "ins_acme_g1", "ins_acme"]


def test_a_line_that_groups_follow_goes_by_a_reload() -> None:
    assert plan_of(TWO, state(line(1))).reload == "ins_acme/l2 goes, and group backends follow it"


def test_the_only_line_goes_by_a_step() -> None:
    assert steps_of(state(line(1)), state()) == (RemoveServer(backend="ins_acme", server="l1"),)


def test_another_address_is_a_reload() -> None:
    moved = state(line(1, address="127.0.0.1:7001"), line(2))
    assert plan_of(TWO, moved).reload == "ins_acme/l1 has another address"


def test_a_new_line_set_is_a_reload_that_says_which() -> None:
    more = replace(
        TWO, line_sets={**TWO.line_sets, "shared": replace(TWO.line_sets["ins_acme"], key="shared")}
    )
    reload = plan_of(TWO, more).reload
    assert reload is not None
    assert "shared" in reload


def test_rules_come_by_steps_into_group_backends_made_in_advance() -> None:
    ruled = state(line(1), line(2), known=instance(rules=rules("erp", "crm", to=2)))
    steps = steps_of(TWO, ruled)
    weights = {(step.backend, step.server) for step in steps if isinstance(step, SetWeight)}
    assert weights == {("ins_acme_g1", "l2"), ("ins_acme_g2", "l2")}


def test_more_rules_than_group_backends_are_a_reload_that_makes_spare_ones_again() -> None:
    ruled = state(line(1), line(2), known=instance(rules=rules("a", "b", "c")))
    model = model_of(TWO)
    assert make_plan(model, model_of(ruled, model)).reload is not None
    assert render(ruled, SETTINGS, former=model, anew=True).model.slots == {"ins_acme": 5}


def test_a_rule_takes_effect_by_one_entry_after_everything_it_leads_to() -> None:
    ruled = state(line(1), line(2), known=instance(rules=rules("erp")))
    steps = steps_of(TWO, ruled)
    flip = steps.index(ChangeMap(map="rule.map", change="add", keys=("ins_acme",)))
    for name in ("rule_mask.map", "rule_text.map"):
        assert min(changes(steps, "add", name)) < flip
    assert any(isinstance(step, SetWeight) for step in steps[:flip])


def test_changed_rules_drop_the_old_ones_after_the_new_ones_are_in_force() -> None:
    first = state(line(1), line(2), known=instance(rules=rules("erp")))
    second = state(line(1), line(2), known=instance(rules=rules("erp", to=2)))
    steps = steps_of(first, second)
    flips = changes(steps, "set", "rule.map")
    drops, adds = changes(steps, "drop"), changes(steps, "add")
    if flips:
        assert max(adds) < flips[0] < min(drops)
    ups = [number for number, step in enumerate(steps) if isinstance(step, SetWeight) and step.weight > 0]
    downs = [number for number, step in enumerate(steps) if isinstance(step, SetWeight) and step.weight == 0]
    assert max(ups) < min(downs)


def test_a_great_change_of_a_map_is_made_at_once() -> None:
    many = tuple(ip_network(f"10.{number // 256}.{number % 256}.0/24") for number in range(600))
    (drop,) = steps_of(replace(TWO, denied=many), TWO)
    assert str(drop) == "denied_ip4.map: drop 10.0.0.0/24, 10.0.1.0/24, 10.0.10.0/24 and 597 more"
    shared = {**TWO.line_sets, "shared": replace(TWO.line_sets["ins_acme"], key="shared")}
    known = [instance(f"firm{number}") for number in range(201)]

    def all_at(key: str) -> FrontState:
        moved = {each.instance_id: replace(each, line_set=key) for each in known}
        return replace(TWO, line_sets=shared, instances=moved)

    (moved,) = steps_of(all_at("shared"), all_at("ins_acme"))
    assert str(moved) == "backend.map: replace by 201 entries"


def test_certificates_and_authorities_change_by_steps() -> None:
    changed = replace(TWO, default_pem=pem(1), authorities={"a": authority(0)[0]})
    assert steps_of(TWO, changed) == (
        ChangeCertificate(name="default.pem", change="renew"),
        ReplaceTrust(what="authorities"),
    )


def test_authorities_are_not_exchanged_again_once_a_certificate_followed_them() -> None:
    first = replace(TWO, authorities={"a": authority(0)[0]})
    exchanged = make_plan(model_of(TWO), model_of(first)).result
    renewed = make_plan(exchanged, model_of(replace(first, default_pem=pem(1)), exchanged)).result
    assert (exchanged.trust, renewed.trust) == ("exchanged", "spent")
    again = replace(first, default_pem=pem(1), authorities={"a": authority(1)[0]})
    plan = make_plan(renewed, model_of(again, renewed))
    assert plan.reload is not None
    assert plan.result.trust == "as read"


def test_settings_that_change_are_a_reload() -> None:
    model = model_of(TWO)
    other = render(TWO, replace(SETTINGS, health="127.0.0.1:8100"), former=model).model
    assert make_plan(model, other).reload == "settings, or the program, have changed"


@pytest.mark.parametrize("seed", range(30))
def test_carrying_out_a_plan_leaves_nothing_to_do(seed: int) -> None:
    chance = random.Random(seed)
    model = model_of(random_state(chance))
    for _ in range(6):
        wanted = random_state(chance)
        plan = make_plan(model, model_of(wanted, model))
        if plan.reload is None:
            assert carried_out(model, plan) == plan.result
            model = plan.result
        else:
            model = render(wanted, SETTINGS, former=model, anew=True).model
        assert make_plan(model, model_of(wanted, model)).is_empty


@pytest.mark.parametrize("seed", range(20))
def test_a_plan_that_was_broken_off_is_finished_by_the_next(seed: int) -> None:
    chance = random.Random(seed)
    same_sets = random_state(chance)
    model = render(same_sets, SETTINGS, anew=True).model
    wanted = replace(random_state(chance), line_sets=same_sets.line_sets, instances=same_sets.instances)
    plan = make_plan(model, model_of(wanted, model))
    assert plan.reload is None
    cut = chance.randint(0, len(plan.steps))
    halfway = carried_out(model, replace(plan, steps=plan.steps[:cut]))
    rest = make_plan(halfway, model_of(wanted, halfway))
    assert rest.reload is None
    assert carried_out(halfway, rest) == rest.result
    assert rest.result.maps == plan.result.maps
