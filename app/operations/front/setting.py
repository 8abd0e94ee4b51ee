"""How load balancers are named in the settings of control. Pure.

    lb1=10.0.0.21:443 redirect=10.0.0.21:80 health=127.0.0.1:8404 peer=10.0.0.21:10000; lb2=10.0.0.22:443

A name and where it listens with TLS; then, as far as needed, more binds (`tls=`, `plain=`, `redirect=`), where it is
asked how it is (`health=`, else the port after the first one's), where the others reach its tables (`peer=`, else the
port after that) and how many requests a second one address may send (`calls=`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from lb.front.error import FrontSettingsUnfit
from lb.front.settings import BindKind, FrontBind, FrontLimits, FrontPeer, FrontSettings

_BINDS: Final = frozenset({"tls", "plain", "redirect"})
_ONCE: Final = frozenset({"health", "peer", "calls"})
_CALLS: Final = re.compile(r"[1-9][0-9]{0,5}")
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str
    binds: tuple[FrontBind, ...]
    health: str
    peer: FrontPeer
    limits: FrontLimits


def read_fronts(text: str, *, folder: Path, haproxy: str = "haproxy") -> tuple[FrontSettings, ...]:
    """The load balancers that control looks after; none if the text is empty.

    Args:
        text: see above.
        folder: below which each has its directory.
        haproxy: the program.

    Raises:
        FrontSettingsUnfit: it is not written like that, or a name stands in it twice.
    """
    named = [_read(part.split()) for part in text.split(";") if part.strip()]
    if len({each.name for each in named}) != len(named):
        raise FrontSettingsUnfit("Each load balancer has a name of its own.", field="name")
    peers = tuple(each.peer for each in named) if len(named) > 1 else ()
    alone = (
        FrontSettings(
            directory=folder / each.name,
            binds=each.binds,
            health=each.health,
            name=each.name,
            haproxy=haproxy,
            limits=each.limits,
        )
        for each in named
    )
    return tuple(replace(each, peers=peers) for each in alone)


def _read(words: Sequence[str]) -> _Named:
    (name, first), *more = (_pair(word) for word in words)
    binds = [FrontBind(address=first)]
    given: dict[str, str] = {}
    for word, address in more:
        if word in _BINDS:
            binds.append(FrontBind(address=address, kind=cast(BindKind, word)))
        elif word in _ONCE and word not in given:
            given[word] = address
        else:
            raise FrontSettingsUnfit(f"'{word[:32]}' says nothing of a load balancer.", field="fronts")
    return _Named(
        name=name,
        binds=tuple(binds),
        health=given.get("health") or _next(first, 1),
        peer=FrontPeer(name=name, address=given.get("peer") or _next(first, 2)),
        limits=FrontLimits() if "calls" not in given else FrontLimits(address_calls=_calls(given["calls"])),
    )


def _pair(word: str) -> tuple[str, str]:
    name, equals, address = word.partition("=")
    if not equals or not name or not address:
        raise FrontSettingsUnfit("Write name=address:port.", field="fronts")
    return name, address


def _calls(text: str) -> int:
    if not _CALLS.fullmatch(text):
        raise FrontSettingsUnfit("Write calls=1 to calls=999999.", field="calls")
    return int(text)


def _next(address: str, distance: int) -> str:
    """The address some ports further."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) + distance > _HIGHEST_PORT:
        raise FrontSettingsUnfit("Write name=address:port.", field="fronts")
    return f"{host}:{int(port) + distance}"
