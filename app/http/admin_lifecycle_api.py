"""`/admin/v1`: the life of an instance: renamed, frozen, ended, exported, erased; and a customer's name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Response
from starlette.requests import Request
from starlette.responses import FileResponse

from app.core.command import Command, Done
from app.core.ids import CustomerId, InstanceId
from app.http.admin_route import InstanceKey, changed, document, noted, platform_of, started
from app.http.etag import IfMatch, etag_of, version_of
from app.http.export_file import FILE_ANSWER, hand_out
from app.http.guarded import ask_approval
from app.http.instance_view import show_instance
from app.http.schema import admin_example as show
from app.http.schema import lifecycle_example as example
from app.http.schema.lifecycle import (
    CustomerChange,
    ErasureCertificateRead,
    ExportRead,
    InstanceEnd,
    InstanceErase,
    InstanceReinstate,
    InstanceRename,
)
from app.http.schema.operation import OperationRead
from app.http.schema.staff import ApprovalRead
from app.http.schema.staff_example import APPROVAL
from app.http.schema.tenancy import CustomerRead, InstanceRead
from app.http.staff import StaffRoute, command_of, staff
from tenancy import Instance
from tenancy.lifecycle.service import LifecycleService

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute)

ExportKey = Annotated[str, Path(max_length=64, description="Id of an export: of the operation that made it.")]


@router.patch(
    "/customers/{customer_id}",
    operation_id="changeCustomer",
    summary="Change a customer",
    tags=["customers"],
    openapi_extra=staff("change"),
    responses=document(200, show.CUSTOMER, 404, 412, 422, 428),
)
async def change_customer(
    customer_id: Annotated[str, Path(max_length=64)],
    body: CustomerChange,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> CustomerRead:
    """Change how a customer's name is written; the short name stays."""
    version = version_of(if_match)
    done = await to_thread.run_sync(
        lambda: platform_of(request).customers.change_customer(
            CustomerId(customer_id),
            display_name=body.display_name,
            expected_version=version,
            command=command_of(request),
        )
    )
    response.headers["ETag"] = etag_of(done.value.version)
    return CustomerRead.of(noted(done, response))


