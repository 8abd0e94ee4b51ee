"""How many transactions a box has spent, beside its journal: a journal that is set aside must not give them back.

`<box>.journal.spent` is the total in digits. It is written at each start and with each new generation, and when the
journal is found damaged, then with what can still be read of it. It is not there while nothing was ever deducted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.core.file import replace_file

SUFFIX: Final = ".spent"
# More than any number of transactions has.
_DIGITS_MAX: Final = 20


def read_total(path: Path) -> int | None:
    """The total beside a journal; 0 if there is none, None if it cannot be understood.

    Raises:
        OSError: it cannot be read.
    """
    try:
        text = _beside(path).read_bytes()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdigit() and len(text) <= _DIGITS_MAX else None


def keep_total(path: Path, spent: int) -> None:
    """Write the total beside a journal, unless it is there already, or more.

    Raises:
        OSError: it cannot be written.
    """
    if spent > (read_total(path) or 0):
        replace_file(_beside(path), str(spent).encode())


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)
