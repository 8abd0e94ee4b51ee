"""Rule sets and requests by the thousand, from a seed: out of few values, so that they often fit, and hostile ones."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from app.core.ids import InstanceId, LineId
from lb.rule.check import find_problems
from lb.rule.compile import RuledInstance
from lb.rule.rule import HeaderMatch, Maintenance, Match, Otherwise, Rule, RuleSet, ToLines
from lb.rule.vocabulary import HEADERS, METHODS
from tests.integration.lb.rule.raw_client import RawRequest

Address = IPv4Address | IPv6Address

_LONG = "/" + "a" * 119 + "/"
_PREFIXES = (
    *("/", "/api/", "/api/v1/", "/api/v1/orders", "/api/v1/orders/", "/erp", "/erp/", "/ERP/", "/er"),
    *("/a/b/c/", "/~x/", "/._~-/", "/api/v1/items/-._~", _LONG, _LONG[:-1], "/depot", "/soap"),
)
_TAILS = (
    *(
        b"",
        b"x",
        b"/",
        b"//",
        b"/../erp/",
        b"?/erp/",
        b"?a=/api/",
        b"%2F",
        b"%00",
        b";a=b",
        b"|",
        b":",
        b"$HOME",
    ),
    *(b"%[src]", b'"', b"'", b"\\", b"`", b"{}", b"<>", b"&", b"a" * 300, b"#f", b"\x7f", b"\x01", b"\xff"),
)
_METHODS = (*METHODS, "GET", "GET", "POST", "get", "PURGE", "M-SEARCH", "TRACE", "*", "G|T", "GETT", "GE")
_VALUES = (
    *(
        "batch",
        "Batch",
        "night run",
        "a,b",
        'x;y$HOME"',
        "%[src]",
        "a|b:c",
        "1.0",
        "v" * 80,
        "-m",
        "\\",
        "#",
    ),
    *("'", "batchx", "~", "a  b"),
)
_HOSTILE_VALUES = (
    b"",
    b"batch\x00",
    b"batch,",
    b"\xff\xfe",
    b"v" * 81,
    b"v" * 4000,
    b"\tbatch\t",
    b" batch  ",
)
_CLIENTS = ("acme.erp", "acme.crm", "acme.batch-2", "other.erp", "a.b")
_FINGERPRINTS = tuple(f"{number:064x}" for number in (1, 2, 0xABCDEF, 4))
_NETWORKS = (
    *("10.0.0.0/8", "10.0.0.0/9", "10.1.0.0/16", "10.1.2.0/23", "10.1.2.3/32", "10.1.2.2/31", "0.0.0.0/0"),
    *("0.0.0.0/1", "192.0.2.0/25", "::/0", "::/1", "2001:db8::/32", "2001:db8::/45", "2001:db8::1/128"),
    *("fe80::/10", "2002::/16", "2002:a01:203::/48", "::/96", "64:ff9b::/96", "8000::/1", "::fffe:0:0/95"),
)
ADDRESSES: tuple[Address, ...] = tuple(
    ip_address(text)
    for text in (
        *(
            "10.1.2.3",
            "10.1.2.2",
            "10.1.3.255",
            "10.127.0.1",
            "10.128.0.1",
            "11.0.0.1",
            "192.0.2.1",
            "192.0.2.200",
        ),
        *(
            "0.0.0.1",
            "255.255.255.255",
            "2001:db8::1",
            "2001:db8::2",
            "2001:db8:7::1",
            "2001:db8:8::1",
            "fe80::1",
        ),
        *("2002:a01:203::1", "2002:a01:204::1", "::ffff:10.1.2.3", "::ffff:11.0.0.1", "::a01:203", "::1"),
        *("64:ff9b::a01:203", "ffff::1"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """An instance with rules, its lines, and which of them are there."""

    instance: RuledInstance
    name: str
    ready: frozenset[LineId]


def make_neighbour(chance: random.Random, number: int) -> Neighbour:
    """An instance; some have no rules, some as many as there can be, every tenth shares its lines with the next one."""
    home = number - 1 if number % 10 == 1 else number
    lines, ready = _make_lines(random.Random(home), home)
    groups = {
        f"g{each}": tuple(ip_network(text) for text in chance.sample(_NETWORKS, chance.randint(1, 4)))
        for each in range(chance.randint(1, 3))
    }
    count = chance.choice((0, 1, 2, 3, 5, 8, 62))
    rules = RuleSet(
        rules=tuple(
            Rule(
                name=f"r{index}",
                match=_make_match(chance, tuple(groups), busy=count == 62),
                action=_make_action(chance, tuple(lines)),
            )
            for index in range(count)
        ),
        sources=groups,
    )
    assert not find_problems(rules, lines=lines).errors
    instance = RuledInstance(
        instance_id=InstanceId(f"ins_{number}"),
        line_set=f"set_{home}",
        lines=lines,
        rules=rules,
        client_certificates=_make_certificates(chance),
    )
    return Neighbour(instance=instance, name=f"n{number}", ready=ready)


def _make_lines(chance: random.Random, home: int) -> tuple[dict[LineId, int], frozenset[LineId]]:
    lines = {LineId(f"lin_{home}_{each}"): each for each in range(1, chance.randint(1, 4) + 1)}
    return lines, frozenset(line_id for line_id in lines if chance.random() < 0.7)


def _make_match(chance: random.Random, groups: Sequence[str], *, busy: bool) -> Match:
    often = 0.5 if busy else 0.3
    return Match(
        path_prefix=chance.choice(_PREFIXES) if chance.random() < often else None,
        methods=frozenset(chance.sample(METHODS, chance.randint(1, 3)))
        if chance.random() < often
        else frozenset(),
        header=HeaderMatch(name=chance.choice(HEADERS), value=chance.choice(_VALUES))
        if chance.random() < often
        else None,
        source=chance.choice(groups) if chance.random() < often else None,
        clients=frozenset(chance.sample(_CLIENTS, chance.randint(1, 2)))
        if chance.random() < often
        else frozenset(),
    )


def _make_action(chance: random.Random, lines: Sequence[LineId]) -> ToLines | Maintenance:
    if chance.random() < 0.2:
        return Maintenance(retry_after_seconds=chance.randint(1, 86400))
    otherwise: Otherwise = chance.choice(("any_line", "refuse"))
    some = chance.sample(lines, chance.randint(1, len(lines)))
    return ToLines(
        weights={line_id: chance.randint(1, 256) for line_id in some},
        sticky=chance.random() < 0.5,
        otherwise=otherwise,
    )


def _make_certificates(chance: random.Random) -> dict[str, tuple[str, ...]]:
    return {
        client: tuple(chance.sample(_FINGERPRINTS, chance.randint(1, 2)))
        for client in _CLIENTS
        if chance.random() < 0.4
    }


def make_request(chance: random.Random, neighbour: Neighbour) -> RawRequest:
    """A request for an instance; every third one has something odd about it."""
    headers: list[tuple[bytes, bytes]] = []
    for name in HEADERS:
        if chance.random() < 0.5:
            headers += _make_header(chance, name.encode())
    if chance.random() < 0.6:
        headers += _make_credentials(chance)
    if chance.random() < 0.3:
        headers.append((b"X-Test-Print", chance.choice(_FINGERPRINTS).upper().encode()))
    chance.shuffle(headers)
    return RawRequest(
        method=chance.choice(_METHODS), path=_make_path(chance, neighbour.name), headers=headers
    )


def _make_path(chance: random.Random, name: str) -> bytes:
    if chance.random() < 0.05:
        return b"/" + name.encode() + chance.choice((b"", b"?", b"?/erp/"))
    prefix = chance.choice(_PREFIXES).encode()
    if chance.random() < 0.3:
        prefix = prefix[: chance.randint(1, len(prefix))]
    if chance.random() < 0.1:
        place = chance.randint(1, len(prefix))
        prefix = prefix[:place] + chance.choice(_TAILS) + prefix[place:]
    tail = chance.choice(_TAILS) if chance.random() < 0.5 else b"orders/1"
    return b"/" + name.encode() + prefix + tail


def _make_header(chance: random.Random, name: bytes) -> list[tuple[bytes, bytes]]:
    value = chance.choice(_VALUES).encode()
    if chance.random() < 0.15:
        value = chance.choice(_HOSTILE_VALUES)
    shown = name.title() if chance.random() < 0.5 else name
    found = [(shown, value)]
    if chance.random() < 0.1:
        found.append((name, chance.choice(_VALUES).encode()))
    return found


def _make_credentials(chance: random.Random) -> list[tuple[bytes, bytes]]:
    user = chance.choice((*_CLIENTS, "nobody.at-all", "ACME.erp", "acme.erp ")).encode()
    good = base64.b64encode(user + b":" + chance.randbytes(chance.randint(0, 9)))
    if chance.random() < 0.7:
        return [(b"Authorization", b"Basic " + good)]
    odd = chance.choice(
        (
            *(
                b"bASIC   " + good,
                b"Bas " + good,
                b"Basic\t" + good,
                b"Basic " + good + b",",
                b"Basic  " + good + b" ",
            ),
            *(
                b"Basic " + good.rstrip(b"="),
                b"Basic " + good + b"=",
                b"Basic " + good + b" " + good,
                b"Basic",
                b"Basic ",
            ),
            *(
                b"Bearer " + good,
                b"x, Basic " + good,
                b'"Basic ' + good,
                b"Basic " + base64.b64encode(user),
                b"Basic ====",
            ),
            b"Basic " + base64.b64encode(b":secret"),
            b"Basic " + base64.b64encode(user + b"\0:secret"),
            b"Basic " + base64.b64encode(b"\0" + user + b":secret"),
            b"Basic " + base64.b64encode(user + b":a:\0b"),
            b"Basic " + base64.b64encode(user + b"|\r\n%[src]:x"),
            b"Basic " + base64.b64encode(user + b"\xff:\xfe"),
            b"Basic " + base64.b64encode(b"u" * 380 + b":x"),
            b"Basic " + base64.b64encode(b"u" * 600 + b":x"),
            b"Basic " + base64.b64encode(user + b":" + b"p" * 3000),
            b"Basic dTpwbB==",
        )
    )
    found = [(b"Authorization", odd)]
    if chance.random() < 0.2:
        found.append((b"authorization", b"Basic " + good))
    return found
