"""Times in files: microseconds since 1970-01-01 UTC."""

from __future__ import annotations

from datetime import datetime

from app.core.clock import from_us
from fsb_gateway.error import FileMalformed

# The year 9999, where datetime ends.
_END_OF_TIME_US = 253_370_764_800_000_000


def read_time(microseconds: int) -> datetime:
    """The time that a file states.

    Raises:
        FileMalformed: before 1970 or after the last year that a computer counts here.
    """
    if not 0 <= microseconds < _END_OF_TIME_US:
        raise FileMalformed("the time in this file is out of range")
    return from_us(microseconds)
