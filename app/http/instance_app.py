"""The application that lines serve, wherever they work: web services and gateways of instances."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI

from app.core.clock import Clock
from app.http import holder_api, instance_api, queue_api, transfers
from app.http.cursor import CursorCodec
from app.http.problem import register_problem_handlers

_VERSION: Final = "1.0.0"


def make_instance_app(
    clock: Clock, *, cursor_key: bytes, root_certificate: Callable[[], Awaitable[str]]
) -> FastAPI:
    """One application for all lines of a process.

    Args:
        cursor_key: the same for all lines, so that a list begun at one goes on at another.
        root_certificate: the platform root, from the gateway.
    """
    app = new_app(
        clock,
        "wops instance API",
        "License Central of one instance, for ERP and CRM systems and activation wizards.",
    )
    app.state.cursors = CursorCodec(cursor_key)
    app.state.root_certificate = root_certificate
    for router in (instance_api.router, transfers.api, queue_api.api, holder_api.router):
        app.include_router(router)
    return app


def new_app(clock: Clock, title: str, description: str, *, for_staff: bool = False) -> FastAPI:
    """An application of ours without routes: nothing but JSON and problems."""
    app = FastAPI(
        title=title,
        description=description,
        version=_VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    register_problem_handlers(app, clock=clock, for_staff=for_staff)
    return app
