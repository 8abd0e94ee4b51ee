"""Steps of a plan, carried out on a running worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from app.core.clock import Clock
from lb.errors import HaproxyRejected
from lb.front.certificate_file import FOLDER
from lb.front.configuration import AUTHORITIES, CERTIFICATE_LIST, FALL, PURGE, REVOCATION_LISTS, RISE
from lb.front.release import Release
from lb.front.settings import FrontSettings
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
from lb.haproxy_stats import MapEntry, RuntimeSocket, ServerOptions, ServerTarget

_LAST_REQUESTS: Final = timedelta(seconds=10)
"""How long a line that goes may finish what it has. Who takes lines out has waited for that before."""
_ASK_AGAIN_SECONDS: Final = 0.02


class RuntimeActor:
    """Carries out steps, each of them so that it may have been done, wholly or in part, before."""

    def __init__(self, settings: FrontSettings, runtime: RuntimeSocket, *, clock: Clock) -> None:
        self._settings = settings
        self._runtime = runtime
        self._clock = clock

    def carry_out(self, step: Step, release: Release) -> None:
        """Carry out one step.

        Args:
            release: where contents come from.

        Raises:
            HaproxyRejected: it was refused.
            HaproxyError: nobody answers, or not so that it is understood; it may have been done.
        """
        match step:
            case ChangeMap():
                self._change_map(step, release)
            case ReplaceTrust():
                self._replace_trust(step, release)
            case SetWeight() | AddServer() | RemoveServer():
                self._change_server(step)
            case _:
                self._change_certificate(step, release)

    def _change_server(self, step: ServerStep) -> None:
        servers = self._runtime.servers
        match step:
            case SetWeight():
                servers.set_weight(step.backend, step.server, weight=step.weight)
                if step.is_back:
                    with suppress(HaproxyRejected):  # It follows another one, and has no check.
                        servers.enable_health(step.backend, step.server)
                    servers.set_state(step.backend, step.server, state=ServerTarget.READY)
            case AddServer():
                name = step.server.name
                servers.add(step.backend, name, self._options(step))
                servers.enable_health(step.backend, name)
                servers.enable(step.backend, name)
            case RemoveServer():
                self._remove(step.backend, step.server)

    def _options(self, step: AddServer) -> ServerOptions:
        return ServerOptions(
            address=step.server.address,
            weight=step.server.weight,
            # As in the configuration: sticky tables name servers by it.
            identifier=step.server.number,
            check=True,
            inter=self._settings.times.check_every,
            fall=FALL,
            rise=RISE,
            shutdown_when_down=True,
            pool_purge_delay=PURGE,
        )

    def _remove(self, backend: str, server: str) -> None:
        """Nothing new for it; when it has nothing any more, or too long, it goes."""
        servers = self._runtime.servers
        servers.set_weight(backend, server, weight=0)
        self._await(lambda: self._used(backend, server) == 0)
        servers.set_state(backend, server, state=ServerTarget.MAINT)
        refusal: list[HaproxyRejected] = []

        def deleted() -> bool:
            try:
                servers.delete(backend, server)
            except HaproxyRejected as error:
                refusal[:] = [error]
                return "connections" not in error.answer
            refusal.clear()
            return True

        self._await(deleted)
        if refusal:
            raise refusal[0]

    def _used(self, backend: str, server: str) -> int:
        return sum(each.used for each in self._runtime.show_servers_conn(backend) if each.name == server)

    def _await(self, condition: Callable[[], bool]) -> None:
        until = self._clock.monotonic() + _LAST_REQUESTS.total_seconds()
        while not condition() and self._clock.monotonic() < until:
            self._clock.sleep(_ASK_AGAIN_SECONDS)

    def _change_map(self, step: ChangeMap, release: Release) -> None:
        maps, file = self._runtime.maps, f"{self._settings.current}/maps/{step.map}"
        entries = release.model.maps[step.map]
        match step.change:
            case "add":
                maps.add(file, [MapEntry(key=key, value=entries[key]) for key in step.keys])
            case "set":
                for key in step.keys:
                    maps.set(file, key, value=entries[key])
            case _:
                # All at the same moment, and a key that is there twice is there once again.
                maps.replace(file, [MapEntry(key=key, value=value) for key, value in entries.items()])

    def _replace_trust(self, step: ReplaceTrust, release: Release) -> None:
        runtime, current = self._runtime, self._settings.current
        if step.what == "authorities":
            runtime.authorities.replace(f"{current}/{AUTHORITIES}", release.text(AUTHORITIES))
        else:
            runtime.revocation_lists.replace(f"{current}/{REVOCATION_LISTS}", release.text(REVOCATION_LISTS))

    def _change_certificate(self, step: CertificateStep, release: Release) -> None:
        runtime, current = self._runtime, self._settings.current
        file, listed = f"{current}/{FOLDER}/{step.name}", f"{current}/{CERTIFICATE_LIST}"
        match step:
            case ChangeCertificate(change="drop"):
                runtime.certificates.delete(file)
            case ChangeCertificate():
                if step.change == "add":
                    runtime.certificates.new(file)
                runtime.certificates.replace(file, release.text(f"{FOLDER}/{step.name}"))
            case _ if step.host is None:
                runtime.crt_lists.delete(listed, file)
            case _:
                runtime.crt_lists.add(listed, file, filters=(step.host,))
