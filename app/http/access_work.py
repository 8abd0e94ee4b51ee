"""What the routes about access do, whoever calls them: the customer by the portal, or staff by the admin API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.core.command import Command
from app.core.ids import ApiClientId, InstanceId
from app.http.admin_route import noted, platform_of
from app.http.etag import etag_of
from app.http.schema.access import (
    AccessBody,
    AccessFailureRead,
    AccessRead,
    CertificateCreate,
    CertificateRead,
    ClientCreate,
    ClientCredentialsRead,
    ClientPatch,
    ClientRead,
    DiagnoseBody,
    DiagnosisRead,
    RotateBody,
)
from tenancy import (
    HIGHEST_RATE,
    UNCHANGED,
    CallerCredentials,
    ClientChange,
    ClientLimits,
    Insistence,
    check_scopes,
    make_policy,
)
from tenancy.access.client.certificate import read_pem_der
from tenancy.access.client.certificate_service import PinDraft
from tenancy.access.doctor import Patient

ClientKey = Annotated[str, Path(max_length=64, description="Id of an API client.")]
CertificateKey = Annotated[str, Path(max_length=64, description="Id of a certificate of the client.")]
Force = Annotated[
    bool, Query(description="Carry it out even if it shuts out the caller or the last working client.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessWork:
    """One request about access.

    Attributes:
        caller: with what a customer came in; None: staff.
        highest_rate: that whoever asks may give a client.
    """

    request: Request
    response: Response
    instance_id: InstanceId
    command: Command | None = None
    caller: CallerCredentials | None = None
    highest_rate: int = HIGHEST_RATE

    async def get_access(self) -> AccessRead:
        """Read the policy."""
        access = platform_of(self.request).access
        found = await to_thread.run_sync(access.get_policy, self.instance_id)
        self.response.headers["ETag"] = etag_of(found.version)
        return AccessRead.of(found)

    async def put_access(self, body: AccessBody, version: int) -> AccessRead:
        """Replace the policy."""
        policy = make_policy(
            mode=body.mode,
            methods=body.methods,
            networks=body.networks,
            network_scopes=body.network_scopes,
            wide_confirmed=body.confirm_wide_networks,
        )
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).access.put_policy,
                self.instance_id,
                policy,
                expected_version=version,
                insistence=self._insistence(body.force),
                command=self.command,
            )
        )
        self.response.headers["ETag"] = etag_of(done.value.version)
        return AccessRead.of(noted(done, self.response))

    async def diagnose(self, body: DiagnoseBody) -> DiagnosisRead:
        """Say what would become of a call."""
        patient = Patient(
            peer=body.address,
            username=body.username,
            secret=body.secret,
            secret_is_right=body.secret_is_right,
            certificate=None if body.certificate is None else read_pem_der(body.certificate),
            verification=body.verification,
            scope=body.scope,
        )
        access = platform_of(self.request).access
        return DiagnosisRead.of(await to_thread.run_sync(access.diagnose, self.instance_id, patient))

    async def list_failures(self) -> list[AccessFailureRead]:
        """Show who was refused."""
        found = await to_thread.run_sync(platform_of(self.request).access.list_failures, self.instance_id)
        return [AccessFailureRead.of(each) for each in found]

    async def add_client(self, body: ClientCreate) -> ClientCredentialsRead:
        """Add an API client."""
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.add_client,
                self.instance_id,
                name=body.name,
                scopes=check_scopes(body.scopes),
                limits=ClientLimits(
                    expires_at=body.expires_at,
                    rate_per_second=body.rate_per_second,
                    burst=body.burst,
                    highest=self.highest_rate,
                ),
                command=self.command,
            )
        )
        return ClientCredentialsRead.of(noted(done, self.response))

    async def list_clients(self) -> list[ClientRead]:
        """Show all API clients."""
        found = await to_thread.run_sync(platform_of(self.request).clients.list_clients, self.instance_id)
        return [ClientRead.of(each) for each in found]

    async def get_client(self, client_id: str) -> ClientRead:
        """Show one API client."""
        clients = platform_of(self.request).clients
        found = await to_thread.run_sync(clients.get_client, self.instance_id, ApiClientId(client_id))
        self.response.headers["ETag"] = etag_of(found.version)
        return ClientRead.of(found)

    async def change_client(self, client_id: str, body: ClientPatch, version: int) -> ClientRead:
        """Change some fields of an API client."""
        given: dict[str, Any] = {
            name: getattr(body, name) if name in body.model_fields_set else UNCHANGED
            for name in ("name", "scopes", "expires_at", "rate_per_second", "burst")
        }
        if body.scopes is not None:
            given["scopes"] = check_scopes(body.scopes)
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.change_client,
                self.instance_id,
                ApiClientId(client_id),
                ClientChange(**given, highest=self.highest_rate),
                expected_version=version,
                insistence=self._insistence(body.force),
                command=self.command,
            )
        )
        self.response.headers["ETag"] = etag_of(done.value.version)
        return ClientRead.of(noted(done, self.response))

    async def rotate_client(self, client_id: str, body: RotateBody) -> ClientCredentialsRead:
        """Give an API client a new secret."""
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.rotate_client,
                self.instance_id,
                ApiClientId(client_id),
                overlap=timedelta(hours=body.overlap_hours),
                insistence=self._insistence(body.force),
                command=self.command,
            )
        )
        return ClientCredentialsRead.of(noted(done, self.response))

    async def disable_client(self, client_id: str, *, force: bool) -> ClientRead:
        """Shut an API client out."""
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.disable_client,
                self.instance_id,
                ApiClientId(client_id),
                insistence=self._insistence(force),
                command=self.command,
            )
        )
        return ClientRead.of(noted(done, self.response))

    async def enable_client(self, client_id: str) -> ClientRead:
        """Let an API client in again."""
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.enable_client,
                self.instance_id,
                ApiClientId(client_id),
                command=self.command,
            )
        )
        return ClientRead.of(noted(done, self.response))

    async def remove_client(self, client_id: str, *, force: bool) -> None:
        """Remove an API client."""
        await to_thread.run_sync(
            partial(
                platform_of(self.request).clients.remove_client,
                self.instance_id,
                ApiClientId(client_id),
                insistence=self._insistence(force),
                command=self.command,
            )
        )

    async def add_certificate(self, client_id: str, body: CertificateCreate) -> CertificateRead:
        """Let an API client be known by a certificate."""
        done = await to_thread.run_sync(
            partial(
                platform_of(self.request).certificates.add_certificate,
                self.instance_id,
                ApiClientId(client_id),
                PinDraft(certificate=body.certificate, subject=body.subject),
                command=self.command,
            )
        )
        return CertificateRead.of(noted(done, self.response))

    async def remove_certificate(self, client_id: str, certificate_id: str, *, force: bool) -> None:
        """Let an API client no longer be known by a certificate."""
        await to_thread.run_sync(
            partial(
                platform_of(self.request).certificates.remove_certificate,
                self.instance_id,
                ApiClientId(client_id),
                certificate_id,
                insistence=self._insistence(force),
                command=self.command,
            )
        )

    def _insistence(self, force: bool) -> Insistence:
        return Insistence(caller=self.caller, force=force)


def take_up(work: AccessWork) -> None:
    """Say whose work a request is; a dependency of the router does, before the route asks for it."""
    work.request.state.access_work = work


def command_if_any(request: Request) -> Command | None:
    """Under what a change is carried out; None: the request reads."""
    command: Command | None = getattr(request.state, "command", None)
    return command


async def _work_of(request: Request) -> AccessWork:
    work: AccessWork = request.state.access_work
    return work


Work = Annotated[AccessWork, Depends(_work_of)]
"""What a route about access does its work with, whoever has asked."""
