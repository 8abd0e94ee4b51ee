"""`/admin/v1/servers`: what instances are placed on."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request

from app.core.command import Command
from app.http.admin_route import document, noted, platform_of
from app.http.etag import IfMatch, etag_of, version_of
from app.http.page import Cursor, Limit, after_of, page_of
from app.http.schema import admin_example as show
from app.http.schema.model import Page
from app.http.schema.server import SERVER_EXAMPLE, ServerChangeBody, ServerCreateBody, ServerRead
from app.http.staff import StaffRoute, command_of, staff, staff_of
from tenancy import ServerId
from tenancy.errors import StaffRoleInsufficient

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

ServerKey = Annotated[str, Path(max_length=64, description="Id of a server.", examples=["srv_019b0a3c"])]


def _keyed_command(request: Request) -> Command:
    """The stored digest of a body with a password in it is keyed, so that nobody can guess the password from it."""
    command = command_of(request)
    keyed = platform_of(request).key.hash_secret(command.fingerprint, owner=command.origin.action)
    return replace(command, fingerprint=keyed)


@router.post(
    "/servers",
    operation_id="createServer",
    summary="Register a server",
    status_code=201,
    tags=["servers"],
    openapi_extra=staff("admin"),
    responses=document(201, SERVER_EXAMPLE, 400, 409, 422),
)
async def create_server(body: ServerCreateBody, request: Request, response: Response) -> ServerRead:
    """A database server has to prove first that it can hold instances: a database is made on it, used and removed."""
    command = _keyed_command(request)
    done = await to_thread.run_sync(
        lambda: platform_of(request).servers.register_server(body.asked(), command=command)
    )
    server = noted(done, response)
    response.headers["ETag"] = etag_of(server.version)
    return ServerRead.of(server)


@router.get(
    "/servers",
    operation_id="listServers",
    summary="List servers",
    tags=["servers"],
    openapi_extra=staff("read"),
    responses=document(200, show.page(SERVER_EXAMPLE), 422),
)
async def list_servers(
    request: Request, response: Response, limit: Limit = 25, cursor: Cursor = None
) -> Page[ServerRead]:
    """All servers, page by page."""
    after = after_of(request, cursor)
    found = await to_thread.run_sync(
        lambda: platform_of(request).servers.list_servers(after=after, limit=limit + 1)
    )
    return page_of(request, response, found, limit=limit, show=ServerRead.of, key=lambda each: each.server_id)


@router.get(
    "/servers/{server_id}",
    operation_id="getServer",
    summary="Read a server",
    tags=["servers"],
    openapi_extra=staff("read"),
    responses=document(200, SERVER_EXAMPLE, 404),
)
async def get_server(server_id: ServerKey, request: Request, response: Response) -> ServerRead:
    """One server."""
    server = await to_thread.run_sync(platform_of(request).servers.get_server, ServerId(server_id))
    response.headers["ETag"] = etag_of(server.version)
    return ServerRead.of(server)


@router.patch(
    "/servers/{server_id}",
    operation_id="changeServer",
    summary="Change a server's capacity, state or administrator",
    tags=["servers"],
    openapi_extra=staff("change"),
    responses=document(200, SERVER_EXAMPLE, 404, 409, 412, 422, 428),
)
async def change_server(
    server_id: ServerKey,
    body: ServerChangeBody,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> ServerRead:
    """Needs the ETag that was read. Administrator, password and certificate are tried out first; for admins alone."""
    version, change, principal = version_of(if_match), body.asked(), staff_of(request)
    if change.changes_access and principal.role != "admin":
        raise StaffRoleInsufficient(
            f"The role {principal.role} may not change how wops gets in.", role=principal.role
        )
    command = _keyed_command(request)
    done = await to_thread.run_sync(
        lambda: platform_of(request).servers.change_server(
            ServerId(server_id), change, version=version, command=command
        )
    )
    server = noted(done, response)
    response.headers["ETag"] = etag_of(server.version)
    return ServerRead.of(server)


@router.delete(
    "/servers/{server_id}",
    operation_id="removeServer",
    summary="Remove a server that holds nothing",
    status_code=204,
    tags=["servers"],
    openapi_extra=staff("admin"),
    responses=document(204, None, 404, 409, 412, 428),
)
async def remove_server(server_id: ServerKey, request: Request, if_match: IfMatch = None) -> None:
    """Needs the ETag that was read. Nothing is done on the server itself."""
    version = version_of(if_match)
    await to_thread.run_sync(
        lambda: platform_of(request).servers.remove_server(
            ServerId(server_id), version=version, command=command_of(request)
        )
    )
