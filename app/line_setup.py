"""What control tells a line of itself: settings and keys of this platform, as `line.json` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.errors import DomainError, InputInvalid
from app.core.ids import LineId
from app.gateway_process import CONTROL_SOCKET, JOBS_SOCKET
from app.operations.line_directory import is_running, list_lines, remove_line
from app.settings import Settings
from lb.front.settings import FrontTimes
from tenancy.credential import CredentialKey
from tenancy.line_file import GatewayTls, LineFile
from tenancy.runner.port import LIMIT_BOUNDS, LineLimits

_UNIX: Final = "unix:"
_NAMED: Final = 5
"""Lines in a message for people."""


class LinesRunning(DomainError):
    """Lines work in processes of their own while they are to work in this one: each would have two owners."""

    code = "lines_running"


def check_lines(settings: Settings) -> None:
    """Refuse lines in processes whose gateway only this process can reach, or whose limits are none.

    Raises:
        InputInvalid: boxes work in this process; see also `line_limits`.
    """
    line_limits(settings, None)
    if settings.lines == "processes" and settings.boxes == "embedded":
        raise InputInvalid(
            "Lines in processes of their own cannot reach boxes in this one: choose WOPS_BOXES=processes, or a"
            " gateway's address.",
            field="lines",
        )


def clear_lines(settings: Settings) -> None:
    """Lines are to work in this process: remove what those in processes of their own have left, so that none starts.

    A line's process holds its directory's lock as long as it lives, frozen or not. To be called while the data
    directory is locked.

    Raises:
        LinesRunning: some live.
        OSError: a directory cannot be removed.
    """
    if settings.lines == "processes":
        return
    directories = list_lines(settings.data_dir.resolve())
    running = [each.name for each in directories if is_running(each)]
    running = running or [each.name for each in directories if not remove_line(each)]
    if running:
        some = ", ".join(running[:_NAMED]) + (", …" if running[_NAMED:] else "")
        raise LinesRunning(
            f"Lines still run as processes: {some}. End them first (SIGTERM drains a line), or start with"
            " WOPS_LINES=processes.",
            lines=running,
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


def line_limits(settings: Settings, line_id: LineId | None) -> LineLimits:
    """What a line may use at most; None: one of which nothing is said.

    Raises:
        InputInvalid: the setting is not written as it should be.
    """
    general: dict[str, int] = {}
    own: dict[str, int] = {}
    try:
        for part in settings.line_limits.split(";"):
            name, colon, text = part.rpartition(":")
            limits = dict(_limit(word) for word in text.split())
            LineLimits(**limits)
            if colon and not name.strip():
                raise ValueError("name the line before the colon")
            if not colon or name.strip() == line_id:
                (own if colon else general).update(limits)
        return LineLimits(**(general | own))
    except ValueError as error:
        raise InputInvalid(f"WOPS_LINE_LIMITS: {error}.", field="line_limits") from error


def _limit(word: str) -> tuple[str, int]:
    name, _, number = word.partition("=")
    if name not in LIMIT_BOUNDS or not number.isascii() or not number.isdigit():
        raise ValueError(f"write {', '.join(f'{each}=…' for each in LIMIT_BOUNDS)}, not {word!r}")
    return name, int(number)


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
        limits=limits or line_limits(settings, line_id),
        check_key=key.for_lines(),
        cursor_key=key.derive("cursor"),
        program_wait_seconds=settings.program_wait_seconds,
        program_deadline_seconds=settings.program_deadline_seconds,
        drive_lease_seconds=settings.drive_lease_seconds,
        check_interval_seconds=FrontTimes().check_every.total_seconds(),
    )
