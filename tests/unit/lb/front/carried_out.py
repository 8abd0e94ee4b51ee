"""What a HAProxy would have after a plan: steps carried out on a model, and refused as HAProxy refuses them."""

from __future__ import annotations

from dataclasses import replace

from lb.front.model import FrontModel, Trust
from lb.front.plan import Plan
from lb.front.step import (
    AddEntries,
    AddServer,
    DropCertificate,
    DropEntries,
    ListHost,
    PutAuthorities,
    PutCertificate,
    PutRevocationLists,
    RemoveServer,
    ReplaceMap,
    SetEntry,
    SetWeight,
    Step,
    UnlistHost,
)


def carried_out(model: FrontModel, plan: Plan) -> FrontModel:
    """The model after the plan's steps; contents come from its result."""
    for step in plan.steps:
        model = replace(_after(model, step, plan.result), trust=_trusted(model.trust, step))
    return replace(model, slots=plan.result.slots, groups=plan.result.groups)


def _trusted(before: Trust, step: Step) -> Trust:
    """HAProxy 2.6.12 falls over an exchange of authorities that follows a certificate that follows an exchange."""
    if isinstance(step, PutAuthorities | PutRevocationLists):
        assert before != "spent", "HAProxy would end"
        return "exchanged"
    touched = isinstance(step, PutCertificate | DropCertificate | ListHost | UnlistHost)
    return "spent" if touched and before == "exchanged" else before


def _after(model: FrontModel, step: Step, result: FrontModel) -> FrontModel:
    match step:
        case SetWeight() | AddServer() | RemoveServer():
            return _with_server(model, step)
        case AddEntries() | SetEntry() | DropEntries() | ReplaceMap():
            return _with_map(model, step, result)
        case _:
            return _with_certificate(model, step, result)


def _with_server(model: FrontModel, step: SetWeight | AddServer | RemoveServer) -> FrontModel:
    backend = model.backends[step.backend]
    servers = dict(backend.servers)
    match step:
        case AddServer():
            assert step.server.number not in servers
            servers[step.server.number] = step.server
        case SetWeight():
            number = int(step.server[1:])
            servers[number] = replace(servers[number], weight=step.weight)
        case RemoveServer():
            assert not servers.pop(int(step.server[1:])).followed
    return replace(model, backends={**model.backends, step.backend: replace(backend, servers=servers)})


def _with_map(
    model: FrontModel, step: AddEntries | SetEntry | DropEntries | ReplaceMap, result: FrontModel
) -> FrontModel:
    entries, wanted = dict(model.maps[step.map]), result.maps[step.map]
    match step:
        case AddEntries():
            assert not entries.keys() & set(step.keys), "HAProxy would have them twice"
            entries |= {key: wanted[key] for key in step.keys}
        case SetEntry():
            assert step.key in entries
            entries[step.key] = wanted[step.key]
        case DropEntries():
            for key in step.keys:
                del entries[key]
        case ReplaceMap():
            assert step.entries == len(wanted)
            entries = dict(wanted)
    return replace(model, maps={**model.maps, step.map: entries})


def _with_certificate(model: FrontModel, step: Step, result: FrontModel) -> FrontModel:
    certificates, hosts = dict(model.certificates), dict(model.hosts)
    match step:
        case PutCertificate():
            assert step.is_new == (step.name not in certificates)
            certificates[step.name] = result.certificates[step.name]
        case DropCertificate():
            assert step.name not in hosts, "HAProxy keeps what a list refers to"
            del certificates[step.name]
        case ListHost():
            assert step.name in certificates
            assert step.name not in hosts
            hosts[step.name] = step.host
        case UnlistHost():
            del hosts[step.name]
        case PutAuthorities():
            return replace(model, authorities=result.authorities)
        case PutRevocationLists():
            return replace(model, revocation_lists=result.revocation_lists)
    return replace(model, certificates=certificates, hosts=hosts)
