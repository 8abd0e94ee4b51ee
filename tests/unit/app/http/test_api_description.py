"""A description is made once, however many ask for it at once, and not on the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from app.http.openapi import ApiDescription


def make_request() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": []})


def test_is_made_once_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    app, makers = FastAPI(), []
    described = app.openapi

    def note() -> dict[str, Any]:
        makers.append(threading.current_thread())
        return described()

    monkeypatch.setattr(app, "openapi", note)
    description = ApiDescription(app, credentials="basic")

    async def ask_many() -> set[bytes]:
        answers = await asyncio.gather(*(description.answer(make_request()) for _ in range(20)))
        return {bytes(each.body) for each in answers}

    assert len(asyncio.run(ask_many())) == 1
    (maker,) = makers
    assert maker is not threading.current_thread()
