"""Keeps the gateway and the platform database of one mind about boxes, and tells what is out of order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from anyio import to_thread

from app.core.db import Database, Reader, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import BoxFailed, FsbRejected
from fsb_gateway.report import BoxReport, PoolReport
from tenancy.box import repository
from tenancy.box.key_plan import codes_out_of_place
from tenancy.box.port import BoxGateway
from tenancy.box.reconcile import BoxPlan, plan_boxes
from tenancy.box.service import BoxService
from tenancy.box.watch import Seen, Sighting, compare
from tenancy.operation import repository as operations
from tenancy.operation.plan import pause_before

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = timedelta(seconds=1)
_LONGEST_PAUSE: Final = timedelta(minutes=10)
"""As long as a box that was taken out waits at most."""


class BoxKeeper:
    """Used from one event loop.

    Args:
        db: the platform database.
        gateway: of the boxes.
        service: starts the end of loans.
    """

    def __init__(self, db: Database, gateway: BoxGateway, service: BoxService) -> None:
        self._db = db
        self._gateway = gateway
        self._service = service
        self._told: dict[str, BoxSpec] = {}
        self._refused: dict[str, tuple[int, float]] = {}
        self._doubtful: list[Seen] = []
        self._strays: tuple[str, ...] = ()
        self._turn = asyncio.Lock()

    async def look(self) -> None:
        """One turn: tell the gateway what it lacks, say what has changed, end loans that are over.

        Raises:
            DomainError: the gateway or the platform database is away; the next turn tries again.
        """
        await self.reconcile()
        await to_thread.run_sync(self._service.end_loans)
        pools, boxes = await self._gateway.pools(), await self._gateway.boxes()
        await to_thread.run_sync(lambda: self._note(boxes, pools))

    async def plan(self) -> BoxPlan:
        """What the gateway would be told now; empty once it knows everything."""
        found = await self._gateway.boxes()
        records = await to_thread.run_sync(lambda: self._db.read(repository.list_boxes))
        return plan_boxes([each.told for each in records], found, self._told, now=self._db.clock.now())

    async def reconcile(self) -> int:
        """Tell the gateway what it lacks or has otherwise; returns how many boxes that were.

        Raises:
            DomainError: the gateway is away.
        """
        async with self._turn:
            planned = await self.plan()
            self._note_strays(planned.strays)
            now = self._db.clock.monotonic()
            due = [each for each in planned.put if self._refused.get(each.name, (0, now))[1] <= now]
            for spec in due:
                await self._put(spec)
            return len(due)

    async def _put(self, spec: BoxSpec) -> None:
        """Tell the gateway of a box. What it refuses is told again later and later: a token must not be locked by it.

        Raises:
            FsbError: the gateway is away.
        """
        try:
            if not await self._is_wanted(spec.name):
                return
            await self._gateway.ensure_box(spec)
            if not await self._is_wanted(spec.name):
                # Removed between the look and the telling: what was made again is empty.
                await self._gateway.remove_box(spec.name)
                return
        except (FsbRejected, BoxFailed) as error:
            attempts = self._refused.get(spec.name, (0, 0.0))[0] + 1
            pause = pause_before(attempts, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
            self._refused[spec.name] = (attempts, self._db.clock.monotonic() + pause.total_seconds())
            _log.warning("box_not_put", extra={"box": spec.name, "code": error.code})
            return
        self._refused.pop(spec.name, None)
        self._told[spec.name] = spec

    async def _is_wanted(self, name: str) -> bool:
        found = await to_thread.run_sync(
            lambda: self._db.read(lambda reader: repository.find_box(reader, name))
        )
        return found is not None

    async def retry(self, name: str) -> None:
        """Tell the gateway of one box again, which makes a box that stopped by itself look again.

        Raises:
            BoxUnknown: there is none of that name.
            FsbError: the gateway is away, or refuses it.
        """
        record = await to_thread.run_sync(self._service.get_box, name)
        self._refused.pop(name, None)
        await self._gateway.ensure_box(record.told)

    def _note_strays(self, strays: tuple[str, ...]) -> None:
        if strays and strays != self._strays:
            _log.warning("boxes_not_ordered", extra={"boxes": list(strays)})
        self._strays = strays

    def _note(self, boxes: Sequence[BoxReport], pools: Sequence[PoolReport]) -> None:
        """Store what is seen otherwise twice in a row, with its events; most turns only read."""
        before, foreign = self._db.read(
            lambda reader: (repository.list_conditions(reader), _list_foreign(reader, boxes))
        )
        found = compare(boxes, pools, before, now=self._db.clock.now(), foreign=foreign)
        doubtful = {(each.subject, each.state, each.transactions_low) for each in self._doubtful}
        self._doubtful = [each.seen for each in found]
        for sighting in found:
            seen = sighting.seen
            if (seen.subject, seen.state, seen.transactions_low) in doubtful:
                self._tell(sighting)

    def _tell(self, sighting: Sighting) -> None:
        def body(tx: Tx) -> JsonObject:
            # Another control process may have seen it, too.
            if repository.put_condition(tx, sighting.seen):
                subject = sighting.seen.subject.partition(":")[2]
                for kind, data, before in sighting.events:
                    tx.emit(kind, subject=subject, data=data, before=before)
            return {}

        self._db.run_tx(new_id("op"), body, origin=system_origin("watchBoxes"))


def _list_foreign(reader: Reader, boxes: Sequence[BoxReport]) -> dict[str, list[int]]:
    """By box, firm codes whose key it should not hold; not of boxes that an operation is changing."""
    homes = repository.list_key_homes(reader)
    records = {each.name: each for each in repository.list_boxes(reader)}
    found: dict[str, list[int]] = {}
    for box in boxes:
        record = records.get(box.name)
        codes = [] if record is None else codes_out_of_place(record, box.firm_codes, homes)
        if record is not None and (not codes or operations.find_unfinished(reader, box.name) is None):
            found[box.name] = codes
    return found