@router.post(
    "/instances/{instance_id}:rename",
    operation_id="renameInstance",
    summary="Rename an instance",
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(200, show.INSTANCE, 400, 404, 409, 412, 422, 428),
)
async def rename_instance(
    instance_id: InstanceKey,
    body: InstanceRename,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> InstanceRead:
    """Change the first segment of its URLs. The old name answers 404 and goes to nobody else; user names stay."""
    return await _change(
        request,
        response,
        if_match,
        lambda service, version, command: service.rename_instance(
            InstanceId(instance_id), body.name, expected_version=version, command=command
        ),
    )


@router.post(
    "/instances/{instance_id}:freeze",
    operation_id="freezeInstance",
    summary="Freeze an instance",
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(200, show.INSTANCE, 400, 404, 409, 412, 428),
)
async def freeze_instance(
    instance_id: InstanceKey, request: Request, response: Response, if_match: IfMatch = None
) -> InstanceRead:
    """Let nobody in, at every line within a second: 403 `instance_frozen`. Data and portal stay."""
    return await _change(
        request,
        response,
        if_match,
        lambda service, version, command: service.freeze_instance(
            InstanceId(instance_id), expected_version=version, command=command
        ),
    )


@router.post(
    "/instances/{instance_id}:unfreeze",
    operation_id="unfreezeInstance",
    summary="Unfreeze an instance",
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(200, show.INSTANCE, 400, 404, 409, 412, 428),
)
async def unfreeze_instance(
    instance_id: InstanceKey, request: Request, response: Response, if_match: IfMatch = None
) -> InstanceRead:
    """Let callers in again."""
    return await _change(
        request,
        response,
        if_match,
        lambda service, version, command: service.unfreeze_instance(
            InstanceId(instance_id), expected_version=version, command=command
        ),
    )


@router.post(
    "/instances/{instance_id}:reinstate",
    operation_id="reinstateInstance",
    summary="Take the end of a contract back",
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(200, show.INSTANCE, 400, 404, 409, 412, 422, 428),
)
async def reinstate_instance(
    instance_id: InstanceKey,
    body: InstanceReinstate,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
) -> InstanceRead:
    """Bring an ended instance back, until it has been erased."""
    return await _change(
        request,
        response,
        if_match,
        lambda service, version, command: service.reinstate_instance(
            InstanceId(instance_id), to=body.state, expected_version=version, command=command
        ),
    )


@router.post(
    "/instances/{instance_id}:end",
    operation_id="endInstance",
    summary="Ask for the end of a contract",
    status_code=202,
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(202, APPROVAL, 400, 404, 409, 422),
)
async def end_instance(
    instance_id: InstanceKey, body: InstanceEnd, request: Request, response: Response
) -> ApprovalRead:
    """Freeze, export and retain, once a second person has approved it."""
    return await ask_approval(
        request,
        response,
        action="endInstance",
        object_id=instance_id,
        reason=body.reason,
        parameters={"retention_days": body.retention_days},
    )


@router.post(
    "/instances/{instance_id}:erase",
    operation_id="eraseInstance",
    summary="Ask for the erasure of an ended instance",
    status_code=202,
    tags=["instances"],
    openapi_extra=staff("change"),
    responses=document(202, APPROVAL, 400, 404, 409, 422),
)
async def erase_instance(
    instance_id: InstanceKey, body: InstanceErase, request: Request, response: Response
) -> ApprovalRead:
    """Erase database, firm key and exports, once a second person has approved it; leaves a certificate."""
    return await ask_approval(
        request,
        response,
        action="eraseInstance",
        object_id=instance_id,
        reason=body.reason,
        parameters={"early": body.early, "legal_reason": body.legal_reason},
    )


@router.get(
    "/instances/{instance_id}/erasure-certificate",
    operation_id="getErasureCertificate",
    summary="Read the certificate of erasure",
    tags=["instances"],
    openapi_extra=staff("read"),
    responses=document(200, example.CERTIFICATE, 404),
)
async def get_certificate(instance_id: InstanceKey, request: Request) -> ErasureCertificateRead:
    """What was erased, when, and who approved it; verifiable with the public audit key alone."""
    found = await to_thread.run_sync(platform_of(request).eraser.get_certificate, InstanceId(instance_id))
    return ErasureCertificateRead.of(found)


@router.post(
    "/instances/{instance_id}/exports",
    operation_id="requestExport",
    summary="Export an instance",
    status_code=202,
    tags=["exports"],
    openapi_extra=staff("act"),
    responses=document(202, show.OPERATION, 400, 404, 409),
)
async def request_export(instance_id: InstanceKey, request: Request, response: Response) -> OperationRead:
    """Write everything of the instance's database into a file. The operation's id names the export."""
    done = await to_thread.run_sync(
        lambda: platform_of(request).lifecycle.request_export(
            InstanceId(instance_id), command=command_of(request)
        )
    )
    return started(request, done, response)


@router.get(
    "/instances/{instance_id}/exports",
    operation_id="listExports",
    summary="List exports",
    tags=["exports"],
    openapi_extra=staff("look"),
    responses=document(200, [example.EXPORT], 404),
)
async def list_exports(instance_id: InstanceKey, request: Request) -> list[ExportRead]:
    """All exports of an instance, newest first; deleted ones say so."""
    found = await to_thread.run_sync(platform_of(request).exports.list_exports, InstanceId(instance_id))
    return [ExportRead.of(each) for each in found]


@router.get(
    "/instances/{instance_id}/exports/{export_id}/file",
    operation_id="downloadExport",
    summary="Fetch an export",
    tags=["exports"],
    openapi_extra=staff("look"),
    response_class=FileResponse,
    responses={**document(200, None, 404, 409), 200: FILE_ANSWER},
)
async def download_export(instance_id: InstanceKey, export_id: ExportKey, request: Request) -> FileResponse:
    """The file; parts of it with Range."""
    return await hand_out(request, InstanceId(instance_id), export_id)


async def _change(
    request: Request,
    response: Response,
    if_match: str | None,
    change: Callable[[LifecycleService, int, Command], Done[Instance]],
) -> InstanceRead:
    lifecycle = platform_of(request).lifecycle
    return await show_instance(
        request, await changed(request, response, if_match, partial(change, lifecycle))
    )
