"""What can be done to a running HAProxy, each as a value that can be shown. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lb.front.model import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """A line gets more or less, or nothing new any more.

    Attributes:
        is_back: it was in maintenance or drained, where nobody should have left it.
    """

    backend: str
    server: str
    weight: int
    is_back: bool = False

    def __str__(self) -> str:
        return (
            f"{self.backend}/{self.server}: weight {self.weight}{', back in service' if self.is_back else ''}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AddServer:
    """A line comes."""

    backend: str
    server: Server

    def __str__(self) -> str:
        return f"{self.backend}/{self.server.name}: add, weight {self.server.weight}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveServer:
    """A line goes, once its last request has ended."""

    backend: str
    server: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.server}: remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeMap:
    """Keys of a map come, get other values or go; or it is filled anew, from one moment to the next.

    Attributes:
        keys: those; of a map that is filled anew, all that it has then.
    """

    map: str
    change: Literal["add", "set", "drop", "replace"]
    keys: tuple[str, ...]

    def __str__(self) -> str:
        what = f"by {len(self.keys)} entries" if self.change == "replace" else _some(self.keys)
        return f"{self.map}: {self.change} {what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCertificate:
    """A certificate comes, is renewed, or goes."""

    name: str
    change: Literal["add", "renew", "drop"]

    def __str__(self) -> str:
        return f"{self.name}: {self.change} certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeHost:
    """A certificate is shown for a host from now on, or, without one, for none any more."""

    name: str
    host: str | None

    def __str__(self) -> str:
        return f"{self.name}: not served" if self.host is None else f"{self.host}: served with {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceTrust:
    """Other authorities of callers' certificates, or other lists of those that count no longer."""

    what: Literal["authorities", "revocation lists"]

    def __str__(self) -> str:
        return f"{self.what}: replace"


ServerStep = SetWeight | AddServer | RemoveServer
CertificateStep = ChangeCertificate | ServeHost
Step = ServerStep | ChangeMap | CertificateStep | ReplaceTrust


def _some(keys: tuple[str, ...]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
