"""Rules on a front as it is rendered, with real lines behind it: who serves, how often, and for how long."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

import pytest

from app.core.ids import LineId
from lb.front.settings import FrontPeer
from lb.front.state import FrontHost, FrontInstance, FrontLine, FrontState, LineSet
from lb.haproxy_stats import RuntimeSocket
from lb.routing import Line
from lb.rule.decide import LineChosen, Refused, RequestFacts, choose, decide
from lb.rule.errors import RuleMaintenance
from lb.rule.rule import Match, Otherwise, Rule, RuleSet, ToLines
from tests.integration.lb.rule.crowd import Address, Neighbour, make_neighbour, make_request
from tests.integration.lb.rule.raw_client import RawAnswer, RawConnection, RawRequest
from tests.service.front_site import ACME, Answer, FrontSite, free_ports, running_front
from tests.service.haproxy import running_haproxy
from tests.service.pki import issue
from tests.service.wait import wait_until

_OTHER_BALANCER = """\
global
  localpeer lb2
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 1s
peers pair
  peer lb1 {first}
  peer lb2 {second}
backend sticky
  stick-table type string len 200 size 100000 expire 8h peers pair
backend lines
  # A table keeps servers only if somebody sticks to them by it.
  stick on path table sticky
"""
_TOLERANCE = 0.05
"""Of a share: HAProxy goes round a ring with 16 places for each unit of weight, in the order of their hashes."""
_SEED = 6
_NEIGHBOURS = 30
_REQUESTS = 2500
_FROM = tuple(ip_address(text) for text in ("127.0.0.1", "127.10.0.1", "127.200.3.4"))
ONE, TWO, THREE = (LineId(f"acme-{number}") for number in (1, 2, 3))


@pytest.fixture(scope="module")
def site() -> Iterator[FrontSite]:
    with running_front() as running:
        for number in (1, 2, 3, 4):
            running.start_line(number)
        yield running


def rules(
    weights: Mapping[LineId, int],
    *,
    match: Match | None = None,
    sticky: bool = False,
    otherwise: Otherwise = "any_line",
) -> RuleSet:
    action = ToLines(weights=weights, sticky=sticky, otherwise=otherwise)
    return RuleSet(rules=(Rule(name="only", match=match or Match(), action=action),))


def acme(site: FrontSite, known: RuleSet, *, numbers: Sequence[int] = (1, 2, 3), **values: Any) -> FrontState:
    return site.state(*(site.line(number) for number in numbers), instance={"rules": known, **values})


def served_by(answer: RawAnswer) -> str:
    assert answer.status == 200, answer
    return answer.headers[b"x-answered-by"].decode()


def ask(site: FrontSite, count: int, *headers: tuple[bytes, bytes]) -> Counter[str]:
    """By whom requests are served."""
    with RawConnection(site.plain) as connection:
        request = RawRequest(method="GET", path=b"/acme/x", headers=headers)
        return Counter(served_by(connection.ask(request)) for _ in range(count))


def lines_of(asked: Callable[[], Answer], expected: set[str]) -> set[str]:
    """By whom six requests are served, and more until all who are expected have had one: lots are drawn."""
    found = {asked().headers["x-answered-by"] for _ in range(6)}
    for _ in range(60):
        if found >= expected:
            break
        found.add(asked().headers["x-answered-by"])
    return found


def basic(client: str) -> tuple[bytes, bytes]:
    return b"Authorization", b"Basic " + base64.b64encode(f"acme.{client}:secret".encode())


def _town(site: FrontSite, neighbours: Sequence[Neighbour]) -> FrontState:
    return FrontState(
        line_sets={
            each.instance.line_set: LineSet(
                key=each.instance.line_set,
                lines=tuple(
                    FrontLine(
                        line_id=line_id,
                        number=number,
                        address=site.address(number),
                        in_service=line_id in each.ready,
                    )
                    for line_id, number in each.instance.lines.items()
                ),
            )
            for each in neighbours
        },
        instances={
            each.instance.instance_id: FrontInstance(
                instance_id=each.instance.instance_id,
                name=each.name,
                line_set=each.instance.line_set,
                rules=each.instance.rules,
                client_certificates=each.instance.client_certificates,
            )
            for each in neighbours
        },
        default_pem=site.pem,
    )


def _check(neighbour: Neighbour, request: RawRequest, source: Address, answer: RawAnswer) -> str:
    facts = RequestFacts.of(request.method, request.path, headers=request.headers, source=source)
    instance = neighbour.instance
    decision = decide(instance.rules, facts, instance.client_certificates)
    lines = [Line(line_id=each, ready=each in neighbour.ready) for each in instance.lines]
    choice = choose(decision, lines, request_key="key")
    context = (request, source, neighbour, answer)
    if isinstance(choice, LineChosen):
        allowed = {f"l{instance.lines[each.line_id]}" for each in choice.candidates}
        assert served_by(answer) in allowed, context
        return choice.by
    assert isinstance(choice, Refused)
    assert answer.status == 503, context
    if request.method != "HEAD":
        assert json.loads(answer.text)["code"] == choice.error.code, context
    if isinstance(choice.error, RuleMaintenance):
        assert answer.headers[b"retry-after"] == str(choice.error.retry_after_seconds).encode(), context
    return choice.error.code


def test_front_serves_as_decide_says(site: FrontSite) -> None:
    chance = random.Random(_SEED)
    neighbours = [make_neighbour(chance, number) for number in range(_NEIGHBOURS)]
    site.front.apply(_town(site, neighbours))
    seen: Counter[str] = Counter()
    while seen.total() < _REQUESTS:
        source = chance.choice(_FROM)
        with RawConnection(site.plain, source) as connection:
            for _ in range(30):
                neighbour = chance.choice(neighbours)
                request = make_request(chance, neighbour)
                answer = connection.ask(request)
                if answer.status == 400:
                    seen["not understood"] += 1
                    break
                seen[_check(neighbour, request, source, answer)] += 1
    kinds = ("rule", "otherwise", "no_rule", "rule_maintenance", "rule_lines_not_ready", "no_line_ready")
    assert min(seen[kind] for kind in kinds) > 15, seen


def test_lines_of_a_rule_share_by_its_weights(site: FrontSite) -> None:
    site.front.apply(acme(site, rules({ONE: 30, TWO: 90})))
    shares = ask(site, 1000)
    assert shares.keys() == {"l1", "l2"}
    assert shares["l2"] / 1000 == pytest.approx(0.75, abs=_TOLERANCE)


def test_weights_of_a_rule_change_without_reload(site: FrontSite) -> None:
    front = site.front
    front.apply(acme(site, rules({ONE: 1, TWO: 1})))
    worker = site.runtime.show_info().pid
    assert not front.apply(acme(site, rules({ONE: 20, THREE: 60}))).reloaded
    shares = ask(site, 1000)
    assert shares.keys() == {"l1", "l3"}
    assert shares["l3"] / 1000 == pytest.approx(0.75, abs=_TOLERANCE)
    assert site.runtime.show_info().pid == worker


def _homes(site: FrontSite, count: int = 3) -> dict[str, str]:
    """By client, the one line that serves it."""
    found = {}
    for number in range(24):
        (found[f"c{number}"],) = ask(site, count, basic(f"c{number}"))
    return found


def test_sticky_client_stays_whatever_becomes_of_weights_and_other_rules(site: FrontSite) -> None:
    front = site.front
    front.apply(acme(site, rules({ONE: 50, TWO: 50}, sticky=True)))
    homes = _homes(site)
    assert set(homes.values()) == {"l1", "l2"}
    front.apply(acme(site, rules({ONE: 1, TWO: 200}, sticky=True)))
    assert _homes(site) == homes
    other = Rule(name="other", match=Match(path_prefix="/y/"), action=ToLines(weights={THREE: 1}))
    sticky = rules({ONE: 1, TWO: 200}, sticky=True).rules
    front.apply(acme(site, RuleSet(rules=(other, *sticky))))
    assert _homes(site) == homes


def test_sticky_client_stays_over_a_reload_because_the_other_balancer_knows() -> None:
    first, second = (
        FrontPeer(name=f"lb{each}", address=f"127.0.0.1:{port}") for each, port in enumerate(free_ports(2), 1)
    )
    other = _OTHER_BALANCER.format(first=first.address, second=second.address)
    with running_haproxy(other) as knowing, running_front(peers=(first, second)) as site:
        site.start_line(1)
        site.start_line(2)
        site.front.apply(acme(site, rules({ONE: 50, TWO: 50}, sticky=True), numbers=(1, 2)))
        homes = _homes(site)
        # With these weights alone nearly everybody would go to line 2.
        site.front.apply(acme(site, rules({ONE: 1, TWO: 200}, sticky=True), numbers=(1, 2)))
        wait_until(lambda: _sticking(knowing.runtime) == len(homes), "the other balancer to know")
        site.master.reload()
        wait_until(lambda: _sticking(site.runtime) == len(homes), "the new worker to know")
        assert Counter(homes.values())["l1"] > 5
        assert _homes(site) == homes


def _sticking(runtime: RuntimeSocket) -> int:
    return sum(table.used for table in runtime.show_tables() if table.name == "sticky")


def test_sticky_client_moves_when_its_line_leaves_the_rule(site: FrontSite) -> None:
    front = site.front
    front.apply(acme(site, rules({ONE: 50, TWO: 50}, sticky=True)))
    homes = _homes(site)
    front.apply(acme(site, rules({TWO: 50, THREE: 50}, sticky=True)))
    moved = _homes(site)
    assert set(moved.values()) == {"l2", "l3"}
    assert all(moved[client] == "l2" for client, home in homes.items() if home == "l2")


def test_nobody_sticks_without_credentials(site: FrontSite) -> None:
    site.front.apply(acme(site, rules({ONE: 50, TWO: 50}, sticky=True)))
    assert ask(site, 200)["l1"] / 200 == pytest.approx(0.5, abs=_TOLERANCE)


@pytest.mark.parametrize("otherwise", ["any_line", "refuse"])
def test_rule_whose_line_is_gone_takes_another_one_or_none(site: FrontSite, otherwise: Otherwise) -> None:
    site.front.apply(acme(site, rules({THREE: 1}, otherwise=otherwise)))
    wait_until(lambda: _status(site) == (200, "l3"), "line 3 to serve")
    site.kill_line(3)
    try:
        if otherwise == "any_line":
            wait_until(lambda: _status(site) in {(200, "l1"), (200, "l2")}, "another line to serve")
            assert ask(site, 20).keys() == {"l1", "l2"}
        else:
            wait_until(lambda: _status(site) == (503, "rule_lines_not_ready"), "the rule to refuse")
    finally:
        site.start_line(3)
    wait_until(lambda: _status(site) == (200, "l3"), "line 3 to serve again")


def _status(site: FrontSite) -> tuple[int, str]:
    answer = site.get_plain("/acme/x")
    said = json.loads(answer.text)
    return answer.status, said["line"] if answer.status == 200 else said["code"]


def test_client_is_known_by_the_certificate_whose_key_it_holds(site: FrontSite) -> None:
    mine, other = issue("CN=erp"), issue("CN=crm")
    known = rules({TWO: 1}, match=Match(clients=frozenset({"acme.erp"})))
    certificates = {"acme.erp": (mine.fingerprint,), "acme.crm": (other.fingerprint,)}
    site.front.apply(acme(site, known, numbers=(1, 2), client_certificates=certificates))
    for issued, served in ((mine, {"l2"}), (other, {"l1", "l2"}), (None, {"l1", "l2"})):
        options: list[str] = []
        if issued is not None:
            path = site.home / "client.pem"
            path.write_text(issued.pem + issued.key_pem)
            options = ["--cert", str(path)]
        assert lines_of(partial(site.get, "/acme/x", *options), served) == served


def test_path_of_a_rule_is_below_the_instance_on_its_own_host_too(site: FrontSite) -> None:
    host = "acme.example"
    known = FrontHost(host_id="hst_1", host=host, instance_id=ACME, pem=site.pem_for(host))
    state = acme(site, rules({TWO: 1}, match=Match(path_prefix="/erp/")), numbers=(1, 2))
    site.front.apply(replace(state, hosts={host: known}))
    for path, served in (
        ("/erp/x", {"l2"}),
        ("/acme/erp/x", {"l2"}),
        ("/erp", {"l1", "l2"}),
        ("/acme/erp", {"l1", "l2"}),
        ("/acme/acme/erp/x", {"l1", "l2"}),
    ):
        asked = partial(site.curl, "--connect-to", f"::{site.tls}", f"https://{host}{path}")
        assert lines_of(asked, served) == served, path
