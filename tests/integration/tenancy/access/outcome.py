"""What came of a call that may be refused."""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import DomainError


def outcome(call: Callable[[], object]) -> str:
    """The code of the refusal, or `done`."""
    try:
        call()
    except DomainError as refused:
        return refused.code
    return "done"
