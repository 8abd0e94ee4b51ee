"""A request as rules see it, for the embedded front door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from urllib.parse import quote

from anyio import to_thread
from starlette.requests import Request
from starlette.types import Scope

from app.core.errors import DatabaseUnavailable
from app.http.call import certificate_of, peer_of
from app.operations.directory import Caller
from app.operations.line import Address, InstanceRuntime
from lb.rule.decide import RequestFacts
from tenancy.errors import InstanceDatabaseMissing, InstanceNotReady


def facts_of(scope: Scope) -> RequestFacts:
    """The facts of a request that HAProxy would see, too.

    Args:
        scope: ASGI, of HTTP; what the trusted front says of the caller has been noted.
    """
    request = Request(scope)
    certificate, peer = certificate_of(request), peer_of(request)
    return RequestFacts.of(
        scope["method"],
        # Not every ASGI server tells it.
        scope.get("raw_path") or quote(scope["path"]).encode(),
        headers=scope["headers"],
        source=None if peer.is_unspecified else peer,
        fingerprint=None if certificate is None else sha256(certificate).hexdigest(),
    )


async def caller_of(
    scope: Scope, open_runtime: Callable[[Address], InstanceRuntime], address: Address
) -> Caller:
    """Who sends a request, for the rules of an instance.

    Args:
        scope: ASGI, of HTTP.
        open_runtime: opens that instance at a line; blocks.
        address: of the instance, at any line.
    """
    facts = facts_of(scope)
    if facts.fingerprint is None:
        return Caller(facts=facts)
    certificates = await to_thread.run_sync(lambda: _fingerprints(open_runtime, address))
    return Caller(facts=facts, certificates=certificates)


def _fingerprints(
    open_runtime: Callable[[Address], InstanceRuntime], address: Address
) -> Mapping[str, tuple[str, ...]]:
    """Empty while the instance's database is away: the line that gets the request then refuses it."""
    try:
        return open_runtime(address).access.fingerprints()
    except (DatabaseUnavailable, InstanceDatabaseMissing, InstanceNotReady):
        return {}
