"""Handing out an export: streamed from the disk, with the digest by which the receiver can check it."""

from __future__ import annotations

import base64
from typing import Any, Final

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import FileResponse

from app.core.ids import InstanceId
from app.http.admin_route import platform_of

EXPORT_MEDIA_TYPE: Final = "application/zip"

FILE_ANSWER: Final[dict[str, Any]] = {
    "description": "The file.",
    "headers": {
        "Repr-Digest": {
            "description": "SHA-256 of the file (RFC 9530).",
            "schema": {"type": "string"},
        }
    },
    "content": {
        EXPORT_MEDIA_TYPE: {
            "schema": {"type": "string", "format": "binary"},
            "example": "a ZIP file with manifest.json and one JSON Lines file per table",
        }
    },
}


async def hand_out(request: Request, instance_id: InstanceId, export_id: str) -> FileResponse:
    """The file of an export.

    Raises:
        ExportNotFound, ExportDamaged: there is nothing to hand out.
    """
    exports = platform_of(request).exports
    export, path = await to_thread.run_sync(lambda: exports.find_file(instance_id, export_id))
    digest = base64.b64encode(bytes.fromhex(export.sha256)).decode()
    return FileResponse(
        path,
        media_type=EXPORT_MEDIA_TYPE,
        filename=export.file_name,
        headers={"Repr-Digest": f"sha-256=:{digest}:", "Cache-Control": "no-store"},
    )
