from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import get_args

import pytest

from app.core.ids import CustomerId, InstanceId
from tenancy.lifecycle.errors import InstanceStateUnfit, RetentionRunning, RetentionUnfit
from tenancy.lifecycle.state import (
    LONGEST_RETENTION,
    TRANSITIONS,
    Verb,
    check_erasable,
    check_retention,
    move,
)
from tenancy.record import KEPT_STATES, Instance, InstanceState, describe_instance
from tests.fake.clock import START

ACME = Instance(
    instance_id=InstanceId("ins_1"),
    customer_id=CustomerId("cus_1"),
    name="acme",
    edition="dedicated",
    lines=1,
    country="DE",
    firm_code=6_000_100,
    pool="shared",
    state="ready",
    health="ok",
    database_url=None,
    config_version=1,
    applied_version=1,
    created_at=START,
)
STATES: tuple[InstanceState, ...] = get_args(InstanceState)
LED: dict[Verb, dict[InstanceState, set[InstanceState]]] = {
    "freeze": {"ready": {"frozen"}},
    "unfreeze": {"frozen": {"ready"}},
    "end": {"frozen": {"ended"}},
    "reinstate": {"ended": {"ready", "frozen"}},
    "erase": {"ended": {"erased"}},
}


def test_every_verb_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(LED) == set(get_args(Verb))


@pytest.mark.parametrize(("verb", "state"), list(product(LED, STATES)))
def test_verb_leads_from_its_states_only(verb: Verb, state: InstanceState) -> None:
    instance = replace(ACME, state=state)
    for to in TRANSITIONS[verb][1]:
        if to in LED[verb].get(state, set()):
            assert move(instance, verb, to=to).state == to
        else:
            with pytest.raises(InstanceStateUnfit) as refused:
                move(instance, verb, to=to)
            assert refused.value.detail["state"] == state


def test_verb_never_leads_elsewhere() -> None:
    with pytest.raises(ValueError, match="never leads"):
        move(ACME, "freeze", to="erased")


def test_nothing_leads_out_of_erased_and_nothing_back_into_provisioning() -> None:
    assert all("erased" not in before for before, _ in TRANSITIONS.values())
    assert all("provisioning" not in after for _, after in TRANSITIONS.values())


def test_only_a_ready_instance_lets_callers_in_and_an_erased_one_is_not_kept() -> None:
    assert {state for state in STATES if replace(ACME, state=state).is_open} == {"ready"}
    assert set(KEPT_STATES) == {"ready", "frozen", "ended"}
    frozen = {s for s in STATES if describe_instance(replace(ACME, state=s), [], at=START).frozen}
    # One that failed in provisioning may become ready by a retry, without anything new to tell its lines.
    assert frozen == {"frozen", "ended"}


def test_retention_is_in_days_up_to_ten_years() -> None:
    assert check_retention(0) == timedelta(0)
    assert check_retention(3650) == LONGEST_RETENTION
    for days in (-1, 3651):
        with pytest.raises(RetentionUnfit):
            check_retention(days)


def test_ended_instance_is_erased_when_its_retention_is_over_and_not_before() -> None:
    until = START + timedelta(days=30)
    ended = replace(ACME, state="ended", retained_until=until)
    with pytest.raises(RetentionRunning):
        check_erasable(ended, now=until - timedelta(microseconds=1), early=False)
    check_erasable(ended, now=until, early=False)
    check_erasable(ended, now=START, early=True)
    with pytest.raises(InstanceStateUnfit):
        check_erasable(ACME, now=until, early=True)


def test_lines_keep_the_name_under_which_the_instance_was_placed() -> None:
    renamed = replace(ACME, name="beta", placed_as="acme")
    assert renamed.placement_name == "acme"
    profile = describe_instance(renamed, [], at=START)
    assert (profile.name, profile.lines) == ("beta", ("acme-1",))
