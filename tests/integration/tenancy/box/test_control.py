"""Boxes as staff and the healer see them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from fsb_gateway.report import BoxReport
from tenancy.box.control import BoxControl
from tests.fake.box_gateway import FakeGateway
from tests.integration.tenancy.box.rack import Rack

pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


@dataclass
class HangingGateway(FakeGateway):
    async def boxes(self) -> tuple[BoxReport, ...]:
        await asyncio.Event().wait()
        return ()


def test_boxes_of_a_gateway_that_hangs_are_listed_without_its_reports(rack: Rack) -> None:
    rack.add("shared-box-9")
    control = BoxControl(rack.service, HangingGateway())

    async def look() -> dict[str, bool]:
        async with asyncio.timeout(60):
            found = await control.list_boxes(within=timedelta(milliseconds=10))
        return {each.name: each.record is not None and each.report is None for each in found}

    seen = asyncio.run(look())
    assert seen["shared-box-9"]
    assert all(seen.values())
