"""`/portal/v1/{instance}/exports`: a customer takes everything of his instance with him."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request
from starlette.responses import FileResponse

from app.core.ids import InstanceId, OperationId
from app.http.admin_route import RETRY_SECONDS, accepted, platform_of
from app.http.export_file import FILE_ANSWER, hand_out
from app.http.portal_route import PORTAL, InstanceName, PortalRoute, command_of, document, instance_of
from app.http.schema import lifecycle_example as example
from app.http.schema.lifecycle import ExportRead, ExportRequestRead
from tenancy.errors import OperationNotFound
from tenancy.lifecycle.errors import ExportNotFound

router = APIRouter(prefix=PORTAL, route_class=PortalRoute)

ExportKey = Annotated[str, Path(max_length=64, description="Id of an export.")]


@router.post(
    "/exports",
    operation_id="requestOwnExport",
    summary="Export the instance",
    status_code=202,
    tags=["exports"],
    responses=document(202, example.EXPORT_REQUEST, 400, 409),
)
async def request_export(instance: InstanceName, request: Request, response: Response) -> ExportRequestRead:
    """Have everything written into a file; ask its address until it has `succeeded`."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).lifecycle.request_export(
            instance_of(request), command=command_of(request)
        )
    )
    operation = accepted(done, response, address=f"/portal/v1/{instance}/exports")
    return ExportRequestRead(export_id=operation.operation_id, state=operation.state)


@router.get(
    "/exports",
    operation_id="listOwnExports",
    summary="List exports",
    tags=["exports"],
    responses=document(200, [example.EXPORT]),
)
async def list_exports(instance: InstanceName, request: Request) -> list[ExportRead]:
    """All exports of the instance, newest first; deleted ones say so."""
    found = await to_thread.run_sync(platform_of(request).exports.list_exports, instance_of(request))
    return [ExportRead.of(each) for each in found]


@router.get(
    "/exports/{export_id}",
    operation_id="getOwnExport",
    summary="See how far an export is",
    tags=["exports"],
    responses=document(200, example.EXPORT_REQUEST),
)
async def get_export(
    instance: InstanceName, export_id: ExportKey, request: Request, response: Response
) -> ExportRequestRead:
    """The state of the operation that makes it."""
    instance_id = instance_of(request)
    operation_state = await to_thread.run_sync(_state_of, request, instance_id, export_id)
    if operation_state not in ("succeeded", "recovered"):
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return ExportRequestRead(export_id=export_id, state=operation_state)


@router.get(
    "/exports/{export_id}/file",
    operation_id="downloadOwnExport",
    summary="Fetch an export",
    tags=["exports"],
    response_class=FileResponse,
    responses={**document(200, None, 409), 200: FILE_ANSWER},
)
async def download_export(instance: InstanceName, export_id: ExportKey, request: Request) -> FileResponse:
    """The file; parts of it with Range."""
    return await hand_out(request, instance_of(request), export_id)


def _state_of(request: Request, instance_id: InstanceId, export_id: str) -> str:
    """The state of an export of this instance; any other operation does not exist here.

    Raises:
        ExportNotFound: there is none of that id.
    """
    try:
        found = platform_of(request).operations.get_operation(OperationId(export_id))
    except OperationNotFound:
        found = None
    if (
        found is None
        or found.object_id != instance_id
        or found.kind not in ("export_instance", "end_instance")
    ):
        raise ExportNotFound("There is no such export.")
    return found.state
