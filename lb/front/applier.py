"""How a running HAProxy gets from one release to the next: by steps, or by a reload that is taken back if it fails."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from app.core.clock import Clock
from app.core.net import ApiSession, NetError
from lb.errors import HaproxyError, HaproxyUnavailable
from lb.front.action import RuntimeActor
from lb.front.candidate import check_release
from lb.front.error import FrontDiskFailed, FrontNotReloaded
from lb.front.model import FrontFiles
from lb.front.plan import Plan
from lb.front.release import Release, Releases
from lb.front.runtime import RuntimeReader, Scope, differences
from lb.front.settings import FrontSettings
from lb.front.step import ChangeCertificate, ChangeMap, ReplaceTrust, ServeHost, ServerStep, Step
from lb.haproxy_stats import MasterSocket, RuntimeSocket

_SMOKE_SECONDS: Final = 2.0
_SMOKE_PAUSE_SECONDS: Final = 0.05


class Applier:
    """Brings releases into force. One at a time is the caller's part."""

    def __init__(self, settings: FrontSettings, releases: Releases, *, clock: Clock) -> None:
        self._settings = settings
        self._releases = releases
        self._clock = clock
        runtime = RuntimeSocket(settings.runtime_socket)
        self._master = MasterSocket(settings.master_socket)
        self._reader = RuntimeReader(settings, runtime)
        self._actor = RuntimeActor(settings, runtime, clock=clock)

    def by_files(self, files: FrontFiles, former: Release | None) -> Release:
        """For a HAProxy that does not run: the next start takes it.

        Raises:
            FrontRefused, FrontCertificateUnfit, FrontDiskFailed: nothing has changed.
        """
        release = self._releases.write(files, former, base=None)
        try:
            check_release(self._settings, release)
        except HaproxyError:
            self._releases.discard(release)
            raise
        self._releases.put_in_force(release)
        return release

    def by_steps(self, files: FrontFiles, plan: Plan, former: Release) -> tuple[Release, str | None]:
        """Carry a plan out.

        Returns:
            The release in force, and why it is not what runs, if something was refused or is otherwise afterwards.

        Raises:
            HaproxyUnavailable: nobody answers any more; some steps may have been carried out.
            FrontDiskFailed: nothing has changed.
        """
        files = replace(files, model=plan.result)
        release = self._releases.write(files, former, base=former.base)
        self._releases.put_in_force(release)
        try:
            for step in plan.steps:
                self._actor.carry_out(step, release)
            seen = self._reader.read(release, scope_of(plan.steps))
        except HaproxyUnavailable:
            raise
        except HaproxyError as error:
            return release, error.message
        found = differences(seen, release.model)
        return release, "; ".join(found) or None

    def by_reload(self, files: FrontFiles, former: Release | None, *, is_mixed: bool) -> Release:
        """Have everything read again, checked before and afterwards.

        Args:
            former: what to go back to.
            is_mixed: what runs is no longer, or not for certain, what `former` says.

        Raises:
            FrontRefused, FrontCertificateUnfit: the configuration was refused, or a certificate in it.
            FrontNotReloaded: it did not come up.
            FrontDiskFailed: nothing has changed.
            HaproxyUnavailable: there is no master to be asked; nothing has changed.
        """
        try:
            release = self._put_in_force(files, former)
        except HaproxyError:
            if is_mixed and former is not None:
                self._go_back(former)
            raise
        try:
            self._reload(release, self._settings.smoke_path)
        except HaproxyError as error:
            if former is not None:
                self._go_back(former)
            raise FrontNotReloaded(
                "The load balancer did not come up with its new configuration; the former one is in force.",
                reason=error.message,
            ) from error
        self._releases.settle()
        return release

    def _put_in_force(self, files: FrontFiles, former: Release | None) -> Release:
        """A release that is checked, to be reloaded; somebody is there to do it."""
        release = self._releases.write(files, former, base=None)
        try:
            check_release(self._settings, release)
            self._master.show_proc()
            self._releases.unsettle()
        except HaproxyError:
            self._releases.discard(release)
            raise
        self._releases.put_in_force(release)
        return release

    def _go_back(self, former: Release) -> None:
        """Let the former release be in force, and running. Where that fails, whoever comes next reloads."""
        # Even on a full disk it must come into force again: what is in force may be what HAProxy does not start with.
        with suppress(FrontDiskFailed):
            if not self._releases.is_unsettled:
                self._releases.unsettle()
        self._releases.put_in_force(former)
        with suppress(HaproxyError):
            self._reload(former, "/livez")
            self._releases.settle()

    def _reload(self, release: Release, smoke_path: str) -> None:
        """Reload, and see that it is this release that serves.

        Raises:
            HaproxyError: it is not.
        """
        self._master.reload()
        self._smoke(release, smoke_path)
        found = differences(self._reader.read(release), release.model)
        if found:
            raise FrontNotReloaded("; ".join(found))

    def _smoke(self, release: Release, path: str) -> None:
        until = self._clock.monotonic() + _SMOKE_SECONDS
        while not self._serves(release, path):
            if self._clock.monotonic() >= until:
                raise FrontNotReloaded("Nobody answers for the new release.")
            self._clock.sleep(_SMOKE_PAUSE_SECONDS)

    def _serves(self, release: Release, path: str) -> bool:
        """Whether the release itself answers; the worker before it may be asked by chance for a moment."""
        address = f"http://{self._settings.health.replace('*', '127.0.0.1')}"
        try:
            with ApiSession(address, timeout_seconds=_SMOKE_SECONDS) as session:
                session.get(path)
                return session.get("/livez").object().get("release") == release.number
        except NetError:
            return False


def scope_of(steps: tuple[Step, ...]) -> Scope:
    """What steps may have changed."""
    replaced = {step.what for step in steps if isinstance(step, ReplaceTrust)}
    return Scope(
        backends=frozenset(step.backend for step in steps if isinstance(step, ServerStep)),
        maps=frozenset(step.map for step in steps if isinstance(step, ChangeMap)),
        certificates=frozenset(step.name for step in steps if isinstance(step, ChangeCertificate)),
        hosts=any(isinstance(step, ServeHost) for step in steps),
        authorities="authorities" in replaced,
        revocation_lists="revocation lists" in replaced,
    )
