"""Keeps the parts of a cluster running, and ends them in order.

 up:    database ─► gateway (and a process per box) ─► HAProxy ×2 ─► control, which starts the lines and keeps HAProxy
 down:  control ─► HAProxy finishes what it has ─► lines drained ─► gateway and boxes ─► database

Everything outlives a supervisor that is killed, and the next one finds it. Lines are looked after by control, and go on
while there is none.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from app.cluster import mariadb
from app.cluster.address import require_free
from app.cluster.part import Part, PartPlan, SocketPart, find_listener, listener_of
from app.cluster.place import ClusterPlace
from app.cluster.program import require_program
from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.net import ApiSession, NetError
from app.front_part import front_settings
from app.gateway_process import CONTROL_SOCKET
from app.operations.guard import carry_on
from fsb_gateway.box import Process
from lb.front.front import Front
from lb.process import HaproxyProcess
from tenancy.line_file import LINES_DIRECTORY
from tenancy.runner.local import LocalRunner

DATABASE: Final = "database"
GATEWAY: Final = "gateway"
CONTROL: Final = "control"
_STARTS_WITHIN: Final = timedelta(seconds=60)
"""Ten times what a part takes on an idle machine. Our own decision."""
_MOST_ATTEMPTS: Final = 5
"""Who ends so often by itself before it serves, within three seconds, will not serve. Our own decision."""
_LOOK_EVERY_SECONDS: Final = 0.1
_DRAINS_WITHIN: Final = timedelta(seconds=40)
"""As long as a line may finish what it has (`app.line_process`)."""
_STOPS_WITHIN: Final = timedelta(seconds=60)
"""Longer than control and the gateway may take for what is under way. Our own decision."""
_PROGRAM: Final = (sys.executable, "-P", "-m", "app.cli")

Tell = Callable[[str], None]


class PartNotStarted(DomainError):
    """A part of the cluster does not serve in time, or ends again and again."""

    code = "part_not_started"


class PartNotEnded(DomainError):
    """A part of the cluster does not end in time."""

    code = "part_not_ended"


class PartSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor knows of a part."""

    pid: int | None
    restarts: int


class _ToldToEnd(Exception):
    """Whoever waits for a part need not wait any longer."""


