"""What keeps one broken instance from stopping work that is done for all of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import DomainError

_log = logging.getLogger(__name__)


@contextmanager
def carry_on(event: str, **told: str) -> Iterator[None]:
    """Log whatever goes wrong inside and go on behind it; only what ends a task or the process passes through.

    Args:
        event: what did not succeed, for the log.
        told: whose it was.
    """
    try:
        yield
    except DomainError as error:
        _log.warning(event, extra={**told, "code": error.code})
    except Exception:
        # A damaged file or a defect of ours: with a traceback, for somebody has to look.
        _log.exception(event, extra=told)
