"""`/portal/v1/{instance}`: a customer looks after who may call his instance."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from starlette.requests import Request

from app.http.access_work import AccessWork
from app.http.etag import IF_MATCH, version_of
from app.http.portal_route import (
    PORTAL,
    InstanceName,
    PortalRoute,
    caller_of,
    command_of,
    document,
    instance_of,
)
from app.http.schema import access_example as show
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
    ForceBody,
    RotateBody,
)
from tenancy import DEFAULT_RATE

router = APIRouter(prefix=PORTAL, route_class=PortalRoute)


ClientKey = Annotated[str, Path(max_length=64, description="Id of an API client.")]
CertificateKey = Annotated[str, Path(max_length=64, description="Id of a certificate of the client.")]
IfMatch = Annotated[str | None, Header(description=IF_MATCH)]
Force = Annotated[
    bool, Query(description="Carry it out even if it shuts out the caller or the last working client.")
]


@router.get(
    "/access",
    operation_id="getOwnAccessPolicy",
    summary="Read who may call",
    tags=["access"],
    responses=document(200, show.ACCESS),
)
async def get_access_policy(instance: InstanceName, request: Request, response: Response) -> AccessRead:
    """The access policy of the instance's web services, with its version as ETag."""
    work = _work(request, response, reads=True)
    return await work.get_access()


@router.put(
    "/access",
    operation_id="putOwnAccessPolicy",
    summary="Change who may call",
    tags=["access"],
    responses=document(200, show.ACCESS, 409, 412, 428),
)
async def put_access_policy(
    instance: InstanceName, body: AccessBody, request: Request, response: Response, if_match: IfMatch = None
) -> AccessRead:
    """Replace the access policy; in force at every line within a second. No methods: closed."""
    work = _work(request, response)
    return await work.put_access(body, version_of(if_match))


@router.post(
    "/access:diagnose",
    operation_id="diagnoseOwnAccess",
    summary="Ask whether a call would be let in",
    tags=["access"],
    responses=document(200, show.DIAGNOSIS),
)
async def diagnose_access(
    instance: InstanceName, body: DiagnoseBody, request: Request, response: Response
) -> DiagnosisRead:
    """The access doctor: what would become of a call, which rule decides, and what to do next. Changes nothing."""
    work = _work(request, response)
    return await work.diagnose(body)


@router.get(
    "/access-failures",
    operation_id="listOwnAccessFailures",
    summary="List refused callers",
    tags=["access"],
    responses=document(200, [show.FAILURE]),
)
async def list_access_failures(
    instance: InstanceName, request: Request, response: Response
) -> list[AccessFailureRead]:
    """Who was refused, from where and why, the latest first; up to 500 rows, at most a minute old."""
    work = _work(request, response, reads=True)
    return await work.list_failures()


@router.get(
    "/clients",
    operation_id="listOwnClients",
    summary="List API clients",
    tags=["access"],
    responses=document(200, [show.CLIENT]),
)
async def list_clients(instance: InstanceName, request: Request, response: Response) -> list[ClientRead]:
    """All API clients of the instance by name; never their secrets."""
    work = _work(request, response, reads=True)
    return await work.list_clients()


@router.post(
    "/clients",
    operation_id="createOwnClient",
    summary="Add an API client",
    status_code=201,
    tags=["access"],
    responses=document(201, show.CREDENTIALS, 400, 409),
)
async def create_client(
    instance: InstanceName, body: ClientCreate, request: Request, response: Response
) -> ClientCredentialsRead:
    """Add an API client. Its secret is in this answer and nowhere else."""
    work = _work(request, response)
    return await work.add_client(body)


@router.get(
    "/clients/{client_id}",
    operation_id="getOwnClient",
    summary="Read an API client",
    tags=["access"],
    responses=document(200, show.CLIENT),
)
async def get_client(
    instance: InstanceName, client_id: ClientKey, request: Request, response: Response
) -> ClientRead:
    """One API client, with its version as ETag; never its secrets."""
    work = _work(request, response, reads=True)
    return await work.get_client(client_id)


