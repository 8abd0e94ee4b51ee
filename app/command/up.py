"""`wops up`: the whole platform in one process, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from datetime import timedelta

from anyio import to_thread

from app.cluster.place import refuse_cluster
from app.command.demo import DemoAccess, print_access, set_up_demo
from app.command.output import err, line, out, show
from app.command.story import Story
from app.container import Platform
from app.core.command import Command
from app.core.errors import DomainError
from app.core.json import JsonObject
from app.core.lock import PRIVATE_UMASK, make_private
from app.core.net import ApiSession
from app.core.origin import system_origin
from app.main import Server
from app.settings import Settings

FIRST_TOKEN_LIFE = timedelta(days=90)
"""The first staff token is for setting up; others are made with it."""
FIRST_PERSON = "first-admin"
"""Whose it is: nobody has said a name yet."""


class Up:
    """One run of `wops up`.

    Args:
        is_part: of a cluster, which tells people what there is to tell.
    """

    def __init__(
        self, settings: Settings, *, demo: bool, walk: bool, as_json: bool, is_part: bool = False
    ) -> None:
        self._settings = settings
        self._demo = demo or walk
        self._walk = walk
        self._as_json = as_json
        self._is_part = is_part
        self._platform = Platform(settings)
        self._server = Server(self._platform, on_ready=self._on_ready)
        self._failed: DomainError | None = None
        self._is_told_to_stop = False
        self._announced = False

    async def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            DomainError: the platform cannot start, or the walk found something broken.
            OSError: the data directory cannot be used, or the address.
        """
        # The mask is the process's own: one command, one platform.
        if not self._is_part:
            refuse_cluster(self._settings.data_dir)
        os.umask(PRIVATE_UMASK)
        make_private(self._settings.data_dir)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        try:
            await self._server.run()
        finally:
            if self._announced:
                self._settings.address_file.unlink(missing_ok=True)
        if self._failed is not None:
            raise self._failed

    def _stop(self) -> None:
        self._is_told_to_stop = True
        self._server.stop()

    async def _on_ready(self, port: int) -> None:
        address = f"http://{_host(self._settings.host)}:{port}"
        self._settings.address_file.write_text(address, "utf-8")
        self._announced = True
        self._tell_trouble()
        try:
            if not self._is_part:
                token = await to_thread.run_sync(self._first_token)
                access = await to_thread.run_sync(self._prepare) if self._demo else []
                self._print(address, token, access)
            # Off since the command began: what is there by now is looked through no more, what comes is.
            gc.freeze()
            gc.enable()
            if self._walk:
                await to_thread.run_sync(self._tell_story, address)
        except DomainError as error:
            # Whoever ends the platform in the middle of the story ends the story, too: nothing has failed.
            if not self._is_told_to_stop:
                self._failed = error
            self._server.stop()

    def _tell_trouble(self) -> None:
        trouble = self._platform.gateway_trouble
        if trouble is not None:
            err.print(line((trouble, "yellow"), " wops serves all the same, and goes on trying."))

    def _first_token(self) -> str | None:
        tokens = self._platform.staff_tokens
        if tokens.list_tokens(limit=1):
            return None
        expires_at = self._platform.clock.now() + FIRST_TOKEN_LIFE
        made = tokens.add_token(
            "first admin",
            "admin",
            person=FIRST_PERSON,
            expires_at=expires_at,
            command=Command(origin=system_origin("startPlatform.addFirstAdmin")),
        )
        return made.value.secret

    def _prepare(self) -> list[DemoAccess]:
        with self._staff() as api:
            return set_up_demo(api, tell=self._tell)

    def _tell_story(self, address: str) -> None:
        with self._staff() as api:
            Story(api, base_url=address).walk()
        out.print(f"\nwops goes on serving {address}; Ctrl-C ends it.")

    def _staff(self) -> ApiSession:
        return ApiSession("http://control", socket=self._settings.control_socket)

    def _tell(self, text: str) -> None:
        if not self._as_json:
            err.print(line((text, "dim")))

    def _print(self, address: str, token: str | None, access: list[DemoAccess]) -> None:
        if self._as_json:
            show(_described(address, token, access), as_json=True)
            return
        out.print(line(("ready", "green"), f"  {address}  (data in {self._platform.data_dir})"))
        if token is not None:
            out.print(line("staff token, shown this once: ", (token, "yellow")))
        if access:
            print_access(address, access)
        if self._demo and not self._walk:
            out.print(line("In another terminal, ", ("wops demo", "bold"), " walks through the story."))


def _described(address: str, token: str | None, access: list[DemoAccess]) -> JsonObject:
    return {
        "address": address,
        "staff_token": token,
        "instances": [
            {"name": each.name, "edition": each.edition, "username": each.username, "secret": each.secret}
            for each in access
        ],
    }


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
