"""Boxes and firm keys as staff see them: what they want beside what there is, and what a change would do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from anyio import to_thread

from app.core.json import JsonObject
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import FsbUnavailable, PoolUnknown
from fsb_gateway.report import BoxReport, FirmKeyReport, PoolReport
from tenancy.box.errors import FirmKeyNotFound, FirmKeyPresent
from tenancy.box.fact import find_report
from tenancy.box.key_plan import (
    check_destination,
    check_held_elsewhere,
    check_kept,
    check_source,
    check_way,
    keys_held,
    keys_lacking,
    signing,
)
from tenancy.box.port import BoxGateway
from tenancy.box.record import BoxRecord, KeyHome, check_no_stray, owner_of_pool
from tenancy.box.service import BoxService
from tenancy.box.spec_json import describe_spec
from tenancy.box.watch import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxView:
    """One box.

    Attributes:
        record: None for a stray: the gateway has it, and nobody ordered it.
        report: None while the gateway does not answer, or does not know it yet.
        seen: how it was seen last, if that was ever anything but well.
    """

    name: str
    record: BoxRecord | None
    report: BoxReport | None
    seen: Seen | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool.

    Attributes:
        without_box_since: since when no box takes work, once that was noticed.
    """

    report: PoolReport
    without_box_since: datetime | None


