"""What `decide` says of a request, HAProxy does: thousands of random rule sets and requests, hostile bytes included."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.ids import InstanceId
from lb.routing import Line
from lb.rule.compile import CompiledRules, Group, compile_rules, fragment
from lb.rule.decide import LineChosen, Refused, RequestFacts, RuleDecision, choose, decide
from lb.rule.errors import RuleLinesNotReady, RuleMaintenance
from lb.rule.rule import ToLines
from tests.integration.lb.rule.crowd import ADDRESSES, Address, Neighbour, make_neighbour, make_request
from tests.integration.lb.rule.raw_client import RawConnection, RawHttp2Connection, RawRequest
from tests.service.haproxy import ServedHaproxy, running_haproxy

_SEED = 5
_NEIGHBOURS = 1000
_REQUESTS = 18_000
_KINDS = ("group", "stuck", "otherwise", "no rule", "paused", "refused")
_SAID = "said=%[var(txn.be)]|%[var(txn.rule)]|%[var(txn.client),hex]"

_CONFIGURATION = """\
global
  maxconn 500
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 1s
frontend front
  bind unix@{{dir}}/one.sock accept-proxy
  bind unix@{{dir}}/two.sock accept-proxy proto h2
  http-request set-var(txn.i) path,field(2,/),map_str({maps}/instance.map)
  http-request set-var(txn.be) var(txn.i),map_str({maps}/backend.map)
  http-request set-var(txn.fp) req.hdr(x-test-print)
{fragment}
  http-request return {said}
"""


@dataclass(kw_only=True)
class Street:
    """Many instances behind one HAProxy, which says what it would do."""

    haproxy: ServedHaproxy
    neighbours: Sequence[Neighbour]
    backends: dict[tuple[InstanceId, str], str]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    chance = random.Random(_SEED)
    neighbours = [make_neighbour(chance, number) for number in range(_NEIGHBOURS)]
    compiled = compile_rules(each.instance for each in neighbours)
    maps = tmp_path_factory.mktemp("maps")
    _write_maps(maps, neighbours, compiled)
    answers = {
        "maintenance": _answer(503, "paused=%[var(txn.retry)]|%[var(txn.rule)]"),
        "refused": _answer(503, "refused=%[var(txn.rule)]"),
    }
    front = _CONFIGURATION.format(
        maps=maps,
        said=_answer(200, _SAID),
        fragment="\n".join(f"  {line}" for line in fragment(str(maps), **answers)),
    )
    backends = {(group.instance_id, group.rule): group.backend for group in compiled.groups}
    with running_haproxy(front + "\n".join(_group_lines(neighbours, compiled.groups)) + "\n") as haproxy:
        yield Street(haproxy=haproxy, neighbours=neighbours, backends=backends)


def _answer(status: int, text: str) -> str:
    return f"status {status} content-type text/plain hdr x-said {text} lf-string {text}"


def _write_maps(folder: Path, neighbours: Sequence[Neighbour], compiled: CompiledRules) -> None:
    instances = {each.name: each.instance.instance_id for each in neighbours}
    backends = {each.instance.instance_id: each.instance.line_set for each in neighbours}
    maps: dict[str, Mapping[str, str]] = {
        "instance.map": {name: str(each) for name, each in instances.items()},
        "backend.map": {str(each): line_set for each, line_set in backends.items()},
        **compiled.maps,
    }
    for name, entries in maps.items():
        (folder / name).write_text("".join(f"{key} {value}\n" for key, value in entries.items()))


def _group_lines(neighbours: Sequence[Neighbour], groups: Sequence[Group]) -> Iterator[str]:
    ready = {
        each.instance.line_set: {each.instance.lines[line_id] for line_id in each.ready}
        for each in neighbours
    }
    for group in groups:
        yield f"backend {group.backend}"
        for number, weight in group.weights.items():
            down = "" if number in ready[group.line_set] else " disabled"
            yield f"  server l{number} 127.0.0.1:9 id {number} weight {weight}{down}"


def _expected(street: Street, neighbour: Neighbour, request: RawRequest, source: Address | None) -> str:
    prints = [value.decode() for name, value in request.headers if name == b"X-Test-Print"]
    facts = RequestFacts.of(
        request.method,
        request.path,
        headers=request.headers,
        source=source,
        fingerprint=next(iter(prints), None),
    )
    instance = neighbour.instance
    decision = decide(instance.rules, facts, instance.client_certificates)
    lines = [Line(line_id=each, weight=100, ready=each in neighbour.ready) for each in instance.lines]
    choice = choose(decision, lines, request_key="key")
    if isinstance(choice, Refused) and isinstance(choice.error, RuleMaintenance):
        return f"paused={choice.error.retry_after_seconds}|{decision.rule}"
    if isinstance(choice, Refused) and isinstance(choice.error, RuleLinesNotReady):
        return f"refused={decision.rule}"
    backend = instance.line_set
    if isinstance(choice, LineChosen) and choice.by == "rule":
        backend = street.backends[instance.instance_id, decision.rule or ""]
    return f"said={backend}|{decision.rule or ''}|{_stick_key(decision)}"


def _stick_key(decision: RuleDecision) -> str:
    if not isinstance(decision.action, ToLines) or not decision.action.sticky or decision.client is None:
        return ""
    return f"{decision.rule}|{decision.client}".encode("latin-1").hex().upper()


Connection = RawConnection | RawHttp2Connection


def _compare(
    street: Street, chance: random.Random, count: int, connect: Callable[[Address | None], Connection]
) -> Counter[str]:
    """Ask as many questions as told, some on each connection; returns how often each kind of answer came."""
    answers: Counter[str] = Counter()
    while answers.total() < count:
        source = chance.choice((*ADDRESSES, None))
        with connect(source) as connection:
            for _ in range(30):
                neighbour = chance.choice(street.neighbours)
                request = make_request(chance, neighbour)
                if request.method == "HEAD" and isinstance(connection, RawHttp2Connection):
                    # Its answer would be in compressed headers alone.
                    continue
                answer = connection.ask(request)
                if answer.status == 400:
                    answers["not understood"] += 1
                else:
                    said = answer.text or answer.headers[b"x-said"].decode()
                    assert said == _expected(street, neighbour, request, source), (request, source, neighbour)
                    answers[_kind(said)] += 1
                if not connection.open:
                    break
    return answers


def _kind(said: str) -> str:
    kind, _, rest = said.partition("=")
    if kind == "said":
        backend, rule, client = rest.split("|")
        if "_g" in backend:
            return "stuck" if client else "group"
        return "otherwise" if rule else "no rule"
    return kind


def test_haproxy_goes_where_decide_says(street: Street) -> None:
    answers = _compare(
        street,
        random.Random(_SEED),
        _REQUESTS,
        lambda source: RawConnection(street.haproxy.directory / "one.sock", source),
    )
    # Every way out is met often, or the comparison would say little.
    assert min(answers[kind] for kind in _KINDS) > 100, answers


def test_haproxy_goes_where_decide_says_over_http2(street: Street) -> None:
    answers = _compare(
        street,
        random.Random(_SEED + 1),
        _REQUESTS // 3,
        lambda source: RawHttp2Connection(street.haproxy.directory / "two.sock", source),
    )
    assert min(answers[kind] for kind in _KINDS) > 30, answers
