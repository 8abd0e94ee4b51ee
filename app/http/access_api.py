"""Who may call an instance: the same routes for its customer, in the portal, and for staff, in the admin API."""

from __future__ import annotations

from typing import Final

from app.http.access_work import CertificateKey, ClientKey, Force, Work
from app.http.etag import IfMatch, version_of
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
from app.http.shared_route import SharedRoutes

ACCESS_ROUTES: Final = SharedRoutes("access")


@ACCESS_ROUTES.reads("/access", ("get", "AccessPolicy"), "Read who may call", shows=show.ACCESS)
async def get_access_policy(work: Work) -> AccessRead:
    """The access policy of the instance's web services, with its version as ETag."""
    return await work.get_access()


@ACCESS_ROUTES.route(
    "PUT",
    "/access",
    ("put", "AccessPolicy"),
    "Change who may call",
    answer=(200, show.ACCESS),
    refused=(409, 412, 428),
)
async def put_access_policy(work: Work, body: AccessBody, if_match: IfMatch = None) -> AccessRead:
    """Replace the access policy; in force at every line within a second. No methods: closed."""
    return await work.put_access(body, version_of(if_match))


@ACCESS_ROUTES.route(
    "POST",
    "/access:diagnose",
    ("diagnose", "Access"),
    "Ask whether a call would be let in",
    answer=(200, show.DIAGNOSIS),
    need="look",
)
async def diagnose_access(work: Work, body: DiagnoseBody) -> DiagnosisRead:
    """The access doctor: what would become of a call, which rule decides, and what to do next. Changes nothing."""
    return await work.diagnose(body)


@ACCESS_ROUTES.reads(
    "/access-failures", ("list", "AccessFailures"), "List refused callers", shows=[show.FAILURE]
)
async def list_access_failures(work: Work) -> list[AccessFailureRead]:
    """Who was refused, from where and why, the latest first; up to 500 rows, at most a minute old."""
    return await work.list_failures()


@ACCESS_ROUTES.reads("/clients", ("list", "Clients"), "List API clients", shows=[show.CLIENT])
async def list_clients(work: Work) -> list[ClientRead]:
    """All API clients of the instance by name; never their secrets."""
    return await work.list_clients()


@ACCESS_ROUTES.route(
    "POST",
    "/clients",
    ("create", "Client"),
    "Add an API client",
    answer=(201, show.CREDENTIALS),
    refused=(400, 409),
)
async def create_client(work: Work, body: ClientCreate) -> ClientCredentialsRead:
    """Add an API client. Its secret is in this answer and nowhere else."""
    return await work.add_client(body)


@ACCESS_ROUTES.reads("/clients/{client_id}", ("get", "Client"), "Read an API client", shows=show.CLIENT)
async def get_client(work: Work, client_id: ClientKey) -> ClientRead:
    """One API client, with its version as ETag; never its secrets."""
    return await work.get_client(client_id)


@ACCESS_ROUTES.route(
    "PATCH",
    "/clients/{client_id}",
    ("change", "Client"),
    "Change an API client",
    answer=(200, show.CLIENT),
    refused=(409, 412, 428),
)
async def change_client(
    work: Work, client_id: ClientKey, body: ClientPatch, if_match: IfMatch = None
) -> ClientRead:
    """Rename an API client, or change its scopes, expiry or rate. Its user name stays."""
    return await work.change_client(client_id, body, version_of(if_match))


@ACCESS_ROUTES.route(
    "DELETE",
    "/clients/{client_id}",
    ("remove", "Client"),
    "Remove an API client",
    answer=(204, None),
    refused=(409,),
)
async def remove_client(work: Work, client_id: ClientKey, force: Force = False) -> None:
    """Remove an API client with its secrets and certificates; it is out at every line within a second."""
    await work.remove_client(client_id, force=force)


@ACCESS_ROUTES.route(
    "POST",
    "/clients/{client_id}:rotate",
    ("rotate", "Client"),
    "Give an API client a new secret",
    answer=(200, show.CREDENTIALS),
    refused=(400, 409),
)
async def rotate_client(
    work: Work, client_id: ClientKey, body: RotateBody | None = None
) -> ClientCredentialsRead:
    """Make a new secret; the old one goes on beside it for a day, or as long as asked for. Three at most."""
    return await work.rotate_client(client_id, body or RotateBody())


@ACCESS_ROUTES.route(
    "POST",
    "/clients/{client_id}:disable",
    ("disable", "Client"),
    "Shut an API client out",
    answer=(200, show.CLIENT),
    refused=(400, 409),
)
async def disable_client(work: Work, client_id: ClientKey, body: ForceBody | None = None) -> ClientRead:
    """Shut a client out, at every line within a second."""
    return await work.disable_client(client_id, force=body is not None and body.force)


@ACCESS_ROUTES.route(
    "POST",
    "/clients/{client_id}:enable",
    ("enable", "Client"),
    "Let an API client in again",
    answer=(200, show.CLIENT),
    refused=(400,),
)
async def enable_client(work: Work, client_id: ClientKey) -> ClientRead:
    """Let a client in again that was shut out, with the credentials it had."""
    return await work.enable_client(client_id)


@ACCESS_ROUTES.route(
    "POST",
    "/clients/{client_id}/certificates",
    ("add", "ClientCertificate"),
    "Add a client certificate",
    answer=(201, show.CERTIFICATE),
    refused=(400, 409),
)
async def add_client_certificate(
    work: Work, client_id: ClientKey, body: CertificateCreate
) -> CertificateRead:
    """Let an API client be known by a certificate of its own, or by its CA and subject."""
    return await work.add_certificate(client_id, body)


@ACCESS_ROUTES.route(
    "DELETE",
    "/clients/{client_id}/certificates/{certificate_id}",
    ("remove", "ClientCertificate"),
    "Remove a client certificate",
    answer=(204, None),
    refused=(409,),
)
async def remove_client_certificate(
    work: Work, client_id: ClientKey, certificate_id: CertificateKey, force: Force = False
) -> None:
    """Let an API client no longer be known by a certificate."""
    await work.remove_certificate(client_id, certificate_id, force=force)
