"""`/admin/v1/migrations`: all instances to the newest schema, while they work, and what is known of them."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Response
from starlette.requests import Request

from app.http.admin_route import document, platform_of, started
from app.http.schema import admin_example as show
from app.http.schema.migration import MIGRATION_REPORT, MigrationReportRead, MigrationStart
from app.http.schema.operation import OperationRead
from app.http.staff import StaffRoute, command_of, staff

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute, tags=["migrations"])


@router.post(
    "/migrations",
    operation_id="startMigration",
    summary="Bring instances to the newest schema",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, show.OPERATION, 400, 409, 422),
)
async def start_migration(body: MigrationStart, request: Request, response: Response) -> OperationRead:
    """A few at a time, while they work. The operation's log has the progress and names what fails."""
    migrations, command = platform_of(request).migrations, command_of(request)
    done = await to_thread.run_sync(lambda: migrations.start(names=body.instances, command=command))
    return started(request, done, response)


@router.get(
    "/migrations",
    operation_id="getMigrationReport",
    summary="Read which instances have the newest schema",
    openapi_extra=staff("read"),
    responses=document(200, MIGRATION_REPORT),
)
async def get_migration_report(request: Request) -> MigrationReportRead:
    """What the runs so far have found; those that failed, with the reason."""
    return MigrationReportRead.of(await to_thread.run_sync(platform_of(request).migrations.get_report))
