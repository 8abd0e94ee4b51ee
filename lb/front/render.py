"""From what the front is to be to the files of a release. Pure.

FrontState ─┬─ line sets, rules ──► backends and their groups ─┐
├─ names, hosts, networks ──► maps ────────────────┼─► FrontFiles: texts by path, and the model of them
└─ certificates ──► PEM files, list ───────────────┘
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lb.front.certificate_file import render_certificates
from lb.front.configuration import configuration_lines
from lb.front.counter import CALLS, CONNECTIONS
from lb.front.error import FrontStateUnfit
from lb.front.model import CONTROL, Backend, FrontFiles, FrontModel, Server, digest_of
from lb.front.problem import FRONT_PROBLEMS
from lb.front.route_table import build_maps
from lb.front.safe_text import IDENTIFIER, configuration_text, map_text, require
from lb.front.settings import FrontSettings, line_address
from lb.front.state import FrontState, LineSet
from lb.rule.compile import CompiledRules, Group, RuledInstance, compile_rules
from lb.rule.errors import RuleInvalid
from lb.share import small_shares

_WEIGHT_MAX: Final = 256
_GROUPS_MAX: Final = 200
"""Of a line set: three times as many as an instance has rules."""
_SERVER: Final = re.compile(r"  server l[0-9]+ ")
_NAMES_TAKEN: Final = frozenset(
    {CONTROL, CALLS, CONNECTIONS, "sticky", "no_lines", "front", "health", "redirect", "pair"}
)


def render(
    state: FrontState, settings: FrontSettings, *, former: FrontModel | None = None, anew: bool = False
) -> FrontFiles:
    """Render a front.

    Args:
        state: what it is to be.
        settings: how this load balancer is set up.
        former: what is in force; rules keep their group backends, and line sets as many as they have.
        anew: HAProxy is going to read everything again: every set may have the group backends that suit it best.

    Raises:
        FrontStateUnfit: a value has a form that must not get into a file.
    """
    rules = _compile(state, {} if former is None else former.groups)
    slots = _slots(state, rules, settings.spare_groups, {} if former is None else former.slots, anew=anew)
    backends = _backends(state, rules.groups, slots)
    maps = {**build_maps(state, backends), **{name: dict(entries) for name, entries in rules.maps.items()}}
    certificates = render_certificates(state, settings, former)
    ordered = [backends[name] for name in sorted(backends)]
    text = configuration_text(configuration_lines(settings, ordered))
    files = {
        **{f"maps/{name}": map_text(name, entries) for name, entries in maps.items()},
        **{f"problems/{problem.file_name}": problem.body for problem in FRONT_PROBLEMS.values()},
        **certificates.files,
    }
    model = FrontModel(
        text=digest_of(_fixed_text(text, files)),
        backends=backends,
        maps=maps,
        certificates=certificates.certificates,
        hosts=certificates.hosts,
        authorities=certificates.authorities,
        revocation_lists=certificates.revocation_lists,
        slots=slots,
        groups=rules.numbers,
    )
    return FrontFiles(model=model, configuration=text, files=files)


def _fixed_text(configuration: str, files: Mapping[str, str]) -> str:
    """What a running HAProxy cannot be told: all but servers. The answers' texts are read once, too."""
    lines = [line for line in configuration.splitlines() if not _SERVER.match(line)]
    return "\n".join([*lines, *(files[name] for name in sorted(files) if name.startswith("problems/"))])


def _compile(state: FrontState, numbers: Mapping[str, Mapping[str, int]]) -> CompiledRules:
    ruled = [
        RuledInstance(
            instance_id=each.instance_id,
            line_set=each.line_set,
            lines={
                line.line_id: line.number for line in state.line_sets[each.line_set].lines if line.weight > 0
            },
            rules=each.rules,
            client_certificates=each.client_certificates,
        )
        for each in state.instances.values()
        if each.rules.rules and each.line_set in state.line_sets
    ]
    try:
        return compile_rules(ruled, numbers=numbers)
    except RuleInvalid as error:
        raise FrontStateUnfit(error.message, field="rules") from error


def _slots(
    state: FrontState, rules: CompiledRules, spare: int, former: Mapping[str, int], *, anew: bool
) -> dict[str, int]:
    """How many group backends each set gets: those there are as long as they suffice."""
    most: dict[str, int] = {}
    for group in rules.groups:
        most[group.line_set] = max(group.number, most.get(group.line_set, 0))
    found = {}
    for key, line_set in state.line_sets.items():
        needed, has = most.get(key, 0), former.get(key)
        wanted = needed + spare if len(line_set.lines) > 1 else needed
        found[key] = has if has is not None and has >= needed and not anew else wanted
        if found[key] > _GROUPS_MAX:
            raise FrontStateUnfit("The rules of a line set need too many group backends.", field="rules")
    return found


def _backends(state: FrontState, groups: Iterable[Group], slots: Mapping[str, int]) -> dict[str, Backend]:
    weights = {group.backend: group.weights for group in groups}
    found = {CONTROL: _control(state.control)}
    for key, line_set in state.line_sets.items():
        if require("line_set", key, IDENTIFIER) != line_set.key or key in _NAMES_TAKEN:
            raise FrontStateUnfit("A line set has another key than its own.", field="line_set")
        servers = _servers(line_set, followed=slots[key] > 0)
        found[key] = Backend(name=key, kind="lines", line_set=key, servers=servers)
        for number in range(1, slots[key] + 1):
            name = f"{key}_g{number}"
            found[name] = _group(name, servers, weights.get(name, {}), key)
    return found


def _control(address: str | None) -> Backend:
    servers = {} if address is None else {1: Server(number=1, address=line_address(address), weight=100)}
    return Backend(name=CONTROL, kind="control", line_set=CONTROL, servers=servers)


def _servers(line_set: LineSet, *, followed: bool) -> dict[int, Server]:
    found: dict[int, Server] = {}
    shares = small_shares({line.number: line.weight for line in line_set.lines if line.weight > 0})
    for line in line_set.lines:
        if not 0 <= line.weight <= _WEIGHT_MAX or line.number < 1 or line.number in found:
            raise FrontStateUnfit("A line's weight or number is out of range.", field="line")
        weight = shares.get(line.number, 0) if line.in_service else 0
        found[line.number] = Server(
            number=line.number, address=line_address(line.address), weight=weight, followed=followed
        )
    return found


def _group(name: str, servers: Mapping[int, Server], weights: Mapping[int, int], key: str) -> Backend:
    members = {
        number: Server(
            number=number, address=server.address, weight=weights.get(number, 0) if server.weight > 0 else 0
        )
        for number, server in servers.items()
    }
    return Backend(name=name, kind="group", line_set=key, servers=members)
