"""What a HAProxy would have after a plan: steps carried out on a model, and refused as HAProxy refuses them."""

from __future__ import annotations

from dataclasses import replace

from lb.front.model import FrontModel, Trust
from lb.front.plan import Plan
from lb.front.step import (
    AddServer,
    CertificateStep,
    ChangeCertificate,
    ChangeMap,
    RemoveServer,
    ReplaceTrust,
    ServerStep,
    SetWeight,
    Step,
)


def carried_out(model: FrontModel, plan: Plan) -> FrontModel:
    """The model after the plan's steps; contents come from its result."""
    for step in plan.steps:
        model = replace(_after(model, step, plan.result), trust=_trusted(model.trust, step))
    return replace(model, slots=plan.result.slots, groups=plan.result.groups)


def _trusted(before: Trust, step: Step) -> Trust:
    """HAProxy 2.6.12 falls over an exchange of authorities that follows a certificate that follows an exchange."""
    if isinstance(step, ReplaceTrust):
        assert before != "spent", "HAProxy would end"
        return "exchanged"
    return "spent" if isinstance(step, CertificateStep) and before == "exchanged" else before


def _after(model: FrontModel, step: Step, result: FrontModel) -> FrontModel:
    match step:
        case ChangeMap():
            return _with_map(model, step, result)
        case ReplaceTrust(what="authorities"):
            return replace(model, authorities=result.authorities)
        case ReplaceTrust():
            return replace(model, revocation_lists=result.revocation_lists)
        case SetWeight() | AddServer() | RemoveServer():
            return _with_server(model, step)
        case _:
            return _with_certificate(model, step, result)


def _with_server(model: FrontModel, step: ServerStep) -> FrontModel:
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


def _with_map(model: FrontModel, step: ChangeMap, result: FrontModel) -> FrontModel:
    entries, wanted = dict(model.maps[step.map]), result.maps[step.map]
    match step.change:
        case "add":
            assert not entries.keys() & set(step.keys), "HAProxy would have them twice"
            entries |= {key: wanted[key] for key in step.keys}
        case "set":
            assert entries.keys() >= set(step.keys)
            entries |= {key: wanted[key] for key in step.keys}
        case "drop":
            for key in step.keys:
                del entries[key]
        case "replace":
            assert set(step.keys) == wanted.keys()
            entries = dict(wanted)
    return replace(model, maps={**model.maps, step.map: entries})


def _with_certificate(model: FrontModel, step: CertificateStep, result: FrontModel) -> FrontModel:
    certificates, hosts = dict(model.certificates), dict(model.hosts)
    match step:
        case ChangeCertificate(change="drop"):
            assert step.name not in hosts, "HAProxy keeps what a list refers to"
            del certificates[step.name]
        case ChangeCertificate():
            assert (step.change == "add") == (step.name not in certificates)
            certificates[step.name] = result.certificates[step.name]
        case _ if step.host is None:
            del hosts[step.name]
        case _:
            assert step.name in certificates
            assert step.name not in hosts
            hosts[step.name] = step.host
    return replace(model, certificates=certificates, hosts=hosts)
