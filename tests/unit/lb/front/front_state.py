"""States of a front for tests: small ones by hand, random ones that follow each other."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from app.core.ids import InstanceId, LineId
from lb.front.settings import FrontBind, FrontSettings
from lb.front.state import FrontHost, FrontInstance, FrontLine, FrontState, LineSet
from lb.rule.rule import HeaderMatch, Maintenance, Match, Rule, RuleSet, ToLines
from tests.service.pki import YEAR, issue_for_host, make_authority, make_revocation_list

SETTINGS = FrontSettings(
    directory=Path("/srv/wops/front/lb1"),
    binds=(
        FrontBind(address="127.0.0.1:8443"),
        FrontBind(address="[::1]:8443"),
        FrontBind(address="127.0.0.1:8080", kind="redirect"),
    ),
    health="127.0.0.1:8099",
)
NOW = datetime(2026, 2, 1, tzinfo=UTC)


@cache
def pem(number: int) -> str:
    """One of a few certificates with their keys."""
    issued = issue_for_host(f"h{number}.example", lasts=10 * YEAR)
    return issued.pem + issued.key_pem


@cache
def authority(number: int) -> tuple[str, str]:
    """One of a few authorities, and a revocation list of it."""
    made = make_authority(f"CN=CA {number}")
    return made.pem, make_revocation_list(made)


def line(number: int, *, owner: str = "acme", **values: Any) -> FrontLine:
    return FrontLine(
        **{
            "line_id": LineId(f"{owner}-{number}"),
            "number": number,
            "address": f"unix@/srv/wops/lines/{owner}-{number}/front.sock",
            **values,
        }
    )


def instance(name: str = "acme", **values: Any) -> FrontInstance:
    return FrontInstance(
        **{"instance_id": InstanceId(f"ins_{name}"), "name": name, "line_set": f"ins_{name}", **values}
    )


def state(*lines: FrontLine, known: FrontInstance | None = None, **values: Any) -> FrontState:
    """One instance with its lines."""
    acme = known or instance()
    whole: dict[str, Any] = {
        "line_sets": {acme.line_set: LineSet(key=acme.line_set, lines=lines)},
        "instances": {acme.instance_id: acme},
        "default_pem": pem(0),
        **values,
    }
    return FrontState(**whole)


def rules(*names: str, to: int = 1, owner: str = "acme") -> RuleSet:
    """A rule for each name, all to one line."""
    return RuleSet(
        rules=tuple(
            Rule(
                name=name,
                match=Match(path_prefix=f"/{name}/"),
                action=ToLines(weights={LineId(f"{owner}-{to}"): 10}),
            )
            for name in names
        )
    )


def random_state(chance: random.Random, *, sets: int = 4) -> FrontState:
    """A state that has much in common with any other one from here."""
    owners = [f"firm{number}" for number in range(sets) if chance.random() < 0.9]
    line_sets, instances = {}, {}
    for owner in owners:
        numbers = sorted(chance.sample(range(1, 5), chance.randint(0, 3)))
        key = f"ins_{owner}"
        lines = tuple(
            line(
                number, owner=owner, weight=chance.choice((0, 1, 100, 256)), in_service=chance.random() < 0.8
            )
            for number in numbers
        )
        line_sets[key] = LineSet(key=key, lines=lines)
        instances[InstanceId(key)] = instance(
            owner,
            rules=_random_rules(chance, owner, numbers),
            networks=None if chance.random() < 0.5 else tuple(_networks(chance)),
        )
    hosts = {
        f"hst_{number}": FrontHost(
            host_id=f"hst_{number}",
            host=f"{chance.choice('abc')}{number}.example",
            instance_id=chance.choice([*instances, None]),
            pem=pem(chance.randint(1, 3)),
        )
        for number in range(3)
        if chance.random() < 0.6
    }
    return FrontState(
        line_sets=line_sets,
        instances=instances,
        default_pem=pem(chance.randint(0, 1)),
        control=chance.choice((None, "127.0.0.1:9000")),
        hosts=hosts,
        authorities={f"{number}": authority(number)[0] for number in range(2) if chance.random() < 0.5},
        revocation_lists={f"{number}": authority(number)[1] for number in range(2) if chance.random() < 0.5},
        denied=tuple(_networks(chance)),
    )


def _networks(chance: random.Random) -> list[Any]:
    known = ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.0/24", "2001:db8::/32", "2001:db8:1::/48")
    return [ip_network(each) for each in chance.sample(known, chance.randint(0, 3))]


def _random_rules(chance: random.Random, owner: str, numbers: list[int]) -> RuleSet:
    found = []
    for number in range(chance.randint(0, 4)):
        action: ToLines | Maintenance = Maintenance()
        if numbers and chance.random() < 0.8:
            chosen = chance.sample(numbers, chance.randint(1, len(numbers)))
            weights = {LineId(f"{owner}-{each}"): chance.randint(1, 256) for each in chosen}
            action = ToLines(weights=weights, sticky=chance.random() < 0.5)
        match = Match(
            path_prefix=chance.choice((None, "/erp/", "/erp/orders/")),
            methods=frozenset(chance.sample(("GET", "POST"), chance.randint(0, 1))),
            header=chance.choice((None, HeaderMatch(name="x-batch", value="yes"))),
        )
        found.append(Rule(name=f"rule-{number}", match=match, action=action))
    return RuleSet(rules=tuple(found))
