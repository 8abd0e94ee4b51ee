"""A front as values that can be compared: what a release holds, and what a running HAProxy has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Literal

BackendKind = Literal["lines", "group", "control"]
Trust = Literal["as read", "exchanged", "spent"]
"""Whether authorities or revocation lists can be exchanged in a worker: they were before (`exchanged`), and after that
a certificate was (`spent`); another exchange would then end the worker by a segmentation fault (tried on 2.6.12)."""

CONTROL: Final = "control"
"""Backend of control; a line set cannot have this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A line in a backend, called `l<number>`.

    Attributes:
        weight: the one in force; 0: it gets no new request, and finishes what it has.
        followed: group backends follow its health, so that HAProxy does not let go of it without a reload.
    """

    number: int
    address: str
    weight: int
    followed: bool = False

    @property
    def name(self) -> str:
        """As in HAProxy."""
        return f"l{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A backend.

    Attributes:
        line_set: key of the set whose lines it has.
        servers: by number.
    """

    name: str
    kind: BackendKind
    line_set: str
    servers: Mapping[int, Server] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontModel:
    """Everything of a front that changes.

    Attributes:
        text: digest of the configuration without what can be changed while it runs.
        maps: by file name; entries by key.
        certificates: digest of each PEM file, by file name.
        hosts: the host that each certificate is for, by its file name; the default one has none.
        authorities: digest of the file.
        revocation_lists: digest of the file.
        trust: what has been done to the worker's certificates since it began; see `Trust`.
        slots: how many group backends each line set has.
        groups: which rule has which group backend, by line set.
    """

    text: str
    backends: Mapping[str, Backend]
    maps: Mapping[str, Mapping[str, str]]
    certificates: Mapping[str, str]
    hosts: Mapping[str, str]
    authorities: str
    revocation_lists: str
    trust: Trust = "as read"
    slots: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontFiles:
    """A front, rendered.

    Attributes:
        files: content by path within a release, the configuration itself left out: it names its release.
        configuration: its text; `RELEASE` stands for the release's number.
    """

    model: FrontModel
    configuration: str
    files: Mapping[str, str] = field(repr=False)


RELEASE: Final = "@release@"


def digest_of(text: str) -> str:
    """What tells one content from another."""
    return sha256(text.encode()).hexdigest()
