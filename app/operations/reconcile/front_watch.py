"""What load balancers say of lines, and what is seen of load balancers themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeVar

from anyio import to_thread

from app.core.net import ApiSession, NetError, NetRejected
from app.operations.front.keeper import FrontsReport
from app.operations.front.kept_front import FrontReport
from app.operations.reconcile.observation import Evidence, Observation, Subject, Verdict
from lb.errors import HaproxyError
from lb.front.settings import FrontSettings
from lb.haproxy_stats import MasterSocket, OperationalState, RuntimeSocket, ServerState

_log = logging.getLogger(__name__)

_WITHIN: Final = timedelta(seconds=1)
"""A worker answers within milliseconds; one that hangs must not hold the healer up. Our own decision."""
_ALL_WITHIN: Final = timedelta(seconds=2.5)
"""Everything that is asked of one: its socket, then, side by side, its health address and its master."""
_T = TypeVar("_T")
_Lines = Mapping[tuple[str, int], Evidence]
"""By key of the line set and number of the line."""
_NO_ANSWER: Final = "haproxy_unavailable"
_GROUP: Final = "fronts"
_CONFIG_GROUP: Final = "config"

_SAYS: Final[Mapping[OperationalState, Verdict]] = {
    OperationalState.STOPPED: "bad",
    OperationalState.STOPPING: "bad",
    OperationalState.STARTING: "ok",
    OperationalState.RUNNING: "ok",
}
"""By its own health check; `stopping`: the line answers, and says that it is not ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontView:
    """What one load balancer says.

    Attributes:
        lines: by key of the line set and number of the line; None: it does not answer.
    """

    name: str
    lines: _Lines | None = None
    observation: Observation
    others: tuple[Observation, ...] = field(default=())


class FrontWatch:
    """Used from one event loop.

    Args:
        fronts: the load balancers.
        report: whether each is what it is to be.
        all_within: how long each is asked.
    """

    def __init__(
        self,
        fronts: Sequence[FrontSettings],
        report: Callable[[], FrontsReport],
        *,
        all_within: timedelta = _ALL_WITHIN,
    ) -> None:
        self._fronts = tuple(fronts)
        self._report = report
        self._all_within = all_within

    @property
    def has_parts(self) -> bool:
        """Whether there is a load balancer."""
        return bool(self._fronts)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """Load balancers and what they are to be, as parts of the fleet."""
        return tuple(make(each.name) for each in self._fronts for make in (_front_subject, _config_subject))

    async def look(self) -> tuple[FrontView, ...]:
        """Ask all of them at once."""
        reports = {each.name: each for each in self._report().fronts}
        asked = (_see(each, reports.get(each.name), self._all_within) for each in self._fronts)
        return tuple(await asyncio.gather(*asked))


def _front_subject(name: str) -> Subject:
    return Subject(kind="front", name=name, group=_GROUP)


def _config_subject(name: str) -> Subject:
    return Subject(kind="config", name=name, group=_CONFIG_GROUP)


async def _see(settings: FrontSettings, report: FrontReport | None, within: timedelta) -> FrontView:
    lines = None
    try:
        async with asyncio.timeout(within.total_seconds()):
            evidence, lines = await _ask(settings)
    except TimeoutError:
        evidence = (Evidence(witness="runtime", verdict="unknown", detail="not_in_time"),)
    except Exception:
        # A defect of ours says nothing of the load balancer, and must not hide all other parts.
        _log.exception("front_not_seen", extra={"front": settings.name})
        evidence = (Evidence(witness="runtime", verdict="unknown", detail="internal_error"),)
    return FrontView(
        name=settings.name,
        lines=lines,
        observation=Observation(subject=_front_subject(settings.name), evidence=evidence),
        others=() if report is None else (_observe_config(report),),
    )


async def _ask(settings: FrontSettings) -> tuple[tuple[Evidence, ...], _Lines | None]:
    runtime, lines = await _in_thread(_ask_runtime, settings)
    if lines is not None:
        return (runtime,), lines
    others = await asyncio.gather(_in_thread(_ask_health, settings), _in_thread(_ask_master, settings))
    return (runtime, *others), None


async def _in_thread(ask: Callable[[FrontSettings], _T], settings: FrontSettings) -> _T:
    return await to_thread.run_sync(ask, settings, abandon_on_cancel=True)


def _ask_runtime(settings: FrontSettings) -> tuple[Evidence, _Lines | None]:
    try:
        found = RuntimeSocket(settings.runtime_socket, timeout=_WITHIN).show_servers_state()
    except HaproxyError as error:
        return Evidence(witness="runtime", verdict="bad", detail=error.code), None
    lines = {
        (each.backend, int(each.name[1:])): _says(settings.name, each)
        for each in found
        if each.name[:1] == "l" and each.name[1:].isdecimal()
    }
    return Evidence(witness="runtime", verdict="ok"), lines


def _says(name: str, server: ServerState) -> Evidence:
    state = server.operational
    verdict = "unknown" if server.admin.is_maint else _SAYS[state]
    return Evidence(witness=name, verdict=verdict, detail=state.name.lower())


def _ask_health(settings: FrontSettings) -> Evidence:
    """Whether the worker answers callers; asked only if its socket does not."""
    address = f"http://{settings.health.replace('*', '127.0.0.1')}"
    try:
        with ApiSession(address, timeout_seconds=_WITHIN.total_seconds()) as session:
            session.get("/livez")
    except NetRejected as error:
        return Evidence(witness="health", verdict="ok", detail=str(error.status))
    except NetError as error:
        return Evidence(witness="health", verdict="bad", detail=error.code)
    return Evidence(witness="health", verdict="ok")


def _ask_master(settings: FrontSettings) -> Evidence:
    try:
        found = MasterSocket(settings.master_socket, timeout=_WITHIN).show_proc()
    except HaproxyError as error:
        return Evidence(witness="master", verdict="bad", detail=error.code)
    if found.workers:
        # The master only knows that they live.
        return Evidence(witness="master", verdict="unknown", detail=f"{len(found.workers)} workers")
    return Evidence(witness="master", verdict="bad", detail="no worker")


def _observe_config(report: FrontReport) -> Observation:
    """Whether a load balancer is what it is to be; its keeper tries again and again, and is the only one who knows."""
    verdict: Verdict = "unknown"
    if report.in_step:
        verdict = "ok"
    elif report.problem is not None and report.problem != _NO_ANSWER:
        verdict = "bad"
    return Observation(
        subject=_config_subject(report.name),
        evidence=(Evidence(witness="keeper", verdict=verdict, detail=report.problem or ""),),
        witnesses=1,
        is_healing=True,
    )
