"""From what a front is to what it is to be: steps while it runs, or a reload and why. Pure.

Steps are in an order in which every request between two of them finds its way: what is new comes first, then what leads
to it, then what led to the old, then the old goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from lb.front.model import Backend, FrontModel, Server, Trust
from lb.front.route_table import (
    BACKEND,
    DENIED,
    EDGE,
    EDGE_INSTANCE,
    EDGE_NETWORK,
    HOST_NAME,
    INSTANCE,
    STICKY,
)
from lb.front.step import (
    AddServer,
    CertificateStep,
    ChangeCertificate,
    ChangeMap,
    RemoveServer,
    ReplaceTrust,
    ServeHost,
    SetWeight,
    Step,
)

_MAP_ORDER: Final = (
    *DENIED.values(),
    *(EDGE, *EDGE_NETWORK.values(), EDGE_INSTANCE),
    BACKEND,
    *("rule_mask.map", "rule_text.map", "rule.map"),
    STICKY,
    *(INSTANCE, HOST_NAME),
)
"""What a map leads to stands before it."""
_SINGLE_MOST: Final = 200
"""Entries that are set one by one, some 0.3 ms each on 2.6.12; for more the whole map is filled anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        steps: in order; none if `reload` says why everything is to be read again.
        result: what the front is afterwards.
    """

    steps: tuple[Step, ...]
    reload: str | None
    result: FrontModel

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps and self.reload is None

    def __str__(self) -> str:
        if self.reload is not None:
            return f"reload: {self.reload}"
        return "\n".join(str(step) for step in self.steps) or "nothing to do"


def make_plan(applied: FrontModel | None, desired: FrontModel) -> Plan:
    """Plan the way from one to the other.

    Args:
        applied: what a running HAProxy has; None: nobody knows.
    """
    reason = "what runs is not known" if applied is None else _reason(applied, desired)
    if applied is None or reason is not None:
        return Plan(steps=(), reload=reason, result=desired)
    result = _carry(applied, desired)
    steps = tuple(_steps(applied, result))
    return Plan(steps=steps, reload=None, result=replace(result, trust=_trust(applied.trust, steps)))


def _reason(applied: FrontModel, desired: FrontModel) -> str | None:
    """Why a reload is needed, if it is."""
    if applied.backends.keys() != desired.backends.keys():
        return _changed_backends(applied.backends.keys(), desired.backends.keys())
    if applied.text != desired.text:
        return "settings, or the program, have changed"
    if applied.trust == "spent" and _differ_in_trust(applied, desired):
        return "authorities or revocation lists change again after a certificate, which this worker would not survive"
    for name, backend in desired.backends.items():
        before = applied.backends[name].servers
        if name == backend.line_set and (reason := _server_reason(backend, before)) is not None:
            return reason
    return None


def _changed_backends(before: Iterable[str], after: Iterable[str]) -> str:
    came, went = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    parts = [f"{word} {_some(names)}" for word, names in (("new:", came), ("gone:", went)) if names]
    return f"backends change ({'; '.join(parts)})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _server_reason(backend: Backend, before: Mapping[int, Server]) -> str | None:
    for number, server in before.items():
        wanted = backend.servers.get(number)
        if wanted is None and server.followed:
            return f"{backend.name}/{server.name} goes, and group backends follow it"
        if wanted is not None and wanted.address != server.address:
            return f"{backend.name}/{server.name} has another address"
    return None


def _carry(applied: FrontModel, desired: FrontModel) -> FrontModel:
    """The desired model as it is when nothing is read again: a line that comes now is followed by nobody."""
    backends = {}
    for name, backend in desired.backends.items():
        before = applied.backends[name].servers
        changed = {
            number: replace(server, followed=not server.followed)
            for number, server in backend.servers.items()
            if server.followed != (number in before and before[number].followed)
        }
        backends[name] = replace(backend, servers={**backend.servers, **changed}) if changed else backend
    return replace(desired, backends=backends)


def _steps(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    # No exchange may follow a certificate that follows one: the first comes after all certificates, others before.
    if applied.trust == "exchanged":
        yield from _trust_changes(applied, desired)
    yield from _certificates_come(applied, desired)
    yield from _servers_come(applied, desired)
    yield from _maps_change(applied, desired)
    yield from _servers_go(applied, desired)
    yield from _certificates_go(applied, desired)
    if applied.trust == "as read":
        yield from _trust_changes(applied, desired)


def _differ_in_trust(one: FrontModel, other: FrontModel) -> bool:
    return (one.authorities, one.revocation_lists) != (other.authorities, other.revocation_lists)


def _trust(before: Trust, steps: Iterable[Step]) -> Trust:
    """What a worker's certificates have been through after the steps."""
    trust = before
    for step in steps:
        if isinstance(step, ReplaceTrust):
            trust = "exchanged"
        elif trust == "exchanged" and isinstance(step, CertificateStep):
            trust = "spent"
    return trust


