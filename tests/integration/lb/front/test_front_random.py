"""A hundred changes at random, and nobody loses a request."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from lb.front.state import FrontHost, FrontState, LineSet
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from tests.integration.lb.front.change import agrees, two
from tests.service.front_site import ACME, FrontSite
from tests.service.open_loop import Ask, LoadPlan, open_loop
from tests.service.pki import make_authority

CHANGES = 100
_WORDS = ("erp", "crm", "shop")


class Changer:
    """States that follow each other at random; line 1 always serves."""

    def __init__(self, site: FrontSite, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)
        self._pems = {name: [site.pem_for(name) for _ in range(3)] for name in ("a.example", "b.example")}
        self._wops = [site.pem, *(site.pem_for("wops.example") for _ in range(2))]

        self._authorities = {name: make_authority(f"CN={name}").pem for name in ("one", "two")}

    def next(self) -> FrontState:
        chance, site = self._chance, self._site
        numbers = [1, *(number for number in (2, 3) if chance.random() < 0.97)]
        lines = tuple(
            site.line(
                number,
                weight=chance.randint(1, 256),
                in_service=number == 1 or chance.random() < 0.7,
            )
            for number in numbers
        )
        hosts = {
            host[0]: FrontHost(host_id=f"hst_{host[0]}", host=host, instance_id=ACME, pem=chance.choice(pems))
            for host, pems in self._pems.items()
            if chance.random() < 0.6
        }
        state = site.state(
            *lines,
            instance={"rules": self._rules([line.line_id for line in lines])},
            hosts=hosts,
            default_pem=chance.choice(self._wops),
            authorities={name: pem for name, pem in self._authorities.items() if chance.random() < 0.9},
            denied=(ip_network(f"192.0.2.{chance.randint(0, 255)}"),),
        )
        if chance.random() < 0.05:
            # Another set of lines comes or goes: that takes a reload.
            key = f"set_{chance.randint(1, 9)}"
            sets = {**state.line_sets, key: LineSet(key=key, lines=(site.line(3),))}
            state = replace(state, line_sets=sets)
        return state

    def _rules(self, lines: list[Any]) -> RuleSet:
        chance = self._chance
        names = chance.sample(_WORDS, chance.randint(0, 3))
        return RuleSet(
            rules=tuple(
                Rule(
                    name=name,
                    match=Match(path_prefix=f"/{name}/"),
                    action=ToLines(
                        weights={
                            line: chance.randint(1, 256)
                            for line in chance.sample(lines, chance.randint(1, len(lines)))
                        },
                        sticky=chance.random() < 0.5,
                    ),
                )
                for name in names
            )
        )


def test_a_hundred_random_changes_lose_no_request_of_anybody(patient_site: FrontSite) -> None:
    site = patient_site
    front, changer = site.front, Changer(site, seed=4711)
    front.apply(two(site))
    plan = LoadPlan(
        address=site.tls,
        server_name="wops.example",
        authority=site.authority_file,
        rate=90,
        kinds=("keep_alive", "fresh", "http2"),
        asks=(
            Ask(path="/acme/api/v1/items?ms=20"),
            Ask(path="/acme/erp/x", headers=(("Authorization", "Basic ZXJwOnNlY3JldA=="),)),
            Ask(path="/acme/crm/{number}", method="POST", body="{number}"),
        ),
        attempts=1,
        # A busy machine is slow; what is lost is never answered at all, or by an error.
        timeout_seconds=20,
    )
    reloads = steps = 0
    with open_loop(plan) as load:
        load.wait_for(50)
        for _ in range(CHANGES):
            applied = front.apply(changer.next())
            reloads += applied.reloaded
            steps += len(applied.plan.steps)
            assert applied.escalated is None, applied.escalated
            assert agrees(site)
        load.wait_seconds(1)
    assert load.failed == (), load.story()
    assert {each.kind for each in load.answered} == {"keep_alive", "fresh", "http2"}
    assert reloads >= 5
    assert steps >= CHANGES
    assert len({who for who in load.who() if who}) == 3
