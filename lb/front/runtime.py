"""What a running HAProxy has, read back as a model.

HAProxy tells no digests: a certificate counts as that of a release if its fingerprint is the same, a list of
authorities if all fingerprints are, a revocation list if both dates are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lb.front.certificate_file import FOLDER
from lb.front.configuration import AUTHORITIES, CERTIFICATE_LIST, RELEASE_TABLE, REVOCATION_LISTS
from lb.front.model import Backend, FrontModel, Server
from lb.front.release import Release
from lb.front.settings import FrontSettings
from lb.haproxy_stats import AdminState, RuntimeSocket, ServerState

OUT: Final = -1
"""Weight of a server that is in maintenance or drained by a command: somebody was killed while it came or went, or has
put it there by hand."""
_BY_COMMAND: Final = AdminState.FORCED_MAINT | AdminState.FORCED_DRAIN
_SINGLE_MOST: Final = 20
"""Backends that are asked for one by one; beyond that all are read at once."""
UNKNOWN: Final = "unknown"
"""Digest of what is not that of the release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What of a front is read back; everything, unless told otherwise."""

    backends: frozenset[str] | None = None
    maps: frozenset[str] | None = None
    certificates: frozenset[str] | None = None
    hosts: bool = True
    authorities: bool = True
    revocation_lists: bool = True


EVERYTHING: Final = Scope()


class RuntimeReader:
    """Reads a worker."""

    def __init__(self, settings: FrontSettings, runtime: RuntimeSocket) -> None:
        self._settings = settings
        self._runtime = runtime

    def read(self, release: Release, scope: Scope = EVERYTHING) -> FrontModel:
        """The worker as a model; what is out of the scope is as in the release.

        Args:
            release: the one it belongs to, as far as its text is concerned.

        Raises:
            HaproxyError: it does not answer, or not so that it is understood.
        """
        model = release.model
        return replace(
            model,
            backends=self._backends(model, scope.backends),
            maps={name: self._map(name, scope, model) for name in model.maps},
            certificates=self._certificates(release, scope.certificates),
            hosts=self._hosts() if scope.hosts else model.hosts,
            authorities=self._authorities(release) if scope.authorities else model.authorities,
            revocation_lists=self._lists(release) if scope.revocation_lists else model.revocation_lists,
        )

    def loaded(self) -> int:
        """Number of the release that the worker has read; -1: it is none of ours.

        Raises:
            HaproxyError: it does not answer, or not so that it is understood.
        """
        names = (table.name for table in self._runtime.show_tables())
        numbers = [name.removeprefix(RELEASE_TABLE) for name in names if name.startswith(RELEASE_TABLE)]
        return int(numbers[0]) if len(numbers) == 1 and numbers[0].isdigit() else -1

    def _backends(self, model: FrontModel, wanted: frozenset[str] | None) -> Mapping[str, Backend]:
        if wanted is None or len(wanted) > _SINGLE_MOST:
            return {**model.backends, **self._servers(model, self._runtime.show_servers_state())}
        states = [state for name in sorted(wanted) for state in self._runtime.show_servers_state(name)]
        narrow = replace(model, backends={name: model.backends[name] for name in wanted})
        return {**model.backends, **self._servers(narrow, states)}

    def _servers(self, model: FrontModel, states: Iterable[ServerState]) -> dict[str, Backend]:
        seen: dict[str, dict[int, ServerState]] = {name: {} for name in model.backends}
        for state in states:
            if state.backend in seen and state.name[1:].isdigit():
                seen[state.backend][int(state.name[1:])] = state
        return {name: _overlaid(model.backends[name], servers) for name, servers in seen.items()}

    def _map(self, name: str, scope: Scope, model: FrontModel) -> Mapping[str, str]:
        if scope.maps is not None and name not in scope.maps:
            return model.maps[name]
        entries = self._runtime.maps.show(f"{self._settings.current}/maps/{name}")
        found = {entry.key: entry.value for entry in entries}
        # The same key twice is a difference, too: somebody was killed while it was added again.
        return found if len(found) == len(entries) else {**found, UNKNOWN: UNKNOWN}

    def _certificates(self, release: Release, wanted: frozenset[str] | None) -> Mapping[str, str]:
        folder = f"{self._settings.current}/{FOLDER}/"
        names = {
            name.removeprefix(folder)
            for name in self._runtime.certificates.names()
            if name.startswith(folder)
        }
        known = release.model.certificates
        return {
            name: self._certificate(release, name)
            if wanted is None or name in wanted
            else known.get(name, UNKNOWN)
            for name in names
        }

    def _certificate(self, release: Release, name: str) -> str:
        digest = release.model.certificates.get(name)
        facts = self._runtime.certificates.show(f"{self._settings.current}/{FOLDER}/{name}").facts
        if digest is None or facts is None:
            return UNKNOWN
        return digest if facts.sha1.lower() == _fingerprints(release.text(f"{FOLDER}/{name}"))[0] else UNKNOWN

    def _hosts(self) -> dict[str, str]:
        folder = f"{self._settings.current}/{FOLDER}/"
        entries = self._runtime.crt_lists.show(f"{self._settings.current}/{CERTIFICATE_LIST}")
        return {
            entry.certificate.removeprefix(folder): " ".join(entry.filters)
            for entry in entries
            if entry.filters
        }

    def _authorities(self, release: Release) -> str:
        seen = self._runtime.authorities.show(f"{self._settings.current}/{AUTHORITIES}")
        same = {facts.sha1.lower() for facts in seen} == set(_fingerprints(release.text(AUTHORITIES)))
        return release.model.authorities if same else UNKNOWN

    def _lists(self, release: Release) -> str:
        seen = self._runtime.revocation_lists.show(f"{self._settings.current}/{REVOCATION_LISTS}")
        dates = {(each.last_update, each.next_update) for each in seen}
        return release.model.revocation_lists if dates == _dates(release.text(REVOCATION_LISTS)) else UNKNOWN


def differences(seen: FrontModel, wanted: FrontModel) -> tuple[str, ...]:
    """What a worker has otherwise than it should, for people."""
    found = [*_server_differences(seen, wanted)]
    for name in wanted.maps:
        if seen.maps.get(name) != wanted.maps[name]:
            found.append(f"{name} differs")
    for name in sorted(seen.certificates.keys() | wanted.certificates.keys()):
        if seen.certificates.get(name) != wanted.certificates.get(name):
            found.append(f"{name} differs")
    if seen.hosts != wanted.hosts:
        found.append("the list of certificates differs")
    if seen.authorities != wanted.authorities:
        found.append("authorities differ")
    if seen.revocation_lists != wanted.revocation_lists:
        found.append("revocation lists differ")
    return tuple(found)


def _server_differences(seen: FrontModel, wanted: FrontModel) -> Iterable[str]:
    for name, backend in wanted.backends.items():
        if _placed(seen.backends[name]) != _placed(backend):
            yield f"servers of {name} differ"


def _placed(backend: Backend) -> dict[int, tuple[str, int]]:
    return {number: (server.address, server.weight) for number, server in backend.servers.items()}


def _overlaid(backend: Backend, states: Mapping[int, ServerState]) -> Backend:
    """A backend with the servers that are there; of one that is not in the release only its number is known."""
    servers = {}
    for number, state in sorted(states.items()):
        server = backend.servers.get(number, Server(number=number, address=UNKNOWN, weight=0))
        weight = OUT if state.admin & _BY_COMMAND else state.user_weight
        address = server.address if _is_at(state, server.address) else UNKNOWN
        servers[number] = replace(server, weight=weight, address=address)
    return replace(backend, servers=servers)


def _is_at(state: ServerState, address: str) -> bool:
    """Whether a server has its address; what a name stands for changes without anybody's doing."""
    host, _, port = address.rpartition(":")
    try:
        wanted = ip_address(host.strip("[]"))
    except ValueError:
        return state.address is None or not address.startswith("unix@")
    return state.address is not None and (ip_address(state.address), state.port) == (wanted, int(port))


def _fingerprints(pem: str) -> list[str]:
    certificates = x509.load_pem_x509_certificates(pem.encode())
    return [each.fingerprint(hashes.SHA1()).hex() for each in certificates]  # noqa: S303 (HAProxy shows no other)


def _dates(pem: str) -> set[tuple[object, object]]:
    end = "-----END X509 CRL-----\n"
    lists = [x509.load_pem_x509_crl(f"{block}{end}".encode()) for block in pem.split(end) if block]
    return {(each.last_update_utc, each.next_update_utc) for each in lists}
