"""Where requests come in: from where none is answered, who may say what of a caller, and the servers on sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.quiet_server import QuietServer
from app.http.bounded_protocol import BoundedProtocol
from app.http.call import peer_of
from app.http.front_header import FRONT_WORD, TRUSTED_FRONT, read_front, refuse_certificate
from tenancy.access.policy import Address

HEALTH: Final = frozenset({"/livez", "/readyz"})
_GRACE_SECONDS: Final = 25


class TrustedFrontDoor:
    """An application behind the front's socket: only there is believed what the front says of a caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that the front passes on."""
        if scope["type"] == "http":
            scope[TRUSTED_FRONT] = True
        await self._app(scope, receive, send)


def note_front(scope: Scope, refuse_denied: Callable[[Address], None] | None = None) -> None:
    """Keep what the trusted front says; refuse callers from denied networks, and who says himself what it says.

    Args:
        refuse_denied: raises if nobody from there is answered; None: whoever it is, he is.

    Raises:
        CallerDenied: before anything else is looked at.
        ClientCertNotAccepted, ClientCertMalformed, ForwardedInvalid: see `app.http.front_header`.
    """
    is_front = bool(scope.get(TRUSTED_FRONT))
    # Whether we live and are ready, the front asks for itself: then there is no caller to speak of.
    if is_front and scope["path"] not in HEALTH:
        scope[FRONT_WORD] = read_front(scope["headers"])
    if refuse_denied is not None:
        peer = peer_of(Request(scope))
        # Whoever comes in by the control socket has no address.
        if not peer.is_unspecified:
            refuse_denied(peer)
    if not is_front:
        refuse_certificate(scope["headers"])


def make_server(app: ASGIApp, *, grace_seconds: int | None = _GRACE_SECONDS) -> QuietServer:
    """A server as every socket has it.

    Args:
        grace_seconds: how long what runs may go on after the server was told to end; None: as long as it takes.
    """
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=grace_seconds,
    )
    return QuietServer(config)
