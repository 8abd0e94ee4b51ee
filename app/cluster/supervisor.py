"""Keeps the parts of a cluster running, and ends them in order.

 up:    database ─► gateway (and a process per box) ─► HAProxy ×2 ─► control, which starts the lines and keeps HAProxy
 down:  control ─► HAProxy finishes what it has ─► lines drained ─► gateway ─► boxes ─► database

Everything outlives a supervisor that is killed, and the next one finds it. Lines are looked after by control, and go on
while there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from anyio import to_thread

from app.cluster import mariadb
from app.cluster.address import require_free
from app.cluster.part import PartSign, end_running, find_part, listener_of, supervised_part
from app.cluster.place import ClusterPlace
from app.cluster.sign import control_sign, database_sign, gateway_sign, is_box, is_line
from app.core.clock import Clock
from app.core.errors import DomainError
from app.core.net import ApiSession, NetError
from app.core.process import WOPS, Manner, Process, Supervised
from app.core.process_identity import running
from app.front_part import front_settings
from app.operations.guard import carry_on
from lb.front.front import Front
from lb.process import find_haproxy, haproxy_processes, supervised_haproxy
from tenancy.line_file import LINES_DIRECTORY
from tenancy.runner.local import LocalRunner

DATABASE: Final = "database"
GATEWAY: Final = "gateway"
CONTROL: Final = "control"
_STARTS_WITHIN: Final = timedelta(seconds=60)
"""Ten times what a part takes on an idle machine. Our own decision."""
_RECOVERS_WITHIN: Final = timedelta(minutes=15)
"""A database server that was killed reads its log again before it listens, and would begin anew if it were ended."""
_MADE_WITHIN: Final = timedelta(minutes=3)
"""Thirty times what it takes on an idle machine. Our own decision."""
_TELL_EVERY: Final = timedelta(seconds=5)
_MOST_ATTEMPTS: Final = 5
"""Who ends so often by itself before it serves, within three seconds, will not serve. Our own decision."""
_LOOK_EVERY_SECONDS: Final = 0.1
_DRAINS_WITHIN: Final = timedelta(seconds=40)
"""As long as a line may finish what it has (`app.line_process`)."""
_STOPS_WITHIN: Final = timedelta(seconds=60)
"""Longer than control and the gateway may take for what is under way. Our own decision."""
_BOX_STOPS_WITHIN: Final = timedelta(seconds=10)
"""As `app.core.process` gives them."""

Tell = Callable[[str], None]
Left = Mapping[str, Sequence[int]]
"""What still runs: the numbers of its processes, by the part."""


class PartNotStarted(DomainError):
    """A part of the cluster does not serve in time, or ends again and again."""

    code = "part_not_started"


class PartNotEnded(DomainError):
    """Parts of the cluster still run though everything was to end."""

    code = "part_not_ended"


def require_ended(left: Left) -> None:
    """Refuse to call it ended as long as parts run.

    Raises:
        PartNotEnded: it names them, with the numbers of their processes.
    """
    if left:
        named = "; ".join(f"{name}: process {', '.join(map(str, numbers))}" for name, numbers in left.items())
        raise PartNotEnded(f"Still running: {named}. End what hangs, then run `wops cluster down` again.")


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
        self._parts: dict[str, Supervised] = {}
        self._server: asyncio.Server | None = None
        self.told_to_end = asyncio.Event()

    def check(self) -> None:
        """Refuse what could not be started; nothing is touched. Blocking.

        Raises:
            AddressNotFree: another process listens where a part that does not run yet is to listen.
            DatabaseNotMade: there is no room for a new database.
        """
        mariadb.require_room(self._place)
        for part, address, path, remedy in self._addresses():
            if listener_of(path) is None:
                require_free(address, part=part, remedy=remedy)

    def _addresses(self) -> Iterator[tuple[str, str, Path, str]]:
        """Who is to listen where, the socket by which it is known that it does so already, and what helps if not."""
        place, end_it = self._place, "End that process, or"
        database = f"127.0.0.1:{place.memory.database_port}"
        yield DATABASE, database, place.database_socket, "End that process."
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

    async def stop(self) -> Left:
        """End everything in order, also what a supervisor that was killed has left running; safe to repeat.

        What goes wrong is logged. What lines need stays as long as there are any.

        Returns:
            The parts that still run, each with the numbers of its processes, for people; empty if all have ended.
        """
        with carry_on("part_not_ended", part=CONTROL):
            await self._end(CONTROL, control_sign(self._place))
        await asyncio.gather(*(self._end_front(name) for name in self._fronts))
        with carry_on("lines_not_ended"):
            await self._drain_lines()
        if not await self._lines():
            await self._end_beneath_lines()
        self._close()
        return await to_thread.run_sync(self._left)

    async def _end_beneath_lines(self) -> None:
        with carry_on("part_not_ended", part=GATEWAY):
            await self._end(GATEWAY, gateway_sign(self._place))
        with carry_on("boxes_not_ended"):
            await self._end_boxes()
        with carry_on("part_not_ended", part=DATABASE):
            await self._end_makers()
            await self._end(DATABASE, database_sign(self._place))

    async def _lines(self) -> list[int]:
        return await to_thread.run_sync(running, partial(is_line, self._place))

    def _left(self) -> Left:
        """Looked for anew: whatever went wrong, it is what there is."""
        place = self._place
        found = {
            CONTROL: control_sign(place).processes(),
            **{name: haproxy_processes(front) for name, front in self._fronts.items()},
            "lines": running(partial(is_line, place)),
            GATEWAY: gateway_sign(place).processes(),
            "boxes": running(partial(is_box, place)),
            DATABASE: [*running(partial(mariadb.is_maker, place)), *database_sign(place).processes()],
        }
        return {name: numbers for name, numbers in found.items() if numbers}

    def seen(self) -> Mapping[str, PartSeen]:
        """The parts that are looked after here."""
        return {name: PartSeen(pid=part.pid, restarts=part.restarts) for name, part in self._parts.items()}

    async def _start_database(self) -> None:
        place = self._place
        if not mariadb.is_made(place):
            await self._make_database()
        command = await to_thread.run_sync(mariadb.run_command, place)
        await self._start_part(DATABASE, command, database_sign(place), within=_RECOVERS_WITHIN)

    async def _make_database(self) -> None:
        place, log = self._place, self._place.log_file("database-install")
        await self._end_makers()
        self._tell("making the data directory of the database server")
        attempt = await to_thread.run_sync(mariadb.new_data, place)
        manner = Manner(log_file=log, keeps_output=True, ends_group=True)
        try:
            status = await self._unless_told(Process.start(mariadb.make_command(place, attempt), manner))
            if status != 0:
                raise mariadb.DatabaseNotMade(
                    f"The database server's data directory could not be made (status {status}); see {log}."
                )
            await to_thread.run_sync(mariadb.note_made, place, attempt)
        finally:
            await to_thread.run_sync(mariadb.remove_attempts, place)
        self._heed()

    async def _unless_told(self, process: Process) -> int | None:
        """Its exit status; it is ended when everything is to end, or when it takes too long."""
        waits = [asyncio.create_task(each) for each in (process.ended(), self.told_to_end.wait())]
        within = _MADE_WITHIN.total_seconds()
        done, _ = await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if not done or self.told_to_end.is_set():
            await process.stop(_BOX_STOPS_WITHIN)
        self._heed()
        return await process.ended()

    async def _end_makers(self) -> None:
        """A supervisor that was killed may have left somebody who still makes a data directory that nobody wants."""
        await end_running(partial(mariadb.is_maker, self._place), within=_BOX_STOPS_WITHIN)

    async def _start_gateway(self) -> None:
        await self._start_part(GATEWAY, self._command("fsb", "serve"), gateway_sign(self._place))

    async def _start_front(self, name: str) -> None:
        """It is not waited for: what it listens at may have changed, and only control tells it."""
        settings = self._fronts[name]
        await to_thread.run_sync(Front(settings, clock=self._clock).prepare)
        self._parts[name] = part = supervised_haproxy(
            settings, clock=self._clock, log_file=self._place.log_file(name)
        )
        part.start()

    async def _start_control(self) -> None:
        command = self._command("cluster", "control")
        await self._start_part(CONTROL, command, control_sign(self._place), is_ready=self._is_ready)

    def _command(self, *words: str) -> Sequence[str]:
        place = self._place
        return (*WOPS, *words, "--data-dir", str(place.data_dir), "--log-level", place.log_level)

    async def _start_part(
        self,
        name: str,
        command: Sequence[str],
        sign: PartSign,
        *,
        is_ready: Callable[[], bool] | None = None,
        within: timedelta = _STARTS_WITHIN,
    ) -> None:
        self._tell(f"starting {name}")
        log = self._place.log_file(name)
        self._parts[name] = part = supervised_part(name, command, sign, clock=self._clock, log_file=log)
        part.start()

        async def serves() -> bool:
            if is_ready is not None:
                return await to_thread.run_sync(is_ready)
            return await to_thread.run_sync(listener_of, sign.socket) is not None

        await self._until(serves, name, within=within)

    async def _until(self, condition: Callable[[], Awaitable[bool]], name: str, *, within: timedelta) -> None:
        began, told = self._clock.monotonic(), 0
        part, log = self._parts[name], self._place.log_file(name)
        while not await condition():
            self._heed()
            if part.restarts >= _MOST_ATTEMPTS:
                raise PartNotStarted(f"{name} ends again and again ({part.problem}); see {log}.", part=name)
            seconds = int(self._clock.monotonic() - began)
            if seconds > within.total_seconds():
                limit = within.total_seconds()
                raise PartNotStarted(f"{name} does not serve within {limit:g} s; see {log}.", part=name)
            if seconds // _TELL_EVERY.seconds > told:
                told = seconds // _TELL_EVERY.seconds
                self._tell(f"waiting for {name}, {seconds} s; it writes to {log}")
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        self._heed()

    def _heed(self) -> None:
        """Start nothing more once told to end."""
        if self.told_to_end.is_set():
            raise _ToldToEnd

    def _is_ready(self) -> bool:
        try:
            with ApiSession("http://control", socket=self._settings.control_socket, timeout_seconds=2) as api:
                return api.get("/readyz").status == 200
        except (NetError, OSError):
            return False

    async def _end(self, name: str, sign: PartSign) -> None:
        part = self._parts.get(name)
        if part is not None:
            self._tell(f"ending {name}")
            await part.stop(_STOPS_WITHIN)
            del self._parts[name]
        # What nobody looks after any more.
        while (left := await find_part(sign)) is not None:
            self._tell(f"ending {name}, which nobody looks after")
            await left.stop(_STOPS_WITHIN)

    async def _end_front(self, name: str) -> None:
        with carry_on("part_not_ended", part=name):
            part = self._parts.get(name)
            if part is not None:
                self._tell(f"ending {name}")
                await part.stop(_STOPS_WITHIN)
                del self._parts[name]
            while (left := await find_haproxy(self._fronts[name], clock=self._clock)) is not None:
                self._tell(f"ending {name}, which nobody looks after")
                await left.stop(_STOPS_WITHIN)

    async def _end_boxes(self) -> None:
        """A gateway takes its boxes along; one that was killed has left them, and they finish what they have."""
        if await end_running(partial(is_box, self._place), within=_BOX_STOPS_WITHIN):
            self._tell("boxes that nobody looked after have ended")

    async def _drain_lines(self) -> None:
        """Whatever lines run, those too that control has only just started; nobody looks after them any more.

        One that never listens is left alone: nobody can tell it to finish what it has.
        """
        end, is_told = self._clock.monotonic() + _STARTS_WITHIN.total_seconds(), False
        while True:
            await self._drain_listening()
            # One that has only just been started listens nowhere yet, and is waited for.
            if not await self._lines() or self._clock.monotonic() > end:
                return
            if not is_told:
                self._tell("waiting for lines that have only just been started")
                is_told = True
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _drain_listening(self) -> None:
        runner = LocalRunner(self._place.data_dir / LINES_DIRECTORY, clock=self._clock)
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
