"""What the routes about host names and revocation lists do, whoever calls them: the customer, or staff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command
from app.core.ids import InstanceId
from app.http.admin_route import noted, platform_of
from app.http.etag import etag_of
from app.http.schema.front import (
    HostCertificateBody,
    HostCreate,
    HostRead,
    RevocationListBody,
    RevocationListRead,
)
from tenancy.access.revocation.service import RevocationService
from tenancy.front.host import HostId, HostRecord
from tenancy.front.host_service import HostService

HostKey = Annotated[str, Path(max_length=64, description="Id of a host name.", examples=["hst_019b0a3c"])]
AuthorityKey = Annotated[
    str, Path(max_length=64, description="Id of an authority: SHA-256 of its subject and key.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontWork:
    """One request about host names or revocation lists.

    Attributes:
        owner: None: the platform itself, and whoever a host name is named of by its id.
        proven: whoever asks has made sure that a host name is the owner's.
    """

    request: Request
    response: Response
    owner: InstanceId | None
    command: Command | None = None
    proven: bool = False

    async def add_host(self, body: HostCreate) -> HostRead:
        """Serve a host name of its own."""
        done = await to_thread.run_sync(
            lambda: self._hosts.add_host(
                self.owner, body.host, body.given(), proven=self.proven, command=self._keyed_command()
            )
        )
        return self._show(noted(done, self.response))

    async def list_hosts(self) -> list[HostRead]:
        """Show the owner's host names."""
        found = await to_thread.run_sync(self._hosts.list_hosts_of, self._instance)
        return [HostRead.of(each, now=self._now) for each in found]

    async def get_host(self, host_id: str) -> HostRead:
        """Show one host name."""
        return self._show(
            await to_thread.run_sync(lambda: self._hosts.get_host(self._owner_of(host_id), HostId(host_id)))
        )

    async def renew_host(self, host_id: str, body: HostCertificateBody, version: int) -> HostRead:
        """Prove a host name with another certificate."""
        done = await to_thread.run_sync(
            lambda: self._hosts.renew_host(
                self._owner_of(host_id),
                HostId(host_id),
                body.given(),
                version=version,
                command=self._keyed_command(),
            )
        )
        return self._show(noted(done, self.response))

    async def remove_host(self, host_id: str, version: int) -> None:
        """Serve a host name no longer."""
        await to_thread.run_sync(
            lambda: self._hosts.remove_host(
                self._owner_of(host_id), HostId(host_id), version=version, command=self.command
            )
        )

    async def put_list(self, body: RevocationListBody) -> RevocationListRead:
        """Keep an authority's newest revocation list."""
        done = await to_thread.run_sync(
            partial(self._lists.put_list, self._instance, body.list, command=self.command)
        )
        return RevocationListRead.of(noted(done, self.response), now=self._now)

    async def list_lists(self) -> list[RevocationListRead]:
        """Show all revocation lists."""
        found = await to_thread.run_sync(self._lists.list_lists, self._instance)
        return [RevocationListRead.of(each, now=self._now) for each in found]

    async def remove_list(self, authority: str) -> None:
        """Ask for no list of an authority any more."""
        await to_thread.run_sync(
            partial(self._lists.remove_list, self._instance, authority, command=self.command)
        )

    def _owner_of(self, host_id: str) -> InstanceId | None:
        return self.owner if self.owner is not None else self._hosts.owner_of(HostId(host_id))

    def _show(self, host: HostRecord) -> HostRead:
        self.response.headers["ETag"] = etag_of(host.version)
        return HostRead.of(host, now=self._now)

    def _keyed_command(self) -> Command | None:
        """The stored digest of a body with a private key in it is keyed, so that it tells nobody anything."""
        if self.command is None:
            return None
        key, action = platform_of(self.request).key, self.command.origin.action
        return replace(self.command, fingerprint=key.hash_secret(self.command.fingerprint, owner=action))

    @property
    def _instance(self) -> InstanceId:
        if self.owner is None:
            raise RuntimeError("only instances have this route")
        return self.owner

    @property
    def _hosts(self) -> HostService:
        return platform_of(self.request).hosts

    @property
    def _lists(self) -> RevocationService:
        return platform_of(self.request).revocations

    @property
    def _now(self) -> datetime:
        return platform_of(self.request).clock.now()


def take_up(work: FrontWork) -> None:
    """Say whose work a request is; a dependency of the router does, before the route asks for it."""
    work.request.state.front_work = work


async def _work_of(request: Request) -> FrontWork:
    work: FrontWork = request.state.front_work
    return work


Work = Annotated[FrontWork, Depends(_work_of)]
"""What a route does its work with, whoever has asked."""
