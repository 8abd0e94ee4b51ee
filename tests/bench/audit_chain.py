"""What the audit chain costs: microseconds of a transaction with and without it, and how fast it is verified.

See README.md, audit_chain.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from app.core import outbox
from app.core.chain import GENESIS, ChainEntry, link_hash
from app.core.clock import SystemClock
from app.core.db import Database, Tx
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.migrate import upgrade
from app.core.origin import Actor, Origin
from app.operations.audit.audit import Audit
from app.operations.audit.export import ExportWish
from app.operations.audit.verify_audit import CheckpointCheck, ExportCheck, check_ed25519
from tests.bench.result import BenchPlace, BenchResult, median, settle_memory
from tests.bench.spent import Spent
from tests.service.mariadb import run_mariadb

MARK: Final = 25_000
"""Entries a second: a million within 40 s. Our own decision."""
ENTRIES: Final = 100_000
ROUNDS: Final = 7
TRANSACTIONS: Final = 150
"""In one turn."""
INSTANCE: Final = InstanceId("ins_" + "a" * 32)

ORIGIN: Final = Origin(
    actor=Actor(kind="client", actor_id="cli_1"), action="replaceItem", request_id=new_id("req")
)


def run(place: BenchPlace) -> BenchResult:
    """Measure on both engines."""
    with ExitStack() as stack:
        server = stack.enter_context(run_mariadb())
        urls = {
            "sqlite": f"sqlite:///{place.folder}/cost.db",
            "mariadb": server.create_database("cost").url,
        }
        cost: dict[str, JsonObject] = {}
        for engine, url in urls.items():
            upgrade(url, "instance")
            db = Database(url, clock=SystemClock())
            stack.callback(db.close)
            cost[engine] = _cost(db)
        speed = _speed(place)
    rate = float(str(speed["entries_per_second"]))
    return BenchResult(
        bench="audit_chain",
        value=rate,
        unit="entries/s",
        mark=f">= {MARK}",
        ok=rate >= MARK,
        detail={"transaction_us": dict(cost), "hash_us": round(_hash_us(), 1), "verification": speed},
    )


def _cost(db: Database) -> JsonObject:
    """A transaction with one event: as it is, and with the chain taken out, in turns."""
    turns: dict[str, list[Spent]] = {"chained": [], "unchained": [], "without_event": []}
    for _ in range(ROUNDS):
        settle_memory()
        turns["chained"].append(_turn(db, _with_event))
        turns["unchained"].append(_turn(db, _with_unchained_event))
        turns["without_event"].append(_turn(db, _without_event))
    cost: JsonObject = {
        name: round(median([each.wall for each in found]), 1) for name, found in turns.items()
    }
    pairs = list(zip(turns["chained"], turns["unchained"], strict=True))
    return {
        **cost,
        "added": round(median([one.wall - other.wall for one, other in pairs]), 1),
        "added_cpu": round(median([one.cpu - other.cpu for one, other in pairs]), 1),
    }


def _turn(db: Database, body: Callable[[Tx], JsonObject]) -> Spent:
    """Microseconds of one transaction."""
    started = Spent.now()
    for _ in range(TRANSACTIONS):
        db.run_tx(new_id("op"), body, origin=ORIGIN)
    spent = Spent.now() - started
    return Spent(spent.wall / TRANSACTIONS * 1e6, spent.cpu / TRANSACTIONS * 1e6)


def _with_event(tx: Tx) -> JsonObject:
    tx.emit("item.changed", subject="DRAW-PRO", data={"sku": "DRAW-PRO", "version": 2}, before={"version": 1})
    return {}


def _without_event(_tx: Tx) -> JsonObject:
    return {}


def _with_unchained_event(tx: Tx) -> JsonObject:
    """The same statements and rows as `outbox.write_events`, without a hash: what the outbox cost before."""
    tx.write(outbox._ADVANCE, {"b_count": 1})
    end = tx.first(outbox._LAST_LINK, {"b_count": 1})
    if end is None:
        raise RuntimeError("the outbox sequence row is missing")
    event = outbox.PendingEvent(
        type="item.changed",
        subject="DRAW-PRO",
        data={"sku": "DRAW-PRO", "version": 2},
        before={"version": 1},
    )
    entry = outbox._new_entry(tx, event, int(str(end.last)))
    tx.write_many(outbox._INSERT, [{**entry._asdict(), "hash": GENESIS, "delivery": 0}])
    return {}


def _hash_us() -> float:
    """What one entry's hash costs a processor, whatever else it has to do: the best of many turns."""
    entry = ChainEntry(
        1, new_id("evt"), "item.changed", "DRAW-PRO", '{"sku":"DRAW-PRO","version":2}', new_id("op"), 1,
        ORIGIN.actor.to_text(), ORIGIN.action, ORIGIN.request_id, "", '{"version":1}',
    )  # fmt: skip
    return min(timeit.repeat(lambda: link_hash(GENESIS, entry), number=1_000, repeat=20)) * 1_000


def _speed(place: BenchPlace) -> JsonObject:
    """Verify a chain where it lies, and its export with the file that auditors get."""
    platform, instance = (
        Database(f"sqlite:///{place.folder}/{name}.db") for name in ("platform", "instance")
    )
    upgrade(platform.engine.url.render_as_string(), "platform")
    upgrade(instance.engine.url.render_as_string(), "instance")
    audit = Audit(place.folder / "audit", platform, open_instance=lambda _: instance)
    audit.start(lambda: [INSTANCE])

    def body(tx: Tx) -> JsonObject:
        for _ in range(1_000):
            _with_event(tx)
        return {}

    for _ in range(ENTRIES // 1_000):
        instance.run_tx(new_id("op"), body, origin=ORIGIN)
        audit.notary.look_at(INSTANCE)
        audit.notary.sign_grown()
    settle_memory()
    started = time.perf_counter()
    report = audit.verifier.verify_chain(INSTANCE)
    in_place = time.perf_counter() - started
    if report.entries != ENTRIES or report.findings:
        raise RuntimeError(f"the chain is not sound: {report.findings[:3]}")
    started = time.perf_counter()
    lines = list(audit.export(ExportWish(instance_id=INSTANCE)))
    exported = time.perf_counter() - started
    check = ExportCheck(CheckpointCheck(audit.keys))
    started = time.perf_counter()
    check.run(lines)
    alone = time.perf_counter() - started
    if check.findings:
        raise RuntimeError(f"the export is not sound: {check.findings[:3]}")
    platform.close()
    instance.close()
    return {
        "entries": ENTRIES,
        "entries_per_second": round(ENTRIES / in_place),
        "export_per_second": round(ENTRIES / exported),
        "export_verified_per_second": round(ENTRIES / alone),
        "export_mb": round(sum(map(len, lines)) / 1e6, 1),
        "signature_ms": round(_signature_ms(audit), 2),
    }


def _signature_ms(audit: Audit) -> float:
    """One signature checked by the standard library alone."""
    signature = audit.key.sign(b"message")
    started = time.perf_counter()
    for _ in range(20):
        if not check_ed25519(audit.key.public_key, b"message", signature):
            raise RuntimeError("the signature is wrong")
    return (time.perf_counter() - started) / 20 * 1e3
