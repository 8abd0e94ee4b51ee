"""Where processes of tests log that have not been told."""

from __future__ import annotations

import io
import os
from typing import TextIO, cast

import structlog


class _Output(io.TextIOBase):
    """Standard output, without Python's own stream.

    Servers of tests log from their threads while pytest reads and empties that stream: once, in a run of the whole
    suite, the interpreter died of it.
    """

    def write(self, text: str, /) -> int:
        os.write(1, text.encode(errors="backslashreplace"))
        return len(text)


def log_to_output() -> None:
    """Log to standard output, as structlog does by itself."""
    structlog.reset_defaults()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, _Output())))
