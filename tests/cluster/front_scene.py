"""A High Availability instance behind a load balancer: `wops line` twice, `wops fsb serve`, HAProxy.

Control has set it up and is gone, as when it is down. The instance's database is a SQLite file. Benchmarks use it, too.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from app.core.ids import InstanceId, LineId
from lb.front.front import Front
from lb.front.settings import FrontTimes
from lb.front.state import FrontInstance, FrontLine, FrontState, LineSet
from lb.haproxy_stats import ServerStatus
from tenancy.line_file import FRONT_SOCKET, write_instances, write_line
from tests.api.site import Instance
from tests.integration.app.line_site import LineSite, ServedLine
from tests.service.front_site import FrontSite, running_front
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Loss = Literal["kill", "freeze", "drain"]
"""How a line is lost: kill -9; SIGSTOP, until it goes on; an orderly end."""

NAME: Final = "acme"
_LINES: Final = (1, 2)
_CONNECTIONS: Final = 8
_SOON: Final = timedelta(seconds=60)
LENIENT: Final = FrontTimes(check_within=timedelta(seconds=2), server=_SOON)
"""Whoever is frozen is found out within five seconds; a machine so busy that a line answers late loses none."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FrontScene(Generic[T_co]):
    """All of it, running.

    Attributes:
        prepared: what was made before control went.
    """

    gateway: ServedGateway
    site: LineSite
    instance: Instance
    lines: dict[int, ServedLine]
    front_site: FrontSite
    front: Front
    state: FrontState
    prepared: T_co

    def wait_up(self, *numbers: int) -> None:
        """Until the load balancer gives requests to these lines, and to no other; none named: to all."""
        key = self.instance.instance_id
        wanted = {f"l{number}" for number in numbers or _LINES}

        def are_up() -> bool:
            servers = [each for each in self.front_site.runtime.show_stat(key).servers if each.backend == key]
            return {each.name for each in servers if each.status is ServerStatus.UP} == wanted

        wait_until(are_up, f"lines {sorted(wanted)} to be up", deadline=_SOON)

    @contextmanager
    def without(self, number: int, loss: Loss) -> Iterator[ServedLine]:
        """Lose a line and wait until the load balancer knows; it comes back when the block ends."""
        line = self.lines[number]
        lose, bring_back = _LOSSES[loss]
        self.wait_up()
        lose(line)
        try:
            # Who stands still in the middle of a transaction holds up all writers of a SQLite file: not what is asked.
            while loss == "freeze" and not self._is_writable():
                bring_back(line)
                lose(line)
            self.wait_up(*(each for each in self.lines if each != number))
            yield line
        finally:
            bring_back(line)
        self.wait_up()

    @contextmanager
    def served_by(self, number: int) -> Iterator[None]:
        """Until the block ends, only this line gets new requests."""
        lines = tuple(replace(each, in_service=each.number == number) for each in self._line_set.lines)
        line_set = replace(self._line_set, lines=lines)
        self.front.apply(replace(self.state, line_sets={line_set.key: line_set}))
        yield
        self.front.apply(self.state)

    def settle(self) -> None:
        """Until lines have finished whatever a lost one left, and have written down what they counted."""
        for line in self.lines.values():
            wait_until(
                partial(self._is_settled, line), f"{line.directory.name} to settle", deadline=2 * _SOON
            )

    def check_books(self) -> None:
        """End the lines, and have a platform of its own audit what they have written."""
        for line in self.lines.values():
            line.stop()
        with LineSite(self.site.folder, boxes=self.site.settings.boxes) as again:
            self.instance.site = again
            self.instance.check_books()

    @property
    def _line_set(self) -> LineSet:
        return self.state.line_sets[self.instance.instance_id]

    def _is_writable(self) -> bool:
        with closing(sqlite3.connect(self.instance.database, timeout=1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            connection.execute("ROLLBACK")
            return True

    def _is_settled(self, line: ServedLine) -> bool:
        settled = line.private.settle(InstanceId(self.instance.instance_id))
        return settled and not line.private.status(within=_SOON).open_transfers


def _drain(line: ServedLine) -> None:
    assert line.stop() == 0, "the line did not end by itself"


_LOSSES: Final[dict[Loss, tuple[Callable[[ServedLine], None], Callable[[ServedLine], None]]]] = {
    "kill": (ServedLine.kill, ServedLine.start),
    "freeze": (
        lambda line: os.kill(line.process.pid, signal.SIGSTOP),
        lambda line: os.kill(line.process.pid, signal.SIGCONT),
    ),
    "drain": (_drain, ServedLine.start),
}
"""What is done to a line, and what undoes it."""


@contextmanager
def running_front_scene(
    folder: Path, prepare: Callable[[Instance], T], *, times: FrontTimes | None = None, **settings: Any
) -> Iterator[FrontScene[T]]:
    """Set it up, prepare something with the instance, and leave it to its lines.

    Args:
        times: of the load balancer; production's without.
        settings: of the platform, and so of its lines.
    """
    with ExitStack() as stack:
        gateway = stack.enter_context(ServedGateway(folder / "gateway"))
        site = LineSite(folder / "site", boxes=f"unix:{gateway.data_dir}/boxes/gateway.sock", **settings)
        with site:
            instance = site.add_instance("high_availability", NAME)
            prepared = prepare(instance)
            front_site = stack.enter_context(running_front(times=times or FrontTimes()))
            lines = {number: _line(folder, site, instance, front_site, number) for number in _LINES}
        for line in lines.values():
            stack.enter_context(line)
        front, state = front_site.front, _state(front_site, instance, lines)
        front.apply(state)
        scene = FrontScene(
            gateway=gateway,
            site=site,
            instance=instance,
            lines=lines,
            front_site=front_site,
            front=front,
            state=state,
            prepared=prepared,
        )
        scene.wait_up()
        yield scene


def _line(folder: Path, site: LineSite, instance: Instance, front_site: FrontSite, number: int) -> ServedLine:
    name = LineId(f"{NAME}-{number}")
    directory = folder / "lines" / name
    directory.mkdir(mode=0o700, parents=True)
    check_every = front_site.settings.times.check_every.total_seconds()
    write_line(directory, replace(site.platform.line_file(name), check_interval_seconds=check_every))
    write_instances(directory, [site.listed_instance(instance)], connections=_CONNECTIONS)
    return ServedLine(directory)


def _state(front_site: FrontSite, instance: Instance, lines: dict[int, ServedLine]) -> FrontState:
    made = tuple(
        FrontLine(
            line_id=LineId(f"{NAME}-{number}"), number=number, address=f"unix@{line.directory / FRONT_SOCKET}"
        )
        for number, line in lines.items()
    )
    instance_id, key = InstanceId(instance.instance_id), instance.instance_id
    known = FrontInstance(instance_id=instance_id, name=NAME, line_set=key)
    return FrontState(
        line_sets={key: LineSet(key=key, lines=made)},
        instances={instance_id: known},
        default_pem=front_site.pem,
    )
