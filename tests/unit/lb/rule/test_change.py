"""Rules that change while requests come: between any two steps of the front's plan, every rule set is whole."""

from __future__ import annotations

import random
from dataclasses import replace

from lb.front.model import FrontModel
from lb.front.plan import make_plan
from lb.front.render import render
from lb.front.step import ChangeMap
from tests.unit.lb.front.carried_out import carried_out
from tests.unit.lb.front.front_state import SETTINGS, random_state


def generations(model: FrontModel) -> dict[str, dict[str, str]]:
    """By tag, everything that the maps say under it."""
    found: dict[str, dict[str, str]] = {}
    for name in ("rule_mask.map", "rule_text.map"):
        for key, value in model.maps[name].items():
            found.setdefault(key.partition("|")[0], {})[key] = value
    return found


def test_no_step_leaves_half_a_rule_set() -> None:
    exchanged = 0
    for seed in range(60):
        chance = random.Random(seed)
        before = render(random_state(chance), SETTINGS).model
        desired = render(random_state(chance), SETTINGS, former=before).model
        # Backends that come or go need a reload, and that is one step by itself.
        plan = make_plan(before, replace(desired, backends=before.backends, text=before.text))
        assert plan.reload is None
        known = {**generations(before), **generations(desired)}
        for count in range(len(plan.steps) + 1):
            model = carried_out(before, replace(plan, steps=plan.steps[:count]))
            there = generations(model)
            assert all(there[tag] == known[tag] for tag in model.maps["rule.map"].values())
        assert generations(model) == generations(desired)
        for step in plan.steps:
            if isinstance(step, ChangeMap) and (step.map, step.change) == ("rule.map", "set"):
                exchanged += len(step.keys)
    assert exchanged > 20
