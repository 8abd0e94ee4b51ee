"""A front that is brought to a state, and how it is.

    apply ─► does HAProxy load what is new of certificates? no: nothing has changed
          ─► what runs? ─► plan ─┬─ nothing ──────────────────────────────────────────────► done
                                 ├─ steps ─► release in force ─► steps ─► read back ──────► done
                                 │                                 └─ refused ─► reload, else the former release
                                 └─ reload ─► haproxy -c ─► release in force ─► reload ─► smoke ─► read back ─► done
                                                 └─ refused: nothing has changed  └─ failed: the former release again

Whoever is killed anywhere leaves behind what the next one finds out: what runs is read back unless this object itself
has brought the very same worker to the very release that is in force.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from app.core.clock import Clock
from app.core.lock import locked
from lb.errors import HaproxyRejected, HaproxyUnavailable
from lb.front.applier import Applier
from lb.front.candidate import check_certificates
from lb.front.certificate_file import FOLDER
from lb.front.error import FrontBusy
from lb.front.model import RELEASE, FrontFiles, FrontModel, digest_of
from lb.front.placeholder import placeholder_pem
from lb.front.plan import Plan, make_plan
from lb.front.release import CONFIGURATION, Release, Releases
from lb.front.render import render
from lb.front.runtime import RuntimeReader, differences
from lb.front.settings import FrontSettings
from lb.front.state import FrontState
from lb.haproxy_stats import Info, OperationalState, RuntimeSocket

_TAKES = frozenset({OperationalState.STARTING, OperationalState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of applying a state.

    Attributes:
        release: number of the one in force.
        changed: False: everything was as it should be already.
        reloaded: HAProxy has read everything again; `escalated` says why, where a plan of steps did not suffice.
        seconds: how long it took.
    """

    plan: Plan
    release: int
    changed: bool
    reloaded: bool
    seconds: float
    escalated: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontStatus:
    """How a front is.

    Attributes:
        running: a worker answers.
        agrees: it is what the release in force says; else `differences` tell where not, for people.
        lines: by backend, how many lines can be given requests, and how many there are.
    """

    running: bool
    agrees: bool
    release: int | None
    worker_pid: int | None
    differences: tuple[str, ...]
    lines: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A worker that this object has brought to a release."""

    worker_pid: int
    release: int
    model: FrontModel


class Front:
    """One load balancer's files, and the HAProxy that runs with them. Blocking; threads may share it."""

    def __init__(self, settings: FrontSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._releases = Releases(settings)
        self._runtime = RuntimeSocket(settings.runtime_socket)
        self._reader = RuntimeReader(settings, self._runtime)
        self._applier = Applier(settings, self._releases, clock=clock)
        self._known: _Known | None = None
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._asked = 0
        self._newest: FrontState | None = None
        self._done: tuple[int, Applied] | None = None

    def prepare(self) -> None:
        """Make the directory and, unless there is one, a release with which HAProxy can start; it serves nobody.

        Raises:
            FrontBusy: somebody else is at it.
            FrontDiskFailed: it cannot be written.
        """
        self._releases.prepare()
        with self._turn, self._alone():
            if self._releases.current() is None:
                state = FrontState(line_sets={}, instances={}, default_pem=placeholder_pem(self._clock))
                release = self._releases.write(render(state, self._settings), None, base=None)
                self._releases.put_in_force(release)

    def plan(self, state: FrontState) -> Plan:
        """What `apply` would do; nothing is touched.

        Raises:
            FrontStateUnfit: a value of the state has a form that no file can hold.
        """
        current = self._releases.current()
        applied = self._applied(self._info(), current)
        return make_plan(applied, self._render(state, current).model)

    def apply(self, state: FrontState) -> Applied:
        """Bring files and HAProxy to a state. The same again changes nothing.

        Threads that come while another one is at it wait, and the newest state is applied once for all of them.

        Raises:
            FrontStateUnfit: a value of the state has a form that no file can hold; nothing was touched.
            FrontCertificateUnfit: HAProxy does not load a certificate, which is named; what ran before runs.
            FrontRefused, FrontNotReloaded: HAProxy does not take it; what ran before runs.
            FrontDiskFailed: the files cannot be written; nothing has changed.
            FrontBusy: another process is at it.
            HaproxyUnavailable: HAProxy does not answer; the files are up to date, the rest is done by the next call.
            HaproxyError: HAProxy's answers were not understood; the next call finds out where it stands.
        """
        with self._counting:
            self._asked += 1
            mine = self._asked
            self._newest = state
        with self._turn:
            if self._done is not None and self._done[0] >= mine:
                return self._done[1]
            number, newest = self._take_newest(state)
            applied = self._apply(newest)
            self._done = (number, applied)
            return applied

    def _take_newest(self, state: FrontState) -> tuple[int, FrontState]:
        """The newest state that anybody has asked for, and which request that was."""
        with self._counting:
            return self._asked, state if self._newest is None else self._newest

    def status(self) -> FrontStatus:
        """How it is; everything is read back.

        Raises:
            HaproxyError: HAProxy answers, and not so that it is understood.
        """
        current, info = self._releases.current(), self._info()
        if info is None or current is None:
            number = None if current is None else current.number
            return FrontStatus(
                running=False, agrees=False, release=number, worker_pid=None, differences=(), lines={}
            )
        found = self._differences(current)
        if found:
            self._known = None
        return FrontStatus(
            running=True,
            agrees=not found,
            release=current.number,
            worker_pid=info.pid,
            differences=found,
            lines=self._lines(),
        )

    def _apply(self, state: FrontState) -> Applied:
        began = self._clock.monotonic()
        self._releases.prepare()
        with self._alone():
            current, info = self._releases.current(), self._info()
            files = self._render(state, current)
            check_certificates(self._settings, _new_certificates(files, current))
            if info is None:
                return self._without_haproxy(files, current)
            known, self._known = self._applied(info, current), None
            plan = make_plan(known, files.model)
            release, escalated = current, None
            if release is None or plan.reload is not None:
                release = self._reload(state, current, is_mixed=False)
            elif plan.steps or not _holds(release, files):
                release, escalated = self._applier.by_steps(files, plan, release)
                if escalated is not None:
                    release = self._reload(state, current, is_mixed=True)
            self._remember(release)
        return Applied(
            plan=plan,
            release=release.number,
            changed=release != current,
            reloaded=plan.reload is not None or escalated is not None,
            seconds=self._clock.monotonic() - began,
            escalated=escalated,
        )

    def _without_haproxy(self, files: FrontFiles, current: Release | None) -> Applied:
        self._known = None
        if current is None or not _holds(current, files):
            self._applier.by_files(files, current)
        raise HaproxyUnavailable(
            "HAProxy does not answer; its files are up to date.", front=self._settings.name
        )

    def _reload(self, state: FrontState, current: Release | None, *, is_mixed: bool) -> Release:
        former = None if current is None else current.model
        files = render(state, self._settings, former=former, anew=True)
        return self._applier.by_reload(files, current, is_mixed=is_mixed)

    def _render(self, state: FrontState, current: Release | None) -> FrontFiles:
        return render(state, self._settings, former=None if current is None else current.model)

    def _applied(self, info: Info | None, current: Release | None) -> FrontModel | None:
        """What the worker has; None: nobody knows, or it cannot become the release in force without a reload."""
        if info is None or current is None or not self._may_agree(current):
            return None
        known = self._known
        if known is not None and (known.worker_pid, known.release) == (info.pid, current.number):
            return known.model
        try:
            return self._reader.read(current)
        except HaproxyRejected:
            # It lacks something that the release has.
            return None

    def _may_agree(self, current: Release) -> bool:
        """Whether the worker has read a release from which steps lead to the one in force."""
        return current.base <= self._reader.loaded() <= current.number and not self._releases.is_unsettled

    def _differences(self, current: Release) -> tuple[str, ...]:
        if not self._may_agree(current):
            return ("it runs with another configuration",)
        try:
            return differences(self._reader.read(current), current.model)
        except HaproxyRejected as error:
            return (error.message,)

    def _info(self) -> Info | None:
        try:
            return self._runtime.show_info()
        except HaproxyUnavailable:
            return None

    def _remember(self, release: Release) -> None:
        info = self._runtime.show_info()
        self._known = _Known(worker_pid=info.pid, release=release.number, model=release.model)

    def _lines(self) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for server in self._runtime.show_servers_state():
            up, all_ = found.get(server.backend, (0, 0))
            takes = server.operational in _TAKES and server.user_weight > 0 and not server.admin.is_maint
            found[server.backend] = (up + takes, all_ + 1)
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes away.

        Raises:
            FrontBusy: one is at it.
        """
        try:
            with locked(self._settings.directory):
                yield
        except BlockingIOError as error:
            raise FrontBusy("Another process is changing this load balancer at the moment.") from error


def _new_certificates(files: FrontFiles, current: Release | None) -> dict[str, str]:
    """Texts of those that no release in force has had, by name."""
    known = frozenset() if current is None else frozenset(current.model.certificates.values())
    return {
        name: files.files[f"{FOLDER}/{name}"]
        for name, digest in files.model.certificates.items()
        if digest not in known
    }


def _holds(release: Release, files: FrontFiles) -> bool:
    """Whether a release has these very files."""
    contents = {**files.files, CONFIGURATION: files.configuration.replace(RELEASE, str(release.number))}
    return release.files == {name: digest_of(content) for name, content in contents.items()}
