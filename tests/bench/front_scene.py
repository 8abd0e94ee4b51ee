"""A High Availability instance behind a load balancer: `wops line` twice, `wops fsb serve`, HAProxy.

Control has set it up and is gone, as when it is down. The instance's database is a SQLite file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic, TypeVar

from app.core.ids import InstanceId, LineId
from app.core.logging import configure_logging
from lb.front.front import Front
from lb.front.state import FrontInstance, FrontLine, FrontState, LineSet
from lb.haproxy_stats import ServerStatus
from tenancy.line_file import FRONT_SOCKET, write_instances, write_line
from tests.api.site import Instance
from tests.integration.app.line_site import LineSite, ServedLine
from tests.service.front_site import FrontSite, running_front
from tests.service.gateway import ServedGateway
from tests.service.wait import wait_until

T = TypeVar("T")

NAME: Final = "acme"
_LINES: Final = (1, 2)
_CONNECTIONS: Final = 8


@dataclass(frozen=True, kw_only=True)
class FrontScene(Generic[T]):
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
    prepared: T

    def wait_up(self, numbers: tuple[int, ...] = _LINES) -> None:
        """Until the load balancer gives requests to these lines, and to no other."""
        key = self.instance.instance_id
        wanted = {f"l{number}" for number in numbers}

        def are_up() -> bool:
            servers = [each for each in self.front_site.runtime.show_stat(key).servers if each.backend == key]
            return {each.name for each in servers if each.status is ServerStatus.UP} == wanted

        wait_until(are_up, f"lines {numbers} to be up")


@contextmanager
def running_front_scene(folder: Path, prepare: Callable[[Instance], T]) -> Iterator[FrontScene[T]]:
    """Set it up, prepare something with the instance, and leave it to its lines."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("w", encoding="utf-8"))
        configure_logging("INFO", stream=log)
        # Whatever is written to standard error afterwards is the benchmark's.
        stack.callback(configure_logging, "WARNING")
        gateway = stack.enter_context(ServedGateway(folder / "gateway"))
        site = LineSite(folder / "site", boxes=f"unix:{gateway.data_dir}/boxes/gateway.sock")
        with site:
            instance = site.add_instance("high_availability", NAME)
            prepared = prepare(instance)
            front_site = stack.enter_context(running_front(log="none"))
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
