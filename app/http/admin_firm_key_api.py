"""`/admin/v1/firm-keys`: which firm keys there are, where they are, and what two people have done to them."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from app.core.ids import OperationId
from app.core.language import choose_language
from app.http.admin_operation_api import OperationKey
from app.http.admin_route import document, platform_of
from app.http.ceremony_page import PAGE_EXAMPLE, PAGE_HEADERS, render_page
from app.http.guarded import ask_approval, planned
from app.http.schema import box_example as show
from app.http.schema import staff_example
from app.http.schema.ceremony import CeremonyRead
from app.http.schema.firm_key import FirmKeyDetailRead, FirmKeyRead, KeyCopyBody, KeyMoveBody
from app.http.schema.staff import ApprovalRead, GuardedAsk
from app.http.staff import StaffRoute, staff
from fsb_gateway.job import FIRM_CODE_MAX
from tenancy.box.control import BoxControl
from tenancy.staff.approval import Plan

router = APIRouter(prefix="/admin/v1", route_class=StaffRoute, tags=["firm keys"])

FirmCodeKey = Annotated[
    int, Path(ge=1, le=FIRM_CODE_MAX, description="A vendor's firm code.", examples=[6_000_100])
]
LanguageQuery = Annotated[
    str | None, Query(max_length=8, description="de or en; else what the browser likes better.")
]


@router.get(
    "/firm-keys",
    operation_id="listFirmKeys",
    summary="List firm keys",
    openapi_extra=staff("read"),
    responses=document(200, [show.FIRM_KEY]),
)
async def list_firm_keys(request: Request) -> list[FirmKeyRead]:
    """All firm keys, by firm code, and the boxes that hold them."""
    return [FirmKeyRead.of(each) for each in await _control(request).list_keys()]


@router.get(
    "/firm-keys/{firm_code}",
    operation_id="getFirmKey",
    summary="Read a firm key's certificates",
    openapi_extra=staff("read"),
    responses=document(200, show.FIRM_KEY_DETAIL, 404, 422),
)
async def get_firm_key(firm_code: FirmCodeKey, request: Request) -> FirmKeyDetailRead:
    """One firm key with its certificate and that of its instance's authority, as PEM."""
    return FirmKeyDetailRead.of(await _control(request).get_key(firm_code))


@router.post(
    "/firm-keys/{firm_code}:copy",
    operation_id="copyFirmKey",
    summary="Ask to copy a firm key into one more box",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 410, 422),
)
async def copy_firm_key(
    firm_code: FirmCodeKey, body: KeyCopyBody, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it: wrapped into a box that works for the key's pool and lacks it."""
    plan = await planned(_control(request).plan_copy(firm_code, to=body.to))
    return await _ask(request, response, "copyFirmKey", firm_code=firm_code, reason=body.reason, plan=plan)


@router.post(
    "/firm-keys/{firm_code}:move",
    operation_id="moveFirmKey",
    summary="Ask to move a firm key from one box into another",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 410, 422),
)
async def move_firm_key(
    firm_code: FirmCodeKey, body: KeyMoveBody, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it: copied, wrapped, then destroyed where it was.

    If the other box holds it already, nothing is copied, and the record says so.
    """
    plan = await planned(_control(request).plan_move(firm_code, source=body.source, to=body.to))
    return await _ask(request, response, "moveFirmKey", firm_code=firm_code, reason=body.reason, plan=plan)


@router.post(
    "/firm-keys/{firm_code}:rotate",
    operation_id="rotateFirmKey",
    summary="Ask to put a new firm key in the place of the old one",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 410, 422),
)
async def rotate_firm_key(
    firm_code: FirmCodeKey, body: GuardedAsk, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it. What the old key has signed still verifies."""
    plan = await planned(_control(request).plan_key(firm_code))
    return await _ask(request, response, "rotateFirmKey", firm_code=firm_code, reason=body.reason, plan=plan)


@router.post(
    "/firm-keys/{firm_code}:retire",
    operation_id="retireFirmKey",
    summary="Ask to destroy a firm key everywhere",
    status_code=202,
    openapi_extra=staff("change"),
    responses=document(202, staff_example.APPROVAL, 400, 404, 409, 422),
)
async def retire_firm_key(
    firm_code: FirmCodeKey, body: GuardedAsk, request: Request, response: Response
) -> ApprovalRead:
    """Once a second person has approved it, for good; only of an instance that has ended. Its certificates stay."""
    plan = await planned(_control(request).plan_key(firm_code))
    return await _ask(request, response, "retireFirmKey", firm_code=firm_code, reason=body.reason, plan=plan)


@router.get(
    "/operations/{operation_id}/ceremony",
    operation_id="getKeyCeremony",
    summary="Read the record of a key ceremony",
    openapi_extra=staff("read"),
    responses=document(200, show.CEREMONY, 404, 409),
)
async def get_key_ceremony(operation_id: OperationKey, request: Request) -> CeremonyRead:
    """What was done to which firm keys, by whom, when and why. It never changes: `sha256` is that of `document`."""
    found = await to_thread.run_sync(platform_of(request).ceremonies.get_record, OperationId(operation_id))
    return CeremonyRead.of(found)


@router.get(
    "/operations/{operation_id}/ceremony/page",
    operation_id="printKeyCeremony",
    summary="Print the record of a key ceremony",
    openapi_extra=staff("read"),
    response_class=HTMLResponse,
    responses={
        **document(200, None, 404, 409, 422),
        200: {
            "description": "The record as a page to be printed and signed, in German or English.",
            "content": {"text/html": {"schema": {"type": "string"}, "example": PAGE_EXAMPLE}},
        },
    },
)
async def print_key_ceremony(
    operation_id: OperationKey, request: Request, lang: LanguageQuery = None
) -> HTMLResponse:
    """The same record as a page, with lines for signatures."""
    found = await to_thread.run_sync(platform_of(request).ceremonies.get_record, OperationId(operation_id))
    language = choose_language(lang, request.headers.get("accept-language", ""))
    headers = {**PAGE_HEADERS, "Content-Language": language}
    return HTMLResponse(render_page(found, language), headers=headers)


async def _ask(
    request: Request, response: Response, action: str, *, firm_code: int, reason: str, plan: Plan
) -> ApprovalRead:
    """Ask a second person for something that is done to a firm key."""
    instance_id = await _instance_of(request, firm_code)
    return await ask_approval(
        request, response, action=action, object_id=instance_id, reason=reason, parameters=plan
    )


def _control(request: Request) -> BoxControl:
    return platform_of(request).boxes.control


async def _instance_of(request: Request, firm_code: int) -> str:
    """What is locked while something is done to a key: the instance whose key it is."""
    home = await to_thread.run_sync(platform_of(request).boxes.service.get_home, firm_code)
    return home.instance_id
