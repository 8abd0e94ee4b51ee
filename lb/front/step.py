"""What can be done to a running HAProxy, each as a value that can be shown. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from lb.front.model import Server


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """A line gets more or less, or nothing new any more.

    Attributes:
        is_back: it was in maintenance, where nobody should have left it.
    """

    backend: str
    server: str
    weight: int
    is_back: bool = False

    def __str__(self) -> str:
        return f"{self.backend}/{self.server}: weight {self.weight}{', out of maintenance' if self.is_back else ''}"


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
class AddEntries:
    """New keys of a map."""

    map: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.map}: add {_some(self.keys)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetEntry:
    """A key of a map gets another value."""

    map: str
    key: str

    def __str__(self) -> str:
        return f"{self.map}: set {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropEntries:
    """Keys of a map go."""

    map: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.map}: drop {_some(self.keys)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceMap:
    """A map is filled anew, from one moment to the next."""

    map: str
    entries: int

    def __str__(self) -> str:
        return f"{self.map}: replace by {self.entries} entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutCertificate:
    """A certificate comes, or is renewed."""

    name: str
    is_new: bool

    def __str__(self) -> str:
        return f"{self.name}: {'add' if self.is_new else 'renew'} certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropCertificate:
    """A certificate goes."""

    name: str

    def __str__(self) -> str:
        return f"{self.name}: drop certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListHost:
    """A certificate is shown for a host from now on."""

    name: str
    host: str

    def __str__(self) -> str:
        return f"{self.host}: served with {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlistHost:
    """A certificate is shown for no host any more."""

    name: str

    def __str__(self) -> str:
        return f"{self.name}: not served"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAuthorities:
    """Other authorities of callers' certificates."""

    def __str__(self) -> str:
        return "authorities: replace"


@dataclass(frozen=True, slots=True, kw_only=True)
class PutRevocationLists:
    """Other revocation lists."""

    def __str__(self) -> str:
        return "revocation lists: replace"


Step = (
    SetWeight
    | AddServer
    | RemoveServer
    | AddEntries
    | SetEntry
    | DropEntries
    | ReplaceMap
    | PutCertificate
    | DropCertificate
    | ListHost
    | UnlistHost
    | PutAuthorities
    | PutRevocationLists
)


def _some(keys: tuple[str, ...]) -> str:
    shown = ", ".join(keys[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
