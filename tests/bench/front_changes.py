"""Failed requests during 100 changes of lines, weights, rules, certificates, hosts, and reloads. Method: README."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Final

from app.core.ids import InstanceId, LineId
from app.core.json import JsonObject
from lb.front.front import Front
from lb.front.state import FrontHost, FrontInstance, FrontLine, FrontState, LineSet
from lb.rule.rule import HeaderMatch, Match, Rule, RuleSet, ToLines
from tests.bench.result import BenchPlace, BenchResult, median, percentile
from tests.service.front_site import ACME, HOST, FrontSite, running_front
from tests.service.open_loop import Ask, Load, LoadPlan, open_loop
from tests.service.pki import make_authority

NAME: Final = "front_changes"
_CHANGES: Final = 100
_SECONDS: Final = 60.0
_SEED: Final = 5
_RATE: Final = 120.0
_OWN_RATE: Final = 40.0
_MOST_UNDER_WAY: Final = 200
"""Of each load: more than a second of it. Reached only where the machine itself does not keep up."""
_OWN_HOST: Final = "licences.acme.example"
_LINES: Final = (1, 2)
_MORE_LINES: Final = (3, 4)
_ASKS: Final = (
    Ask(path="/acme/api/v1/items?after=1"),
    Ask(path="/acme/erp/{number}", headers=(("X-Client-Class", "erp"),)),
    Ask(path="/acme/api/v1/orders", method="POST", body='{"order_number": "SO-{number}"}'),
    Ask(path="/acme/slow?ms=40"),
)


@dataclass(kw_only=True)
class _Site:
    """What the front is to be, changed step by step.

    Attributes:
        ending: lines that get nothing new, and are removed with the next change of lines.
    """

    front_site: FrontSite
    front: Front
    state: FrontState
    random: random.Random
    seconds: list[float] = field(default_factory=list)
    reloads: int = 0
    ending: set[int] = field(default_factory=set)

    def apply(self, state: FrontState) -> None:
        applied = self.front.apply(state)
        self.state = state
        self.seconds.append(applied.seconds)
        self.reloads += applied.reloaded

    def lines(self) -> dict[int, FrontLine]:
        return {line.number: line for line in self.state.line_sets[ACME].lines}

    def with_lines(self, lines: dict[int, FrontLine]) -> FrontState:
        made = LineSet(key=ACME, lines=tuple(lines[number] for number in sorted(lines)))
        return replace(self.state, line_sets={**self.state.line_sets, ACME: made})

    def with_instance(self, **values: object) -> FrontState:
        known = replace(self.state.instances[ACME], **values)  # type: ignore[arg-type]
        return replace(self.state, instances={**self.state.instances, ACME: known})


def run(_place: BenchPlace) -> BenchResult:
    """Change the front for a minute, under load of every kind of client."""
    done: Counter[str] = Counter()
    with ExitStack() as stack:
        front_site = stack.enter_context(running_front())
        site = _open(front_site)
        loads = [stack.enter_context(open_loop(plan)) for plan in _plans(front_site)]
        for load in loads:
            load.wait_for(30)
        start = time.monotonic()
        names = list(_CHANGE_KINDS)
        order = [names[number % len(names)] for number in range(_CHANGES)]
        site.random.shuffle(order)
        for number, name in enumerate(order):
            _CHANGE_KINDS[name](site)
            done[name] += 1
            pause = start + (number + 1) * _SECONDS / _CHANGES - time.monotonic()
            loads[0].wait_seconds(max(0.0, pause))
        took = time.monotonic() - start
        # What the lines have seen ends with them: the loads are looked at before.
        for load in loads:
            load.stop()
    return _result(loads, site, done, took)


def _result(loads: list[Load], site: _Site, done: Counter[str], took: float) -> BenchResult:
    failed = [each for load in loads for each in load.failed]
    answered = [each for load in loads for each in load.answered]
    waits = [each.finished - each.scheduled for each in answered if each.ok]
    detail: JsonObject = {
        "requests": len(answered),
        "requests_per_second": round(len(answered) / took, 1),
        "by_kind": dict(Counter(each.kind for each in answered)),
        "sent_again_by_libcurl": sum(len(load.resent) for load in loads),
        "failures": [f"{each.kind}: {each.outcomes} {each.attempts[-1].text[:80]}" for each in failed[:5]],
        "changes": dict(done),
        "reloads": site.reloads + done["reload"],
        "seconds": round(took, 1),
        "apply_ms": {
            "median": round(median(site.seconds) * 1000, 1),
            "worst": round(max(site.seconds) * 1000, 1),
        },
        "request_p99_ms": round(percentile(waits, 0.99) * 1000, 1),
    }
    ok = not failed and sum(done.values()) == _CHANGES
    return BenchResult(bench=NAME, value=len(failed), unit="requests", mark="= 0", ok=ok, detail=detail)


def _open(front_site: FrontSite) -> _Site:
    for number in _LINES:
        front_site.start_line(number)
    host = FrontHost(host_id="own", host=_OWN_HOST, instance_id=ACME, pem=front_site.pem_for(_OWN_HOST))
    state = front_site.state(*(front_site.line(number) for number in _LINES), hosts={"own": host})
    site = _Site(front_site=front_site, front=front_site.front, state=state, random=random.Random(_SEED))
    site.front.apply(state)
    return site


def _plans(site: FrontSite) -> list[LoadPlan]:
    plan = LoadPlan(
        address=site.tls,
        server_name=HOST,
        authority=site.authority_file,
        rate=_RATE,
        kinds=("keep_alive", "fresh", "http2"),
        asks=_ASKS,
        attempts=1,
        # Longer than a busy machine takes: a request fails if it is not answered, not if it waits.
        timeout_seconds=20.0,
        most_under_way=_MOST_UNDER_WAY,
    )
    own = replace(plan, server_name=_OWN_HOST, rate=_OWN_RATE, asks=(Ask(path="/api/v1/items"),))
    return [plan, own]


def _weight(site: _Site) -> None:
    lines = site.lines()
    number = site.random.choice(sorted(set(lines) - site.ending))
    lines[number] = replace(lines[number], weight=site.random.randint(1, 256))
    site.apply(site.with_lines(lines))


def _line_out(site: _Site) -> None:
    """Take a line out of service, or bring it back; one of the first two is always in."""
    lines = site.lines()
    number = site.random.choice(_LINES)
    others = [line for line in _LINES if line != number]
    if not all(lines[other].in_service for other in others):
        number = others[0]
    lines[number] = replace(lines[number], in_service=not lines[number].in_service)
    site.apply(site.with_lines(lines))


def _temporary_line(site: _Site) -> None:
    """Add a line, or take one out of service, or remove the one that was."""
    lines = site.lines()
    number = site.random.choice(_MORE_LINES)
    if number not in lines:
        site.front_site.start_line(number)
        lines[number] = site.front_site.line(number)
    elif number not in site.ending:
        site.ending.add(number)
        lines[number] = replace(lines[number], in_service=False)
    else:
        del lines[number]
    site.apply(site.with_lines(lines))
    if number not in lines:
        site.ending.remove(number)
        site.front_site.kill_line(number)


def _rules(site: _Site) -> None:
    """Other rules, each of which sends what it matches to some of the lines."""
    pick = site.random.random
    matches = (
        Match(path_prefix="/erp/"),
        Match(methods=frozenset({"POST"})),
        Match(header=HeaderMatch(name="x-client-class", value="erp")),
        Match(source="office"),
    )
    rules = tuple(
        Rule(
            name=f"rule-{number}",
            match=match,
            action=ToLines(weights={LineId(f"acme-{site.random.choice(_LINES)}"): 100}, sticky=pick() < 0.3),
        )
        for number, match in enumerate(matches)
        if pick() < 0.6
    )
    site.apply(
        site.with_instance(rules=RuleSet(rules=rules, sources={"office": (ip_network("127.0.0.0/8"),)}))
    )


def _certificate(site: _Site) -> None:
    """New certificates for the front's own name and for the customer's host."""
    host = replace(site.state.hosts["own"], pem=site.front_site.pem_for(_OWN_HOST))
    hosts = {**site.state.hosts, "own": host}
    site.apply(replace(site.state, hosts=hosts, default_pem=site.front_site.pem_for(HOST)))


def _authority(site: _Site) -> None:
    """A customer's authority comes; one of the others goes."""
    made = make_authority(f"CN=authority {site.random.randrange(10**6)}")
    kept = dict(list(site.state.authorities.items())[-2:])
    site.apply(replace(site.state, authorities={**kept, made.fingerprint: made.pem}))


