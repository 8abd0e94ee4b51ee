"""`wops cluster up`: starts a cluster, gives it what it needs, shows how it is, and ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from anyio import to_thread
from rich.live import Live

from app.cluster.place import ClusterPlace, ClusterRunning, held
from app.cluster.setup import first_token, register_servers
from app.cluster.status import PartState, ask_supervisor, cluster_status
from app.cluster.supervisor import PartNotEnded, Supervisor, require_ended
from app.command.cluster_table import described, table_of
from app.command.demo import DemoAccess, print_access, set_up_demo
from app.command.output import err, line, out, show
from app.core.clock import SystemClock
from app.core.json import JsonObject
from app.core.lock import PRIVATE_UMASK
from app.core.net import ApiSession
from app.front_part import front_settings
from app.operations.guard import carry_on

_LOOK_EVERY_SECONDS: Final = 1.0
_SERVES_WITHIN_SECONDS: Final = 60.0
_LOOK_AGAIN_SECONDS: Final = 0.2


class ClusterUp:
    """One run of `wops cluster up`."""

    def __init__(self, place: ClusterPlace, *, demo: bool, as_json: bool) -> None:
        self._place = place
        self._demo = demo
        self._as_json = as_json
        self._clock = SystemClock()
        self._supervisor = Supervisor(place, clock=self._clock, tell=self._tell)

    async def run(self) -> None:
        """Serve until a signal or `wops cluster down` comes.

        Raises:
            AddressNotFree, DatabaseNotMade: it cannot be started; nothing was touched.
            DomainError: a part cannot be started; everything was ended.
            PartNotEnded: it was told to end, and parts still run.
            OSError: what it is to remember cannot be written; nothing was started.
        """
        await to_thread.run_sync(self._supervisor.check)
        await to_thread.run_sync(self._place.remember)
        self._hear_signals()
        try:
            await self._supervisor.start()
            if await self._equip():
                await self._show_until_told()
        except BaseException:
            await self._end_after_failure()
            raise
        require_ended(await self._supervisor.stop())

    async def _end_after_failure(self) -> None:
        """What did not start is what people have to know first; what did not end is told beside it."""
        try:
            require_ended(await self._supervisor.stop())
        except PartNotEnded as error:
            tell(error.message)

    def _hear_signals(self) -> None:
        # SIGHUP: the terminal is gone, unless whoever started this has said that it does not matter (nohup).
        heard = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        for number in heard - {each for each in heard if signal.getsignal(each) is signal.SIG_IGN}:
            asyncio.get_running_loop().add_signal_handler(number, self._supervisor.told_to_end.set)

    async def _equip(self) -> bool:
        """Servers, a first token, the demo; then tell people where everything is. False: told to end meanwhile."""
        told = self._supervisor.told_to_end
        if told.is_set():
            return False
        setting_up = asyncio.create_task(to_thread.run_sync(self._set_up))
        ending = asyncio.create_task(told.wait())
        await asyncio.wait({setting_up, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if told.is_set():
            # It finds control gone, and gives up.
            setting_up.add_done_callback(lambda each: each.cancelled() or each.exception())
            return False
        token, access = setting_up.result()
        self._tell_ready(token, access, await self._until_served())
        return True

    def _tell_ready(self, token: str | None, access: list[DemoAccess], parts: list[PartState]) -> None:
        if self._as_json:
            show(self._document(token, access, parts), as_json=True)
            return
        lacking = [each.part for each in parts if not each.is_fine]
        addresses = " and ".join(self._addresses())
        if lacking:
            logs = self._place.log_file(lacking[0]).parent
            err.print(line(("not everything serves", "yellow"), f": {', '.join(lacking)}; see {logs}"))
        state = ("started", "yellow") if lacking else ("ready", "green")
        out.print(line(state, f"  {addresses}  (data in {self._place.data_dir})"))
        out.print(line(f"curl and other clients trust it with {self._authority()}"))
        if token is not None:
            out.print(line("staff token, shown this once: ", (token, "yellow")))
        if access:
            print_access(self._addresses()[0], access)

    def _set_up(self) -> tuple[str | None, list[DemoAccess]]:
        with ApiSession("http://control", socket=self._place.settings.control_socket) as api:
            self._tell("registering the database server")
            register_servers(api, self._place)
            token = first_token(api)
            return token, set_up_demo(api, tell=self._tell) if self._demo else []

    async def _until_served(self) -> list[PartState]:
        """Wait until everything is as it should be; if it takes long, the table tells what is not."""
        end = self._clock.monotonic() + _SERVES_WITHIN_SECONDS
        self._tell("waiting until everything serves")
        told = ""
        while True:
            parts = await to_thread.run_sync(cluster_status, self._place)
            lacking = ", ".join(each.part for each in parts if not each.is_fine)
            if lacking and lacking != told:
                told = lacking
                self._tell(f"waiting for {lacking}")
            is_over = self._clock.monotonic() > end or self._supervisor.told_to_end.is_set()
            if is_over or all(each.is_fine for each in parts):
                return parts
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _show_until_told(self) -> None:
        told = asyncio.create_task(self._supervisor.told_to_end.wait())
        is_live = out.is_terminal and not self._as_json
        live = Live(console=out, auto_refresh=False) if is_live else contextlib.nullcontext()
        with carry_on("table_not_shown"), live as shown:
            while shown is not None and not told.done():
                parts = await to_thread.run_sync(cluster_status, self._place)
                shown.update(table_of(parts), refresh=True)
                await asyncio.wait({told}, timeout=_LOOK_EVERY_SECONDS)
        # A table that cannot be shown ends nothing.
        await told

    def _document(self, token: str | None, access: list[DemoAccess], parts: list[PartState]) -> JsonObject:
        return {
            "addresses": self._addresses(),
            "authority": self._authority(),
            "staff_token": token,
            "instances": [
                {"name": each.name, "edition": each.edition, "username": each.username, "secret": each.secret}
                for each in access
            ],
            **described(parts),
        }

    def _addresses(self) -> list[str]:
        fronts = front_settings(self._place.settings)
        return [f"https://{each.address}" for front in fronts for each in front.binds if each.kind == "tls"]

    def _authority(self) -> str:
        return str(self._place.data_dir / "front" / "tls" / "ca.pem")

    def _tell(self, text: str) -> None:
        if not self._as_json:
            tell(text)


def close_to_others() -> None:
    """Keep others from every file that this process, or one that it starts, makes."""
    os.umask(PRIVATE_UMASK)


def tell(text: str) -> None:
    """Tell people who wait; that nobody listens any more is no reason to stop half-way."""
    # The library of the console ends the process upon a broken pipe.
    with contextlib.suppress(OSError, SystemExit):
        err.print(line((text, "dim")))


async def end_cluster(place: ClusterPlace, *, within: timedelta, tell: Callable[[str], None]) -> None:
    """End everything of a cluster: by its supervisor, or here if there is none.

    Args:
        within: how long its supervisor may take.

    Raises:
        ClusterRunning: it has not ended by then.
        PartNotEnded: parts still run.
    """
    clock = SystemClock()
    end = clock.monotonic() + within.total_seconds()
    told: str | None = None
    while True:
        try:
            with held(place.data_dir):
                return require_ended(await Supervisor(place, clock=clock, tell=tell).stop())
        except ClusterRunning:
            if clock.monotonic() > end:
                log = place.log_file("supervisor")
                raise ClusterRunning(f"Its supervisor has not ended within {within}; see {log}.") from None
        # One that has only just begun is told as soon as it listens; to hear it again changes nothing.
        seen = await to_thread.run_sync(ask_supervisor, place, "down")
        left = None if seen is None else ", ".join(reversed(list(seen)))
        if left is not None and left != told:
            told = left
            tell(f"waiting for the supervisor, which ends everything in order{left and f'; left: {left}'}")
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
