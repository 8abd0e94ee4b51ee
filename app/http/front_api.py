"""Host names and revocation lists: the same routes for an instance's customer, in the portal, and for staff."""

from __future__ import annotations

from typing import Final

from app.http.etag import IfMatch, version_of
from app.http.front_work import AuthorityKey, HostKey, Work
from app.http.schema.front import (
    HOST_EXAMPLE,
    REVOCATION_LIST_EXAMPLE,
    HostCertificateBody,
    HostCreate,
    HostRead,
    RevocationListBody,
    RevocationListRead,
)
from app.http.shared_route import SharedRoutes

HOST_ROUTES: Final = SharedRoutes("hosts")
"""About one owner's host names, but for their list: the platform's shows everybody's."""
OWN_ROUTES: Final = SharedRoutes("hosts")
"""What only an instance has: a short list of its host names, and revocation lists."""


@HOST_ROUTES.route(
    "POST",
    "/hosts",
    ("add", "Host"),
    "Add a host name",
    answer=(201, HOST_EXAMPLE),
    refused=(400, 409, 422),
)
async def add_host(work: Work, body: HostCreate) -> HostRead:
    """Have the load balancers answer under a host name of its own. Its DNS entry is its owner's affair."""
    return await work.add_host(body)


@OWN_ROUTES.reads("/hosts", ("list", "Hosts"), "List host names", shows=[HOST_EXAMPLE])
async def list_hosts(work: Work) -> list[HostRead]:
    """All host names of the instance, with what is to be said of their certificates."""
    return await work.list_hosts()


@HOST_ROUTES.reads("/hosts/{host_id}", ("get", "Host"), "Read a host name", shows=HOST_EXAMPLE)
async def get_host(work: Work, host_id: HostKey) -> HostRead:
    """One host name, with its version as ETag."""
    return await work.get_host(host_id)


@HOST_ROUTES.route(
    "PUT",
    "/hosts/{host_id}/certificate",
    ("renew", "Host"),
    "Renew a host name's certificate",
    answer=(200, HOST_EXAMPLE),
    refused=(409, 412, 422, 428),
)
async def renew_host(
    work: Work, host_id: HostKey, body: HostCertificateBody, if_match: IfMatch = None
) -> HostRead:
    """Prove the host name with another certificate, at every load balancer within a second. Needs the ETag."""
    return await work.renew_host(host_id, body, version_of(if_match))


@HOST_ROUTES.route(
    "DELETE",
    "/hosts/{host_id}",
    ("remove", "Host"),
    "Remove a host name",
    answer=(204, None),
    refused=(409, 412, 428),
)
async def remove_host(work: Work, host_id: HostKey, if_match: IfMatch = None) -> None:
    """Answer under the host name no longer; certificate and key are forgotten. Needs the ETag."""
    await work.remove_host(host_id, version_of(if_match))


@OWN_ROUTES.route(
    "PUT",
    "/revocation-lists",
    ("put", "RevocationList"),
    "Put an authority's newest revocation list",
    answer=(200, REVOCATION_LIST_EXAMPLE),
    refused=(409, 422),
)
async def put_revocation_list(work: Work, body: RevocationListBody) -> RevocationListRead:
    """Keep the newest list of an authority that API clients are pinned to; the same list again changes nothing."""
    return await work.put_list(body)


@OWN_ROUTES.reads(
    "/revocation-lists",
    ("list", "RevocationLists"),
    "List revocation lists",
    shows=[REVOCATION_LIST_EXAMPLE],
)
async def list_revocation_lists(work: Work) -> list[RevocationListRead]:
    """All revocation lists of the instance; outdated ones say so."""
    return await work.list_lists()


@OWN_ROUTES.route(
    "DELETE",
    "/revocation-lists/{authority}",
    ("remove", "RevocationList"),
    "Remove a revocation list",
    answer=(204, None),
    refused=(409,),
)
async def remove_revocation_list(work: Work, authority: AuthorityKey) -> None:
    """Ask for no list of that authority any more: what it has revoked comes in again."""
    await work.remove_list(authority)
