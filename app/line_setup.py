"""What control tells a line of itself: settings and keys of this platform, as `line.json` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.errors import InputInvalid
from app.core.ids import LineId
from app.gateway_process import CONTROL_SOCKET, JOBS_SOCKET
from app.settings import Settings
from tenancy.credential import CredentialKey
from tenancy.line_file import GatewayTls, LineFile
from tenancy.runner.port import LineLimits

_UNIX: Final = "unix:"


def check_lines(settings: Settings) -> None:
    """Refuse lines in processes whose gateway only this process can reach.

    Raises:
        InputInvalid: boxes work in this process.
    """
    if settings.lines == "processes" and settings.boxes == "embedded":
        raise InputInvalid(
            "Lines in processes of their own cannot reach boxes in this one: choose WOPS_BOXES=processes, or a"
            " gateway's address.",
            field="lines",
        )


def line_gateway(settings: Settings) -> str:
    """Where lines reach the gateway: beside what control uses, unless the settings say otherwise."""
    if settings.line_gateway is not None:
        return settings.line_gateway
    if settings.boxes == "processes":
        return f"{_UNIX}{settings.box_dir / JOBS_SOCKET}"
    path = Path(settings.boxes.removeprefix(_UNIX))
    is_ours = settings.boxes.startswith(_UNIX) and path.name == CONTROL_SOCKET
    return f"{_UNIX}{path.with_name(JOBS_SOCKET)}" if is_ours else settings.boxes


def line_file(
    settings: Settings, key: CredentialKey, line_id: LineId, *, limits: LineLimits | None = None
) -> LineFile:
    """What a line of this platform is."""
    tls = None
    if settings.fsb_certificate and settings.fsb_key and settings.fsb_ca:
        files = (settings.fsb_certificate, settings.fsb_key, settings.fsb_ca)
        certificate, private_key, ca = (str(each.resolve()) for each in files)
        tls = GatewayTls(certificate=certificate, key=private_key, ca=ca)
    return LineFile(
        line_id=line_id,
        gateway=line_gateway(settings),
        gateway_tls=tls,
        limits=limits or LineLimits(),
        check_key=key.for_lines(),
        cursor_key=key.derive("cursor"),
        program_wait_seconds=settings.program_wait_seconds,
        program_deadline_seconds=settings.program_deadline_seconds,
        drive_lease_seconds=settings.drive_lease_seconds,
    )