def _host(site: _Site) -> None:
    """A host comes, or goes."""
    hosts = dict(site.state.hosts)
    if hosts.pop("other", None) is None:
        pem = site.front_site.pem_for("other.example")
        hosts["other"] = FrontHost(host_id="other", host="other.example", instance_id=ACME, pem=pem)
    site.apply(replace(site.state, hosts=hosts))


def _instance(site: _Site) -> None:
    """An instance with lines of its own comes, or goes: HAProxy reads its configuration anew."""
    other = InstanceId("ins_other")
    instances, sets = dict(site.state.instances), dict(site.state.line_sets)
    if instances.pop(other, None) is None:
        line = replace(site.front_site.line(1), line_id=LineId("other-1"))
        sets[other] = LineSet(key=other, lines=(line,))
        instances[other] = FrontInstance(instance_id=other, name="other", line_set=other)
    else:
        del sets[other]
    site.apply(replace(site.state, instances=instances, line_sets=sets))


def _reload(site: _Site) -> None:
    site.front_site.master.reload()


_CHANGE_KINDS: Final[dict[str, Callable[[_Site], None]]] = {
    "weight": _weight,
    "line_out_or_in": _line_out,
    "temporary_line": _temporary_line,
    "rules": _rules,
    "certificate": _certificate,
    "authority": _authority,
    "host": _host,
    "instance": _instance,
    "reload": _reload,
}
