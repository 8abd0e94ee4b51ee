"""Who may call an instance: the same routes for its customer, in the portal, and for staff, in the admin API.

A router has a dependency that calls `take_up` with what is its own, then `add_access_routes` adds the routes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter

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
from app.http.schema.example import Documenter
from app.http.staff import StaffNeed

Serve = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _AccessRoute:
    """One route.

    Attributes:
        name: verb and noun of its operationId; the portal's has `Own` between them.
        need: what it demands of staff.
        refused: what it may answer besides what every route of its API may.
    """

    method: str
    path: str
    name: tuple[str, str]
    summary: str
    need: StaffNeed
    answer: tuple[int, object]
    refused: tuple[int, ...]
    serve: Serve


_ROUTES: Final[list[_AccessRoute]] = []


def add_access_routes(
    router: APIRouter,
    *,
    document: Documenter,
    own: str = "",
    demand: Callable[[StaffNeed], Mapping[str, Any]] | None = None,
) -> None:
    """Add all routes about access to a router.

    Args:
        router: of one API, with the path of an instance as prefix, and the dependency that takes the work up.
        document: describes answers as that API does.
        own: stands behind the verb of every operationId, which are unique over all APIs.
        demand: what a route demands of staff, for `openapi_extra`.
    """
    for each in _ROUTES:
        verb, noun = each.name
        status, example = each.answer
        router.add_api_route(
            each.path,
            each.serve,
            methods=[each.method],
            operation_id=f"{verb}{own}{noun}",
            summary=each.summary,
            status_code=status,
            tags=["access"],
            openapi_extra=None if demand is None else dict(demand(each.need)),
            responses=document(status, example, *each.refused),
        )


def _reads(path: str, name: tuple[str, str], summary: str, *, shows: object) -> Callable[[Serve], Serve]:
    """A route that shows something."""
    return _route("GET", path, name, summary, need="look", answer=(200, shows))


def _route(  # noqa: PLR0913 - what a route says of itself
    method: str,
    path: str,
    name: tuple[str, str],
    summary: str,
    *,
    answer: tuple[int, object],
    refused: tuple[int, ...] = (),
    need: StaffNeed = "change",
) -> Callable[[Serve], Serve]:
    def note(serve: Serve) -> Serve:
        route = _AccessRoute(
            method=method,
            path=path,
            name=name,
            summary=summary,
            need=need,
            answer=answer,
            refused=refused,
            serve=serve,
        )
        _ROUTES.append(route)
        return serve

    return note


@_reads("/access", ("get", "AccessPolicy"), "Read who may call", shows=show.ACCESS)
async def get_access_policy(work: Work) -> AccessRead:
    """The access policy of the instance's web services, with its version as ETag."""
    return await work.get_access()


@_route(
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


@_route(
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


@_reads("/access-failures", ("list", "AccessFailures"), "List refused callers", shows=[show.FAILURE])
async def list_access_failures(work: Work) -> list[AccessFailureRead]:
    """Who was refused, from where and why, the latest first; up to 500 rows, at most a minute old."""
    return await work.list_failures()


@_reads("/clients", ("list", "Clients"), "List API clients", shows=[show.CLIENT])
async def list_clients(work: Work) -> list[ClientRead]:
    """All API clients of the instance by name; never their secrets."""
    return await work.list_clients()


@_route(
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


@_reads("/clients/{client_id}", ("get", "Client"), "Read an API client", shows=show.CLIENT)
async def get_client(work: Work, client_id: ClientKey) -> ClientRead:
    """One API client, with its version as ETag; never its secrets."""
    return await work.get_client(client_id)


@_route(
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


@_route(
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


@_route(
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


@_route(
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


@_route(
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


@_route(
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


@_route(
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
