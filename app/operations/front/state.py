"""From everything that is known to what the front is to be. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from app.core.ids import InstanceId, LineId
from lb.front.state import FrontHost, FrontInstance, FrontLine, FrontState, LineSet
from lb.rule.rule import NO_RULES, RuleSet
from tenancy.access.policy import Network
from tenancy.front.access_view import FrontAccess, KeptList, PinnedAuthority
from tenancy.front.host import ServedHost
from tenancy.line.record import ServedInstance

_LONGEST_LIST: Final = 64 * 1024
"""Characters of PEM, some 1,500 certificates; HAProxy reads all lists again when one changes. Our own decision."""
_MOST_OF_ALL_LISTS: Final = 4 * 1024 * 1024
"""Characters of all of them together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSources:
    """What the front is made of.

    Attributes:
        address_of: where a line is reached, `unix@/path` or `host:port`.
        access: by instance; one whose database has not answered yet is missing.
        control: where control is reached.
        default_pem: certificate, chain and key for whoever names no host that is known.
        served: the instances, with their lines.
    """

    served: tuple[ServedInstance, ...]
    address_of: Callable[[LineId], str]
    rules: Mapping[InstanceId, RuleSet]
    access: Mapping[InstanceId, FrontAccess]
    hosts: tuple[ServedHost, ...]
    denied: tuple[Network, ...]
    control: str
    default_pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that is not in the front although somebody wants it there.

    Attributes:
        kind: `host`, `authority`.
        name: for people.
        why: code.
    """

    kind: str
    name: str
    why: str


def build_state(sources: FrontSources) -> tuple[FrontState, tuple[LeftOut, ...]]:
    """What the front is to be, and what of the wishes is not in it."""
    instances = {each.instance_id: _instance(each, sources) for each in sources.served}
    hosts, homeless = _hosts(sources.hosts, instances)
    authorities, lists, clashing = _authorities(sources.access)
    state = FrontState(
        line_sets=_line_sets(sources),
        instances=instances,
        default_pem=sources.default_pem,
        control=sources.control,
        hosts=hosts,
        authorities=authorities,
        revocation_lists=lists,
        denied=tuple(dict.fromkeys(sources.denied)),
    )
    return state, (*homeless, *clashing)


def _instance(served: ServedInstance, sources: FrontSources) -> FrontInstance:
    access = sources.access.get(served.instance_id)
    return FrontInstance(
        instance_id=served.instance_id,
        name=served.name,
        line_set=served.line_set,
        rules=sources.rules.get(served.instance_id, NO_RULES),
        client_certificates={} if access is None else access.client_certificates,
        networks=None if access is None else access.networks,
    )


def _line_sets(sources: FrontSources) -> dict[str, LineSet]:
    """All instances of a set have the same lines."""
    found: dict[str, LineSet] = {}
    for each in sources.served:
        key = each.line_set
        if key not in found:
            lines = (
                FrontLine(
                    line_id=line.line_id,
                    number=line.number,
                    address=sources.address_of(line.line_id),
                    weight=line.weight,
                    in_service=line.in_service,
                )
                for line in each.lines
            )
            found[key] = LineSet(key=key, lines=tuple(lines))
    return found


def _hosts(
    served: Iterable[ServedHost], instances: Mapping[InstanceId, FrontInstance]
) -> tuple[dict[str, FrontHost], list[LeftOut]]:
    hosts: dict[str, FrontHost] = {}
    homeless = []
    for each in served:
        record = each.record
        if record.instance_id is not None and record.instance_id not in instances:
            homeless.append(LeftOut(kind="host", name=record.host, why="instance_not_served"))
            continue
        hosts[record.host] = FrontHost(
            host_id=record.host_id,
            host=record.host,
            instance_id=record.instance_id,
            pem=record.chain + each.key,
        )
    return hosts, homeless


def _authorities(
    access: Mapping[InstanceId, FrontAccess],
) -> tuple[dict[str, str], dict[str, str], list[LeftOut]]:
    """Authorities of which somebody has brought a revocation list, and the newest list of each.

    The front has one store for all customers, and tells authorities apart by their names. Two of one name, of two
    customers, could pass for each other there: then neither of them gets in, and the lines check alone. So they do
    where lists are long: each change of one would cost everybody time.
    """
    clashing = _clashing_subjects(access)
    newest = _newest_lists(access)
    short = _short_lists(newest)
    authorities: dict[str, str] = {}
    lists: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for pinned in _pinned(access):
        if pinned.key not in newest:
            continue
        if _plain(pinned.subject) in clashing:
            left_out[pinned.subject] = "authority_name_shared"
        elif pinned.key not in short:
            left_out[pinned.subject] = "revocation_list_too_long"
        else:
            authorities[pinned.fingerprint] = pinned.pem
            lists[pinned.fingerprint] = newest[pinned.key].pem
    told = [LeftOut(kind="authority", name=name, why=why) for name, why in sorted(left_out.items())]
    return authorities, lists, told


def _pinned(access: Mapping[InstanceId, FrontAccess]) -> Iterable[PinnedAuthority]:
    return (pinned for _, each in sorted(access.items()) for pinned in each.authorities)


def _clashing_subjects(access: Mapping[InstanceId, FrontAccess]) -> set[str]:
    """Names that several instances' authorities bear, with different keys."""
    keys: defaultdict[str, set[str]] = defaultdict(set)
    owners: defaultdict[str, set[InstanceId]] = defaultdict(set)
    for instance_id, each in access.items():
        for pinned in each.authorities:
            keys[_plain(pinned.subject)].add(pinned.key)
            owners[_plain(pinned.subject)].add(instance_id)
    return {subject for subject, found in keys.items() if len(found) > 1 and len(owners[subject]) > 1}


def _plain(subject: str) -> str:
    """A name as names are compared: capitals mean nothing, and neither do blanks, also those that RFC 4514 escapes.

    That goes a little further than RFC 5280 §7.1: who is left out for it is checked by his lines.
    """
    return "".join(subject.lower().replace("\\ ", " ").split())


def _newest_lists(access: Mapping[InstanceId, FrontAccess]) -> dict[str, KeptList]:
    """By key of the authority, whoever has brought it: its authority has signed it."""
    newest: dict[str, KeptList] = {}
    for _, each in sorted(access.items()):
        for key, kept in each.lists.items():
            if key not in newest or newest[key].this_update < kept.this_update:
                newest[key] = kept
    return newest


def _short_lists(newest: Mapping[str, KeptList]) -> set[str]:
    """Keys of the lists that the front holds: the shortest come first, so long ones keep out nobody else's."""
    found: set[str] = set()
    room = _MOST_OF_ALL_LISTS
    for key, kept in sorted(newest.items(), key=lambda each: (len(each[1].pem), each[0])):
        room -= len(kept.pem)
        if room < 0 or len(kept.pem) > _LONGEST_LIST:
            break
        found.add(key)
    return found
