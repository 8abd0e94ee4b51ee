"""Activations per second against the same SQL by the bare driver. Method: README."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
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
from app.licensing import TransferService, TransferState
from fsb_gateway import JobPending, ProgrammingJob, ProgrammingResult
from fsb_gateway.journal import Journal
from tests.bench.recorder import BareClients, Recorded, Recorder, recording
from tests.bench.result import BenchPlace, BenchResult, median, rounded, settle_memory
from tests.bench.vendor import IDENTITY, Customer, Workshop, fill, make_customers
from tests.service.database import DatabaseMaker, EngineKind
from tests.service.mariadb import missing_programs, run_mariadb

NAME: Final = "activation_vs_bare_sql"
MARK: Final = 0.5
_CLIENTS: Final = (1, 8)
_ROUNDS: Final = 5
_PER_ROUND: Final = {1: 120, 8: 240}
_WARM_UP: Final = 40
_PROFILED: Final = 120
_BUDGET_SECONDS: Final = 24.0
"""For one engine; on a slow machine there are fewer rounds, at least two."""
_PATIENCE: Final = timedelta(seconds=30)
_HANDOVERS: Final = {"worker thread": 2, "box thread": 1}
"""Changes of thread and back in one activation: reserve, issue; program."""


@dataclass(slots=True)
class _Rates:
    """Activations per second, round by round."""

    app: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    app_cpu_ms: list[float] = field(default_factory=list)
    bare_cpu_ms: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.app) / median(self.bare)

    def shown(self) -> JsonObject:
        return {
            "ratio": round(self.ratio, 3),
            "activations_per_second": round(median(self.app), 1),
            "bare_per_second": round(median(self.bare), 1),
            "cpu_ms_per_activation": round(median(self.app_cpu_ms), 3),
            "bare_cpu_ms": round(median(self.bare_cpu_ms), 3),
            "ratios_of_rounds": rounded([a / b for a, b in zip(self.app, self.bare, strict=True)]),
        }


def run(place: BenchPlace) -> BenchResult:
    """Measure both engines; the value is MariaDB's, or SQLite's where there is no MariaDB."""
    clock = SystemClock()
    number = _WARM_UP + _PROFILED + _ROUNDS * sum(_PER_ROUND[each] for each in _CLIENTS)
    with ExitStack() as stack:
        workshop = stack.enter_context(closing(Workshop(place.folder, clock)))
        customers = make_customers(number, workshop.template, clock=clock)
        engines: list[EngineKind] = ["sqlite"]
        missing = missing_programs()
        if missing:
            print(f"{NAME}: without MariaDB, because {', '.join(missing)} is missing", file=sys.stderr)
        else:
            engines.append("mariadb")
        server = stack.enter_context(run_mariadb()) if not missing else None

        def get_server() -> object:
            return server

        maker = DatabaseMaker(place.folder, get_server)  # type: ignore[arg-type]
        measured = {kind: _Measurement(maker, kind, workshop, customers, clock=clock).run() for kind in engines}
    chosen = measured[engines[-1]]
    value = min(rates.ratio for rates in chosen.rates.values())
    detail: JsonObject = {kind: each.shown() for kind, each in measured.items()}
    return BenchResult(
        bench=NAME,
        value=value,
        unit="ratio",
        mark=f">= {MARK}",
        ok=value >= MARK,
        detail={"engine": engines[-1], "value_is": "the worse of 1 and 8 clients", **detail},
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
        for database in (self._app_db, self._bare_db):
            fill(database, customers)
        self._program = _TimedProgrammer(workshop)
        self._service = TransferService(
            self._app_db, identity=lambda: IDENTITY, programmer=self._program, wait=_PATIENCE
        )
        self._statements: list[int] = []
        self._bare_reruns = 0
        self.rates = {clients: _Rates() for clients in _CLIENTS}
        self._shares: JsonObject = {}
        self._reruns = 0

    def run(self) -> _Measurement:
        """Measure in turns."""
        try:
            self._turn(1, _WARM_UP)
            until = time.monotonic() + _BUDGET_SECONDS
            for done in range(_ROUNDS):
                if done >= 2 and time.monotonic() > until:  # noqa: PLR2004 - two rounds at least
                    break
                for clients in _CLIENTS:
                    self._round(clients)
            self._reruns = self._recorder.reruns
            self._shares = self._profile()
            self._compare_databases()
        finally:
            self._app_db.close()
            self._bare_db.close()
        return self

    def shown(self) -> JsonObject:
        """The detail of this engine."""
        return {
            **{f"{clients}_clients": rates.shown() for clients, rates in self.rates.items()},
            "statements_per_activation": median(self._statements),
            "reruns": self._reruns,
            "bare_reruns": self._bare_reruns,
            "one_client_shares": self._shares,
        }

    def _round(self, clients: int) -> None:
        number, rates = _PER_ROUND[clients], self.rates[clients]
        app, bare = self._turn(clients, number)
        rates.app.append(number / app.wall)
        rates.bare.append(number / bare.wall)
        rates.app_cpu_ms.append(app.cpu * 1000 / number)
        rates.bare_cpu_ms.append(bare.cpu * 1000 / number)

    def _turn(self, clients: int, number: int) -> tuple[_Spent, _Spent]:
        """The app activates for some customers, then the bare driver does the same on its database."""
        customers = [next(self._remaining) for _ in range(number)]
        settle_memory()
        before = _Spent.now()
        recorded = self._workshop.run(self._activate(customers, clients))
        app = _Spent.now() - before
        self._statements += [sum(len(each.statements) for each in piece) for piece in recorded]
        bare_clients = BareClients(self._bare_db, self._recorder, number=clients)
        settle_memory()
        cpu = time.process_time()
        wall = bare_clients.replay(recorded)
        bare = _Spent(wall=wall, cpu=time.process_time() - cpu)
        self._bare_reruns += bare_clients.reruns
        bare_clients.close()
        return app, bare

    async def _activate(self, customers: Sequence[Customer], clients: int) -> list[Recorded]:
        work, done = iter(customers), list[Recorded]()

        async def serve() -> None:
            for customer in work:
                with recording() as recorded:
                    transfer, fresh = await self._service.start_transfer(customer.request, Command())
                if transfer is None or transfer.state is not TransferState.ISSUED or not fresh:
                    raise RuntimeError(f"not activated: {transfer}")
                done.append(recorded)

        await asyncio.gather(*(serve() for _ in range(clients)))
        return done

    def _profile(self) -> JsonObject:
        """Where the time of one activation goes when nothing else runs; milliseconds and shares."""
        customers = [next(self._remaining) for _ in range(_PROFILED)]
        box_before = self._workshop.gateway.boxes()[0].busy_seconds
        self._recorder.timing, self._recorder.seconds = True, 0.0
        settle_memory()
        with _timed_journal() as journal_seconds:
            before = _Spent.now()
            self._workshop.run(self._activate(customers, 1))
            spent = _Spent.now() - before
        self._recorder.timing = False
        parts = {
            "sql": self._recorder.seconds,
            "crypto": self._workshop.gateway.boxes()[0].busy_seconds - box_before,
            "journal": sum(journal_seconds),
            "handover": self._workshop.run(_measure_handover()) * len(customers),
        }
        parts["rest"] = spent.wall - sum(parts.values())
        shares: JsonObject = {name: round(seconds / spent.wall, 3) for name, seconds in parts.items()}
        return {**shares, "activation_ms": round(spent.wall * 1000 / len(customers), 3)}

    def _compare_databases(self) -> None:
        """Both databases hold the same rows now, or the comparison was none.

        Raises:
            RuntimeError: they differ.
        """
        self._turn_for_profiled()
        for table in instance_metadata.sorted_tables:
            if table.name in ("contract", "op"):
                continue  # Their first rows were written by each side's own preparation.
            statement = select(table).order_by(*table.primary_key)
            with self._app_db.engine.connect() as app, self._bare_db.engine.connect() as bare:
                if app.execute(statement).all() != bare.execute(statement).all():
                    raise RuntimeError(f"table {table.name} differs after the replay")

    def _turn_for_profiled(self) -> None:
        """What was profiled is replayed as well, so that both databases can be compared."""
        bare_clients = BareClients(self._bare_db, self._recorder, number=1)
        bare_clients.replay(self._profiled)
        bare_clients.close()
