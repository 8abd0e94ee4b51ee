"""Activations per second against the same SQL by the bare driver. Method: README."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from anyio import to_thread
from sqlalchemy import select

from app.core.clock import Clock, SystemClock
from app.core.command import Command
from app.core.db import Database
from app.core.json import JsonObject
from app.core.schema import instance_metadata
from app.licensing import Started, TransferService, TransferState
from fsb_gateway.engine.journal import Journal
from tests.bench.recorder import BareClients, Recorded, Recorder, recording
from tests.bench.result import BenchPlace, BenchResult, median, rounded, settle_memory
from tests.bench.spent import Spent, timed_method
from tests.bench.vendor import IDENTITY, Customer, Workshop, fill, make_customers
from tests.service.database import DatabaseMaker, EngineKind
from tests.service.mariadb import MariaDbServer, missing_programs, run_mariadb

NAME: Final = "activation_vs_bare_sql"
_MARK: Final = 0.5
_CLIENTS: Final = (1, 8)
_ROUNDS: Final = 5
_PER_ROUND: Final = {1: 120, 8: 240}
_WARM_UP: Final = 40
_PROFILED: Final = 120
_BUDGET_SECONDS: Final = 20.0
"""For one engine; on a slow machine there are fewer rounds, but two at least."""
_PATIENCE: Final = timedelta(seconds=30)
_HANDOVERS: Final = 3
"""Changes to another thread and back in one activation: reserve, program, issue."""
_PREPARED_APART: Final = frozenset({"contract", "op"})
"""Tables with rows from before the recording, which each database got by itself."""


@dataclass(slots=True)
class _Rates:
    """Activations per second and processor time of each, round by round."""

    app: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    app_cpu_ms: list[float] = field(default_factory=list)
    bare_cpu_ms: list[float] = field(default_factory=list)

    def add(self, number: int, app: Spent, bare: Spent) -> None:
        self.app.append(number / app.wall)
        self.bare.append(number / bare.wall)
        self.app_cpu_ms.append(app.cpu * 1000 / number)
        self.bare_cpu_ms.append(bare.cpu * 1000 / number)

    @property
    def ratio(self) -> float:
        return median(self.app) / median(self.bare)

    def shown(self) -> JsonObject:
        return {
            "ratio": round(self.ratio, 3),
            "ratio_of_each_round": rounded([a / b for a, b in zip(self.app, self.bare, strict=True)]),
            "activations_per_second": round(median(self.app), 1),
            "bare_per_second": round(median(self.bare), 1),
            "cpu_ms": round(median(self.app_cpu_ms), 3),
            "bare_cpu_ms": round(median(self.bare_cpu_ms), 3),
        }


def run(place: BenchPlace) -> BenchResult:
    """Measure both engines; the value is MariaDB's, or SQLite's where there is no MariaDB."""
    clock, missing = SystemClock(), missing_programs()
    engines: tuple[EngineKind, ...] = ("sqlite",) if missing else ("sqlite", "mariadb")
    if missing:
        print(f"{NAME}: SQLite only, because {', '.join(missing)} is not installed", file=sys.stderr)
    number = _WARM_UP + _PROFILED + _ROUNDS * sum(_PER_ROUND[each] for each in _CLIENTS)
    with ExitStack() as stack:
        workshop = stack.enter_context(closing(Workshop(place.folder, clock)))
        customers = make_customers(number, workshop.template, clock=clock)

        def server() -> MariaDbServer:
            return stack.enter_context(run_mariadb())

        maker = DatabaseMaker(place.folder, _once(server))
        measured = {
            kind: _Measurement(maker, kind, workshop, customers, clock=clock).run() for kind in engines
        }
    rates = measured[engines[-1]].rates
    value = min(each.ratio for each in rates.values())
    return BenchResult(
        bench=NAME,
        value=value,
        unit="ratio",
        mark=f">= {_MARK}",
        ok=value >= _MARK,
        detail={
            "engine": engines[-1],
            "value_is": "the lower of the ratios with 1 and with 8 clients",
            **{kind: each.shown() for kind, each in measured.items()},
        },
    )


class _Measurement:
    """One engine: the app on one database, the bare driver on another that began in the same state."""

    def __init__(
        self,
        maker: DatabaseMaker,
        kind: EngineKind,
        workshop: Workshop,
        customers: Sequence[Customer],
        *,
        clock: Clock,
    ) -> None:
        self._workshop = workshop
        self._remaining = iter(customers)
        self._app_db = Database(maker.create(kind, "instance"), clock=clock)
        self._bare_db = Database(maker.create(kind, "instance"), clock=clock)
        self._recorder = Recorder(self._app_db.engine)
        self._bare = Recorder(self._bare_db.engine)
        for database in (self._app_db, self._bare_db):
            fill(database, customers)
        self._service = TransferService(
            self._app_db, identity=lambda: IDENTITY, programmer=workshop.client, wait=_PATIENCE
        )
        self._statements: list[int] = []
        self._bare_reruns = 0
        self._shares: JsonObject = {}
        self.rates = {clients: _Rates() for clients in _CLIENTS}

    def run(self) -> _Measurement:
        """Measure, in turns."""
        with closing(self._app_db), closing(self._bare_db):
            self._turn(1, _WARM_UP)
            until = time.monotonic() + _BUDGET_SECONDS
            for done in range(_ROUNDS):
                if done < 2 or time.monotonic() < until:
                    for clients in _CLIENTS:
                        self.rates[clients].add(
                            _PER_ROUND[clients], *self._turn(clients, _PER_ROUND[clients])
                        )
            self._profile()
            self._compare_databases()
        return self

    def shown(self) -> JsonObject:
        """The detail of this engine."""
        return {
            **{f"clients_{clients}": rates.shown() for clients, rates in self.rates.items()},
            "statements_per_activation": median(self._statements),
            "reruns": self._recorder.reruns,
            "bare_reruns": self._bare_reruns,
            "one_client": self._shares,
        }

    def _turn(self, clients: int, number: int) -> tuple[Spent, Spent]:
        """The app activates for some customers, then the bare driver does the same on its database."""
        settle_memory()
        app, recorded = self._activate(number, clients)
        return app, self._replay(recorded, clients)

    def _activate(self, number: int, clients: int) -> tuple[Spent, list[Recorded]]:
        work: Iterator[Customer] = iter([next(self._remaining) for _ in range(number)])
        recordings: list[Recorded] = []

        async def serve() -> None:
            for customer in work:
                with recording() as recorded:
                    transfer, started = await self._service.start_transfer(customer.request, Command())
                if (
                    transfer is None
                    or transfer.state is not TransferState.ISSUED
                    or started is not Started.NEW
                ):
                    raise RuntimeError(f"not activated: {transfer}")
                recordings.append(recorded)

        async def serve_all() -> Spent:
            before = Spent.now()
            await asyncio.gather(*(serve() for _ in range(clients)))
            return Spent.now() - before

        spent = self._workshop.run(serve_all())
        self._statements += [sum(len(each.statements) for each in recorded) for recorded in recordings]
        return spent, recordings

    def _replay(self, recordings: Sequence[Recorded], clients: int) -> Spent:
        settle_memory()
        with closing(BareClients(self._bare_db, self._bare, number=clients)) as bare:
            spent = bare.replay(recordings)
            self._bare_reruns += bare.reruns
        return spent

    def _profile(self) -> None:
        """Where the time of an activation goes while nothing else runs; shares of the whole."""
        handover = self._workshop.run(_time_of_handover())
        box_before = self._workshop.gateway.boxes()[0].busy_seconds
        settle_memory()
        with timed_method(Journal, "append") as journal, self._recorder.timing() as driver:
            spent, recordings = self._activate(_PROFILED, 1)
        parts = {
            "sql": sum(driver),
            "crypto": self._workshop.gateway.boxes()[0].busy_seconds - box_before,
            "box_journal": sum(journal),
            "thread_handover": handover * _HANDOVERS * _PROFILED,
        }
        parts["rest"] = spent.wall - sum(parts.values())
        self._shares = {
            "ms": round(spent.wall * 1000 / _PROFILED, 3),
            **{name: round(seconds / spent.wall, 3) for name, seconds in parts.items()},
        }
        self._replay(recordings, 1)

    def _compare_databases(self) -> None:
        """Both databases hold the same rows now, or something else was compared.

        Raises:
            RuntimeError: they differ.
        """
        for table in instance_metadata.sorted_tables:
            if table.name not in _PREPARED_APART:
                rows = select(table).order_by(*table.primary_key)
                with self._app_db.engine.connect() as app, self._bare_db.engine.connect() as bare:
                    if app.execute(rows).all() != bare.execute(rows).all():
                        raise RuntimeError(f"table {table.name} differs after the replay")


async def _time_of_handover() -> float:
    """Seconds to have nothing done by a worker thread."""
    times = []
    for _ in range(200):
        started = time.perf_counter()
        await to_thread.run_sync(_nothing)
        times.append(time.perf_counter() - started)
    return median(times)


def _nothing() -> None:
    """What a hand-over without work does."""


def _once(start: Callable[[], MariaDbServer]) -> Callable[[], MariaDbServer]:
    """Start a server when it is first asked for, and give the same one ever after."""
    started: list[MariaDbServer] = []

    def server() -> MariaDbServer:
        if not started:
            started.append(start())
        return started[0]

    return server
