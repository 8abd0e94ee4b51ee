"""`wops fsb certificate`: what a machine needs for mutual TLS with a gateway, as files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from app.core.clock import SystemClock, to_text
from app.core.errors import InputInvalid
from app.core.file import create_file
from app.core.json import JsonValue
from app.core.lock import make_private
from app.settings import Settings
from fsb_gateway.carrier.machine_certificate import MachineAuthorities, Role
from fsb_gateway.error import JobMalformed
from fsb_gateway.key.store import Keystore


def write_certificate(
    settings: Settings, name: str, role: Role, *, to: Path, lifetime: timedelta
) -> dict[str, JsonValue]:
    """Make a certificate and write it; returns the files' paths, and until when it is valid.

    Raises:
        InputInvalid: the name is none, or there is such a file already.
        FsbError: a key file cannot be opened.
        OSError: the directory cannot be written to.
    """
    make_private(settings.data_dir.resolve())
    clock = SystemClock()
    keys = settings.box_dir / "keys"
    keystore = Keystore(keys, clock=clock, key_encryption_key=settings.key_encryption_key_bytes)
    authorities = MachineAuthorities(keys / "machine-ca", keystore.wrap, clock=clock)
    try:
        made = authorities.issue(name, role, lifetime=lifetime)
    except JobMalformed:
        raise InputInvalid(
            "--name is a host name or an address: letters, digits, dots, hyphens and underscores.",
            field="name",
        ) from None
    to.mkdir(parents=True, exist_ok=True)
    written: dict[str, JsonValue] = {
        "certificate": _write(to / f"{name}.crt", made.certificate),
        "key": _write(to / f"{name}.key", made.key),
    }
    trusted: tuple[Role, ...] = ("line", "control") if role == "gateway" else ("gateway",)
    for each in trusted:
        written[f"{each}-ca"] = _write(to / f"{each}-ca.crt", authorities.certificate(each))
    return {**written, "valid until": to_text(made.expires_at)}


def _write(path: Path, content: bytes) -> str:
    # The same authority again is no conflict; another certificate or key in its place would be.
    if not create_file(path, content) and path.read_bytes() != content:
        raise InputInvalid(f"{path} is there already; choose another directory.", field="out")
    return str(path)