class BoxControl:
    """What routes ask. Used from one event loop.

    Args:
        service: what staff want.
        gateway: reports what there is.
    """

    def __init__(self, service: BoxService, gateway: BoxGateway) -> None:
        self._service = service
        self._gateway = gateway

    async def list_boxes(self, *, within: timedelta | None = None) -> list[BoxView]:
        """All boxes, by name; what the gateway would say of them is missing while it does not answer.

        Args:
            within: how long it has for that; None: as long as any answer may take.
        """
        reports: tuple[BoxReport, ...] = ()
        with suppress(FsbUnavailable, TimeoutError):
            async with asyncio.timeout(None if within is None else within.total_seconds()):
                reports = await self._gateway.boxes()
        records = {each.name: each for each in await to_thread.run_sync(self._service.list_boxes)}
        seen = await to_thread.run_sync(self._service.list_conditions)
        by_name = {each.name: each for each in reports}
        return [
            BoxView(
                name=name,
                record=records.get(name),
                report=by_name.get(name),
                seen=seen.get(f"box:{name}"),
            )
            for name in sorted(records.keys() | by_name.keys())
        ]

    async def get_box(self, name: str) -> BoxView:
        """One box that was ordered.

        Raises:
            BoxUnknown: there is none of that name.
        """
        await to_thread.run_sync(self._service.get_box, name)
        return next(each for each in await self.list_boxes() if each.name == name)

    async def list_pools(self) -> list[PoolView]:
        """All pools.

        Raises:
            FsbUnavailable: the gateway does not answer.
        """
        reports = await self._gateway.pools()
        seen = await to_thread.run_sync(self._service.list_conditions)
        return [_pool_view(each, seen.get(f"pool:{each.name}")) for each in reports]

    async def get_pool(self, name: str) -> PoolView:
        """One pool.

        Raises:
            PoolUnknown: there is none of that name.
            FsbUnavailable: the gateway does not answer.
        """
        found = next((each for each in await self.list_pools() if each.report.name == name), None)
        if found is None:
            raise PoolUnknown("there is no such pool", pool=name[:64])
        return found

    async def list_keys(self) -> tuple[FirmKeyReport, ...]:
        """All firm keys, by firm code.

        Raises:
            FsbUnavailable: the gateway does not answer.
        """
        return tuple(sorted(await self._gateway.firm_keys(), key=lambda each: each.firm_code))

    async def get_key(self, firm_code: int) -> FirmKeyReport:
        """One firm key.

        Raises:
            FirmKeyNotFound: there is none of that firm code.
            FsbUnavailable: the gateway does not answer.
        """
        found = find_report(await self._gateway.firm_keys(), firm_code)
        if found is None:
            raise FirmKeyNotFound("There is no key of this firm code.", firm_code=firm_code)
        return found

    async def plan_addition(self, spec: BoxSpec) -> JsonObject:
        """What would be done if a box joined; whose it is follows from its pool.

        Raises:
            PoolUnknown: nobody uses the pool.
            BoxNameTaken: the gateway has a box of that name already.
            FsbUnavailable: the gateway does not answer.
        """
        check_no_stray(spec.name, await self._gateway.boxes())
        homes = await self._homes()
        owner = owner_of_pool(spec.pool, homes)
        described = {**describe_spec(spec), "owner": owner}
        keys = await self._gateway.firm_keys()
        codes = keys_lacking(spec.name, pool=spec.pool, keys=keys, homes=homes)
        return {"box": described, "firm_codes": [*codes]}

    async def plan_removal(self, name: str) -> JsonObject:
        """What would be done if a box left.

        Raises:
            BoxUnknown: there is none of that name.
            BoxLast: a key is nowhere else in its pool, as far as boxes can sign with it.
            FsbUnavailable: the gateway does not answer.
        """
        record = await to_thread.run_sync(self._service.get_box, name)
        keys, homes = await self._gateway.firm_keys(), await self._homes()
        boxes = await to_thread.run_sync(self._service.list_boxes)
        held = keys_held(name, keys)
        found = await self._gateway.boxes()
        check_held_elsewhere(name, held, keys=keys, homes=homes, boxes=boxes, found=found)
        return {"pool": record.spec.pool, "firm_codes": [*held]}

    async def plan_loan(self, name: str, *, to: str, hours: int, force: bool) -> JsonObject:
        """What would be done if a box were lent.

        Raises:
            BoxUnknown: there is none of that name.
            FsbUnavailable: the gateway does not answer.
        """
        record = await to_thread.run_sync(self._service.get_box, name)
        keys = await self._gateway.firm_keys()
        codes = keys_lacking(name, pool=to, keys=keys, homes=await self._homes())
        return {
            "pool": record.spec.pool,
            "to": to,
            "hours": hours,
            "force": force,
            "firm_codes": [*codes],
        }

    async def plan_key(self, firm_code: int) -> JsonObject:
        """What would be done to a key.

        Raises:
            FirmKeyNotFound: there is none of that firm code.
            FsbUnavailable: the gateway does not answer.
        """
        return _described(await self.get_key(firm_code))

    async def plan_copy(self, firm_code: int, *, to: str) -> JsonObject:
        """What would be done if a key were copied.

        Raises:
            FirmKeyNotFound: there is none of that firm code.
            BoxUnknown, PoolForeign: not into that box.
            FirmKeyPresent: it is there already.
            FsbUnavailable: the gateway does not answer.
        """
        key = await self.get_key(firm_code)
        await self._check_target(firm_code, to)
        if to in key.boxes:
            raise FirmKeyPresent("The box holds the key already.", box=to)
        return {**_described(key), "to": to}

    async def plan_move(self, firm_code: int, *, source: str, to: str) -> JsonObject:
        """What would be done if a key were moved.

        Raises:
            FirmKeyNotFound: there is none of that firm code.
            FirmKeyMissing: it is not in the box that it shall leave.
            BoxSpecInvalid, BoxUnknown, PoolForeign: not into that box.
            BoxLast: no box of its own pool would hold it.
            FsbUnavailable: the gateway does not answer.
        """
        key = await self.get_key(firm_code)
        check_source(source, key)
        check_way(source, to)
        home = await self._check_target(firm_code, to)
        boxes = await to_thread.run_sync(self._service.list_boxes)
        holders = signing(key.boxes, await self._gateway.boxes())
        check_kept(source, home, holders=(*holders, to), boxes=boxes)
        return {**_described(key), "from": source, "to": to}

    async def _check_target(self, firm_code: int, to: str) -> KeyHome:
        home = await to_thread.run_sync(self._service.get_home, firm_code)
        target = await to_thread.run_sync(self._service.get_box, to)
        check_destination(target, home, now=self._service.now)
        return home

    async def _homes(self) -> list[KeyHome]:
        return await to_thread.run_sync(self._service.list_key_homes)


def _described(key: FirmKeyReport) -> JsonObject:
    boxes: Sequence[str] = key.boxes
    return {
        "firm_code": key.firm_code,
        "key_id": key.key_id,
        "fingerprint": key.fingerprint,
        "boxes": [*boxes],
    }


def _pool_view(report: PoolReport, seen: Seen | None) -> PoolView:
    is_away = seen is not None and not report.ready_boxes
    return PoolView(report=report, without_box_since=seen.since if is_away and seen is not None else None)