def _trust_changes(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    if applied.authorities != desired.authorities:
        yield ReplaceTrust(what="authorities")
    if applied.revocation_lists != desired.revocation_lists:
        yield ReplaceTrust(what="revocation lists")


def _certificates_come(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    for name in sorted(desired.certificates):
        if applied.certificates.get(name) != desired.certificates[name]:
            yield ChangeCertificate(name=name, change="renew" if name in applied.certificates else "add")
    for name in sorted(desired.hosts):
        if applied.hosts.get(name) != desired.hosts[name]:
            if name in applied.hosts:
                yield ServeHost(name=name, host=None)
            yield ServeHost(name=name, host=desired.hosts[name])


def _certificates_go(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    yield from (
        ServeHost(name=name, host=None) for name in sorted(applied.hosts.keys() - desired.hosts.keys())
    )
    gone = applied.certificates.keys() - desired.certificates.keys()
    yield from (ChangeCertificate(name=name, change="drop") for name in sorted(gone))


def _servers_come(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    """New lines, and those that get more; the sets themselves before their groups."""
    for backend in _ordered(desired):
        before = applied.backends[backend.name].servers
        for number in sorted(backend.servers):
            server = backend.servers[number]
            if number not in before:
                yield AddServer(backend=backend.name, server=server)
            elif server.weight > before[number].weight:
                is_back = before[number].weight < 0
                yield SetWeight(
                    backend=backend.name, server=server.name, weight=server.weight, is_back=is_back
                )


def _servers_go(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    """Lines that get less, and those that go; groups before their sets."""
    for backend in reversed(_ordered(desired)):
        before = applied.backends[backend.name].servers
        for number in sorted(before):
            wanted = backend.servers.get(number)
            if wanted is not None and wanted.weight < before[number].weight:
                yield SetWeight(backend=backend.name, server=wanted.name, weight=wanted.weight)
    for backend in reversed(_ordered(desired)):
        before = applied.backends[backend.name].servers
        for number in sorted(before.keys() - backend.servers.keys()):
            yield RemoveServer(backend=backend.name, server=before[number].name)


def _ordered(model: FrontModel) -> list[Backend]:
    return sorted(model.backends.values(), key=lambda each: (each.kind == "group", each.name))


def _maps_change(applied: FrontModel, desired: FrontModel) -> Iterator[Step]:
    names = [*_MAP_ORDER, *sorted(desired.maps.keys() - set(_MAP_ORDER))]
    for name in names:
        yield from _map_grows(name, applied.maps.get(name, {}), desired.maps.get(name, {}))
    for name in reversed(names):
        yield from _map_shrinks(name, applied.maps.get(name, {}), desired.maps.get(name, {}))


def _map_grows(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Step]:
    new = tuple(sorted(after.keys() - before.keys()))
    changed = tuple(sorted(key for key in after.keys() & before.keys() if after[key] != before[key]))
    if len(changed) > _SINGLE_MOST:
        yield ChangeMap(map=name, change="replace", keys=tuple(sorted(after)))
        return
    if new:
        yield ChangeMap(map=name, change="add", keys=new)
    if changed:
        yield ChangeMap(map=name, change="set", keys=changed)


def _map_shrinks(name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Step]:
    """What goes, unless the map was filled anew: HAProxy fills it anew for that, too, all at the same moment."""
    gone = tuple(sorted(before.keys() - after.keys()))
    changed = sum(after[key] != before[key] for key in after.keys() & before.keys())
    if gone and changed <= _SINGLE_MOST:
        yield ChangeMap(map=name, change="drop", keys=gone)