@router.patch(
    "/clients/{client_id}",
    operation_id="changeOwnClient",
    summary="Change an API client",
    tags=["access"],
    responses=document(200, show.CLIENT, 409, 412, 428),
)
async def change_client(
    instance: InstanceName,
    client_id: ClientKey,
    body: ClientPatch,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ClientRead:
    """Rename an API client, or change its scopes, expiry or rate. Its user name stays."""
    work = _work(request, response)
    return await work.change_client(client_id, body, version_of(if_match))


@router.delete(
    "/clients/{client_id}",
    operation_id="removeOwnClient",
    summary="Remove an API client",
    status_code=204,
    tags=["access"],
    responses=document(204, None, 409),
)
async def remove_client(
    instance: InstanceName, client_id: ClientKey, request: Request, response: Response, force: Force = False
) -> None:
    """Remove an API client with its secrets and certificates; it is out at every line within a second."""
    work = _work(request, response)
    await work.remove_client(client_id, force=force)


@router.post(
    "/clients/{client_id}:rotate",
    operation_id="rotateOwnClient",
    summary="Give an API client a new secret",
    tags=["access"],
    responses=document(200, show.CREDENTIALS, 400, 409),
)
async def rotate_client(
    instance: InstanceName,
    client_id: ClientKey,
    request: Request,
    response: Response,
    body: RotateBody | None = None,
) -> ClientCredentialsRead:
    """Make a new secret; the old one goes on beside it for a day, or as long as asked for. Three at most."""
    work = _work(request, response)
    return await work.rotate_client(client_id, body or RotateBody())


@router.post(
    "/clients/{client_id}:disable",
    operation_id="disableOwnClient",
    summary="Shut an API client out",
    tags=["access"],
    responses=document(200, show.CLIENT, 400, 409),
)
async def disable_client(
    instance: InstanceName,
    client_id: ClientKey,
    request: Request,
    response: Response,
    body: ForceBody | None = None,
) -> ClientRead:
    """Shut a client out, at every line within a second."""
    work = _work(request, response)
    return await work.disable_client(client_id, force=body is not None and body.force)


@router.post(
    "/clients/{client_id}:enable",
    operation_id="enableOwnClient",
    summary="Let an API client in again",
    tags=["access"],
    responses=document(200, show.CLIENT, 400),
)
async def enable_client(
    instance: InstanceName, client_id: ClientKey, request: Request, response: Response
) -> ClientRead:
    """Let a client in again that was shut out, with the credentials it had."""
    work = _work(request, response)
    return await work.enable_client(client_id)


@router.post(
    "/clients/{client_id}/certificates",
    operation_id="addOwnClientCertificate",
    summary="Add a client certificate",
    status_code=201,
    tags=["access"],
    responses=document(201, show.CERTIFICATE, 400, 409),
)
async def add_client_certificate(
    instance: InstanceName,
    client_id: ClientKey,
    body: CertificateCreate,
    request: Request,
    response: Response,
) -> CertificateRead:
    """Let an API client be known by a certificate of its own, or by its CA and subject."""
    work = _work(request, response)
    return await work.add_certificate(client_id, body)


@router.delete(
    "/clients/{client_id}/certificates/{certificate_id}",
    operation_id="removeOwnClientCertificate",
    summary="Remove a client certificate",
    status_code=204,
    tags=["access"],
    responses=document(204, None, 409),
)
async def remove_client_certificate(
    instance: InstanceName,
    client_id: ClientKey,
    certificate_id: CertificateKey,
    request: Request,
    response: Response,
    force: Force = False,
) -> None:
    """Let an API client no longer be known by a certificate."""
    work = _work(request, response)
    await work.remove_certificate(client_id, certificate_id, force=force)


def _work(request: Request, response: Response, *, reads: bool = False) -> AccessWork:
    return AccessWork(
        request=request,
        response=response,
        instance_id=instance_of(request),
        command=None if reads else command_of(request),
        caller=caller_of(request),
        highest_rate=max(DEFAULT_RATE.per_second, DEFAULT_RATE.burst),
    )
