"""A front with many instances, each with lines of its own, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from app.core.ids import InstanceId, LineId
from lb.front.release import CONFIGURATION
from lb.front.state import FrontInstance, FrontLine, FrontState, LineSet
from lb.process import check_configuration
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from tests.service.front_site import FrontSite


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of changes and of a look at the whole configuration; memory of master and worker in MB."""

    fill_seconds: float
    weight_seconds: float
    rule_seconds: float
    line_seconds: float
    reload_seconds: float
    check_seconds: float
    status_seconds: float
    rss_mb: float
    pss_mb: float
    backends: int
    servers: int


def crowd(site: FrontSite, instances: int, *, lines: int = 2) -> FrontState:
    """Every instance has its set; all lines listen at the sockets of the site's lines."""
    sets, known = {}, {}
    for number in range(instances):
        key = f"ins_{number:04}"
        sets[key] = LineSet(key=key, lines=tuple(_line(site, key, each) for each in range(1, lines + 1)))
        known[InstanceId(key)] = FrontInstance(
            instance_id=InstanceId(key), name=f"firm-{number:04}", line_set=key, rules=_rules(key, "erp")
        )
    return FrontState(line_sets=sets, instances=known, default_pem=site.pem)


def measure(site: FrontSite, instances: int) -> Cost:
    """Fill a front, change one thing after the other, and look at what it costs."""
    front, state = site.front, crowd(site, instances)
    filled = front.apply(state)
    first = next(iter(state.line_sets))
    heavier = _with_lines(state, first, lambda line: replace(line, weight=50 if line.number == 1 else 100))
    weight = front.apply(heavier)
    known = state.instances[InstanceId(first)]
    ruled = replace(
        heavier,
        instances={**heavier.instances, InstanceId(first): replace(known, rules=_rules(first, "erp", "crm"))},
    )
    rule = front.apply(ruled)
    more = LineSet(key=first, lines=(*ruled.line_sets[first].lines, _line(site, first, 3)))
    line = front.apply(replace(ruled, line_sets={**ruled.line_sets, first: more}))
    for applied in (weight, rule, line):
        assert not applied.reloaded, applied.plan
    began = time.monotonic()
    assert front.status().agrees
    status_seconds = time.monotonic() - began
    new = crowd(site, instances + 1)
    reload = front.apply(new)
    assert reload.reloaded
    began = time.monotonic()
    checked = check_configuration(site.settings.haproxy, site.settings.current / CONFIGURATION)
    assert checked.ok, checked.output
    check_seconds = time.monotonic() - began
    rss, pss = memory(site)
    return Cost(
        fill_seconds=filled.seconds,
        weight_seconds=weight.seconds,
        rule_seconds=rule.seconds,
        line_seconds=line.seconds,
        reload_seconds=reload.seconds,
        check_seconds=check_seconds,
        status_seconds=status_seconds,
        rss_mb=rss,
        pss_mb=pss,
        backends=len(reload.plan.result.backends),
        servers=sum(len(each.servers) for each in reload.plan.result.backends.values()),
    )


def memory(site: FrontSite) -> tuple[float, float]:
    """RSS and PSS of the master and the worker that serves, in MB."""
    processes = site.master.show_proc()
    pids = (processes.master.pid, *(worker.pid for worker in processes.workers))
    rss, pss = (sum(_rollup(pid, name) for pid in pids) / 1024 for name in ("Rss", "Pss"))
    return rss, pss


def _rollup(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name}:"))


def _line(site: FrontSite, key: str, number: int) -> FrontLine:
    return FrontLine(line_id=LineId(f"{key}-{number}"), number=number, address=site.address(number))


def _rules(key: str, *names: str) -> RuleSet:
    return RuleSet(
        rules=tuple(
            Rule(
                name=name,
                match=Match(path_prefix=f"/{name}/"),
                action=ToLines(weights={LineId(f"{key}-1"): 10}, sticky=True),
            )
            for name in names
        )
    )


def _with_lines(state: FrontState, key: str, change: Callable[[FrontLine], FrontLine]) -> FrontState:
    lines = tuple(change(line) for line in state.line_sets[key].lines)
    return replace(state, line_sets={**state.line_sets, key: LineSet(key=key, lines=lines)})
