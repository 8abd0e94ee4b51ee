"""What the front is to be: every value that a load balancer is configured from. Pure.

Keys of line sets and numbers of lines are made by wops; names, prefixes, hosts and user names are typed by people and
get into map files and payloads only, never into configuration text or onto a command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from app.core.ids import InstanceId, LineId
from lb.rule.rule import NO_RULES, RuleSet

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLine:
    """A line as a load balancer sees it.

    Attributes:
        number: its own within its set, 1 and up; the server is called `l<number>`.
        address: `unix@/path` or `host:port`.
        weight: 0 to 256, relative to the others.
        in_service: False: it gets no new request, and finishes what it has.
    """

    line_id: LineId
    number: int
    address: str
    weight: int = 100
    in_service: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSet:
    """Lines that serve the same instances: one backend.

    Attributes:
        key: `[a-z0-9_]{1,64}`, ours: `shared`, or the id of the one instance that has these lines.
    """

    key: str
    lines: tuple[FrontLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontInstance:
    """An instance that is reached through the front.

    Attributes:
        name: first segment of its paths.
        line_set: key of the lines that serve it.
        client_certificates: by user name of an API client, the SHA-256 fingerprints (hexadecimal) of its certificates:
            rules know a client by them, too.
        networks: from where its web services are called; who comes from elsewhere and shows no credentials is refused
            at the edge. None: from everywhere.
    """

    instance_id: InstanceId
    name: str
    line_set: str
    rules: RuleSet = NO_RULES
    client_certificates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    networks: tuple[Network, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontHost:
    """A host name of its own, with its certificate.

    Attributes:
        host_id: ours, names the file.
        host: as in SNI and `Host`, small letters, A-labels.
        instance_id: the instance that is served there; None: the whole platform, as by address.
        pem: certificate, chain and private key.
    """

    host_id: str
    host: str
    instance_id: InstanceId | None
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontState:
    """Everything that the front is to be.

    Attributes:
        control: address of control, as of a line; None: there is none.
        default_pem: certificate, chain and key for whoever names no host that is known.
        authorities: PEM of customers' authorities, by fingerprint.
        revocation_lists: PEM of theirs, by fingerprint of the authority.
        denied: nobody from there is answered.
    """

    line_sets: Mapping[str, LineSet]
    instances: Mapping[InstanceId, FrontInstance]
    default_pem: str = field(repr=False)
    control: str | None = None
    hosts: Mapping[str, FrontHost] = field(default_factory=dict)
    authorities: Mapping[str, str] = field(default_factory=dict)
    revocation_lists: Mapping[str, str] = field(default_factory=dict)
    denied: tuple[Network, ...] = ()
