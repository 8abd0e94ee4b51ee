"""The file by which control tells lines in processes of their own from which networks nobody is answered.

    lines/denied.json    one for all lines, beside their directories; replaced whole, followed all the time

Lines go on by it when control is away: a denial has its end with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import msgspec

from app.core.clock import from_us, to_us
from app.core.file import replace_file
from app.core.lock import make_private
from tenancy.front.denied import MOST_DENIED, Denial
from tenancy.line_file import LineFileDamaged

DENIED_FILE: Final = "denied.json"
_FORMAT: Final = 1
_MOST_BYTES: Final = MOST_DENIED * 128
"""A network has 43 characters at most, a time 16; the rest are names and marks."""


class _Denial(msgspec.Struct, omit_defaults=True):
    network: str
    until_us: int | None = None


class _Denied(msgspec.Struct):
    format: int
    denied: list[_Denial]


def write_denials(directory: Path, denials: Sequence[Denial]) -> None:
    """Tell all lines; nothing is written while the file says the same already.

    Args:
        directory: that of the lines' directories; made if it is missing.

    Raises:
        OSError: the disk does not take it; the file is as it was.
    """
    listed = [
        _Denial(network=str(each.network), until_us=None if each.until is None else to_us(each.until))
        for each in denials
    ]
    content = msgspec.json.encode(_Denied(format=_FORMAT, denied=listed))
    path = directory / DENIED_FILE
    if not path.is_file() or path.read_bytes() != content:
        make_private(directory)
        replace_file(path, content)


def read_denials(directory: Path) -> tuple[Denial, ...]:
    """What control has told; none if there is no file: control has never denied anything.

    Raises:
        LineFileDamaged: it is not what control writes.
    """
    path = directory / DENIED_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise LineFileDamaged(f"{path.name} cannot be read: {error.strerror}.", file=path.name) from error
    try:
        found = msgspec.json.decode(content, type=_Denied)
        if found.format != _FORMAT or len(content) > _MOST_BYTES:
            raise ValueError("another format")
        return tuple(_to_denial(each) for each in found.denied)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise LineFileDamaged(f"{path.name} is not what control writes.", file=path.name) from error


def _to_denial(found: _Denial) -> Denial:
    until = None if found.until_us is None else from_us(found.until_us)
    return Denial(network=ip_network(found.network), until=until)