class Supervisor:
    """One cluster, from `start` to `stop`. For one event loop.

    Args:
        place: the caller holds it (`app.cluster.place.held`).
        tell: told what is being done, for people who wait.
    """

    def __init__(self, place: ClusterPlace, *, clock: Clock, tell: Tell) -> None:
        self._place = place
        self._clock = clock
        self._tell = tell
        self._settings = place.settings
        self._fronts = {each.name: each for each in front_settings(self._settings)}
        self._parts: dict[str, Part] = {}
        self._server: asyncio.Server | None = None
        self._is_ending = False
        self.told_to_end = asyncio.Event()

    def check(self) -> None:
        """Refuse what could not be started; nothing is touched. Blocking.

        Raises:
            ProgramMissing: a program is not installed.
            AddressNotFree: another process listens where a part that does not run yet is to listen.
        """
        for program in (*mariadb.NEEDED, self._settings.haproxy):
            require_program(program)
        for part, address, path, remedy in self._addresses():
            if listener_of(path) is None:
                require_free(address, part=part, remedy=remedy)

    def _addresses(self) -> Iterator[tuple[str, str, Path, str]]:
        """Who is to listen where, the socket by which it is known that it does so already, and what helps if not."""
        place, end_it = self._place, "End that process, or"
        database = f"127.0.0.1:{place.memory.database_port}"
        yield DATABASE, database, mariadb.socket_of(place), "End that process."
        control = f"127.0.0.1:{place.memory.control_port}"
        yield CONTROL, control, self._settings.control_socket, f"{end_it} give another port by --port."
        for name, front in self._fronts.items():
            peers = (each.address for each in front.peers if each.name == name)
            for address in (*(each.address for each in front.binds), front.health, *peers):
                yield name, address, front.master_socket, f"{end_it} give other addresses by --fronts."

    async def start(self) -> None:
        """Have everything run; what runs already is taken over. Returns early when told to end.

        Raises:
            DatabaseNotMade, PartNotStarted: see the part's log; what runs goes on until `stop`.
        """
        with suppress(_ToldToEnd):
            await self._listen()
            await self._start_database()
            await self._start_gateway()
            for name in self._fronts:
                await self._start_front(name)
            await self._start_control()

    async def stop(self) -> None:
        """End everything in order, also what a supervisor that was killed has left running; safe to repeat.

        What does not end is logged, and the rest is ended all the same.
        """
        self._is_ending = True
        with carry_on("part_not_ended", part=CONTROL):
            await self._end(CONTROL, self._settings.control_socket)
        await asyncio.gather(*(self._end_front(name) for name in self._fronts))
        with carry_on("lines_not_ended"):
            await self._drain_lines()
        with carry_on("part_not_ended", part=GATEWAY):
            await self._end_gateway()
        with carry_on("part_not_ended", part=DATABASE):
            await self._end(DATABASE, mariadb.socket_of(self._place))
        self._close()

    def seen(self) -> Mapping[str, PartSeen]:
        """The parts that are looked after here."""
        return {name: PartSeen(pid=part.pid, restarts=part.restarts) for name, part in self._parts.items()}

    @property
    def _gateway_socket(self) -> Path:
        return self._settings.box_dir / CONTROL_SOCKET

    async def _start_database(self) -> None:
        place = self._place
        if not mariadb.is_made(place):
            await self._make_database()
        command = await to_thread.run_sync(mariadb.run_command, place)
        await self._start_part(DATABASE, command, mariadb.socket_of(place))

    async def _make_database(self) -> None:
        place, log = self._place, self._place.log_file("database-install")
        self._tell("making the data directory of the database server")
        attempt = await to_thread.run_sync(mariadb.new_data, place)
        status = await Process.start(mariadb.make_command(place, attempt), log_file=log).ended()
        if status != 0:
            raise mariadb.DatabaseNotMade(
                f"The database server's data directory could not be made (status {status}); see {log}."
            )
        await to_thread.run_sync(mariadb.note_made, place, attempt)
        self._heed()

    async def _start_gateway(self) -> None:
        place = self._place
        where = ("--data-dir", str(place.data_dir), "--log-level", place.log_level)
        await self._start_part(GATEWAY, (*_PROGRAM, "fsb", "serve", *where), self._gateway_socket)

    async def _start_front(self, name: str) -> None:
        """It is not waited for: what it listens at may have changed, and only control tells it."""
        settings = self._fronts[name]
        await to_thread.run_sync(Front(settings, clock=self._clock).prepare)
        self._parts[name] = part = HaproxyProcess(
            settings, clock=self._clock, log_file=self._place.log_file(name)
        )
        await part.start()

    async def _start_control(self) -> None:
        place = self._place
        where = ("--data-dir", str(place.data_dir), "--log-level", place.log_level)
        command = (*_PROGRAM, "cluster", "control", *where)
        await self._start_part(CONTROL, command, self._settings.control_socket, is_ready=self._is_ready)

    async def _start_part(
        self,
        name: str,
        command: Sequence[str],
        path: Path,
        *,
        is_ready: Callable[[], bool] | None = None,
    ) -> None:
        self._tell(f"starting {name}")
        plan = PartPlan(name=name, command=command, socket=path, log_file=self._place.log_file(name))
        self._parts[name] = part = SocketPart(plan, clock=self._clock)
        await part.start()

        async def serves() -> bool:
            if is_ready is not None:
                return await to_thread.run_sync(is_ready)
            return await to_thread.run_sync(listener_of, path) is not None

        await self._until(serves, name)

    async def _until(self, condition: Callable[[], Awaitable[bool]], name: str) -> None:
        end = self._clock.monotonic() + _STARTS_WITHIN.total_seconds()
        log = self._place.log_file(name)
        while not await condition():
            self._heed()
            if self._parts[name].restarts >= _MOST_ATTEMPTS:
                raise PartNotStarted(f"{name} ends again and again; see {log}.", part=name)
            if self._clock.monotonic() > end:
                seconds = _STARTS_WITHIN.seconds
                raise PartNotStarted(f"{name} does not serve within {seconds} s; see {log}.", part=name)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        self._heed()

    def _heed(self) -> None:
        """Start nothing more once told to end; but for what is started in order to end it."""
        if self.told_to_end.is_set() and not self._is_ending:
            raise _ToldToEnd

    def _is_ready(self) -> bool:
        try:
            with ApiSession("http://control", socket=self._settings.control_socket, timeout_seconds=2) as api:
                return api.get("/readyz").status == 200
        except (NetError, OSError):
            return False

    async def _end(self, name: str, path: Path) -> None:
        part = self._parts.pop(name, None)
        if part is not None:
            self._tell(f"ending {name}")
            await part.stop(within=_STOPS_WITHIN)
        # What nobody looks after any more; or the first one, if one that did not listen yet was started twice.
        while (left := await find_listener(path)) is not None:
            self._tell(f"ending {name}, which nobody looks after")
            await left.stop(_STOPS_WITHIN)

    async def _end_gateway(self) -> None:
        """With its boxes: one that is gone may have left some, and the next one takes them along when it ends."""
        has_boxes = await to_thread.run_sync(self._has_boxes)
        listener = await to_thread.run_sync(listener_of, self._gateway_socket)
        if has_boxes and listener is None and GATEWAY not in self._parts:
            # It is waited for: as long as it starts it does not hear that it is to end, and would leave them.
            await self._start_gateway()
        await self._end(GATEWAY, self._gateway_socket)

    def _has_boxes(self) -> bool:
        found = (self._settings.box_dir / "run").glob("*.sock")
        return any(listener_of(each) is not None for each in found)

    async def _end_front(self, name: str) -> None:
        settings = self._fronts[name]
        with carry_on("part_not_ended", part=name):
            part = self._parts.get(name)
            if part is None and await to_thread.run_sync(listener_of, settings.master_socket) is not None:
                part = HaproxyProcess(settings, clock=self._clock)
                self._parts[name] = part
                await part.start()
                await self._until(lambda: _has_pid(part), name)
            if part is not None:
                self._tell(f"ending {name}")
                await part.stop(within=_STOPS_WITHIN)
                del self._parts[name]

    async def _drain_lines(self) -> None:
        """Whatever lines run, those too that control has only just started; nobody looks after them any more."""
        root = self._place.data_dir / LINES_DIRECTORY
        end, is_told = self._clock.monotonic() + _STARTS_WITHIN.total_seconds(), False
        while True:
            await self._drain_listening(root)
            left = await to_thread.run_sync(_line_processes, root)
            if not left:
                return
            if self._clock.monotonic() > end:
                raise PartNotEnded(f"Processes of lines do not end: {left}.")
            if not is_told:
                self._tell("waiting for lines that have only just been started")
                is_told = True
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _drain_listening(self, root: Path) -> None:
        runner = LocalRunner(root, clock=self._clock)
        seen = await runner.observe()
        if seen:
            self._tell("draining lines")
        await asyncio.gather(*(runner.drain(line_id, within=_DRAINS_WITHIN) for line_id in seen))
        await runner.close()

    async def _listen(self) -> None:
        path = self._place.supervisor_socket
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path)
        path.chmod(0o600)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # ValueError: a line without end.
        with suppress(OSError, TimeoutError, ValueError):
            asked = await asyncio.wait_for(reader.readline(), 2)
            if asked == b"down\n":
                self.told_to_end.set()
            writer.write(msgspec.json.encode(self.seen()))
            await writer.drain()
        writer.close()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._place.supervisor_socket.unlink(missing_ok=True)


async def _has_pid(part: Part) -> bool:
    return part.pid is not None


def _line_processes(root: Path) -> list[int]:
    """The numbers of processes of lines, for people and to be waited for; never to be signalled. Blocking.

    One that has only just been started listens nowhere yet.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().rstrip(b"\0").split(b"\0")
            if words[-2:-1] == [b"line"] and Path(os.fsdecode(words[-1])).parent == root:
                found.append(int(path.parent.name))
    return found
