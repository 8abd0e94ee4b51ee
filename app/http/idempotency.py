"""`Idempotency-Key`: the same key carries the same request out once.

**Source:** draft-ietf-httpapi-idempotency-key-header-07, taken over as our own documented rule (it has expired).
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from starlette.requests import Request

from app.core.errors import DomainError
from app.core.ids import new_id

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
_KEY: Final = re.compile(r'"?([\x21\x23-\x7e]{1,128})"?')


class IdempotencyKeyMissing(DomainError):
    """This change has no natural key, so the caller has to give one."""

    code = "idempotency_key_missing"


class IdempotencyKeyInvalid(DomainError):
    """The key is empty, too long, or holds other than visible characters."""

    code = "idempotency_key_invalid"


def operation_id_of(request: Request, *, principal: str, operation: str, required: bool) -> str:
    """The operation id under which a request is carried out; scope: principal and route, within the instance.

    Raises:
        IdempotencyKeyMissing: required, and not there.
        IdempotencyKeyInvalid: not a key.
    """
    given = request.headers.get(HEADER)
    if given is None:
        if required:
            raise IdempotencyKeyMissing(
                f"Send {HEADER} with a new UUID; repeat it when you repeat the request.", header=HEADER
            )
        return new_id("op")
    match = _KEY.fullmatch(given)
    if match is None:
        raise IdempotencyKeyInvalid(f"{HEADER} holds 1 to 128 visible ASCII characters.", header=HEADER)
    digest = hashlib.sha256("\x00".join((principal, operation, match[1])).encode()).hexdigest()
    return f"idem:{digest}"
