"""The isolation probe: tries in production, again and again, what no customer may be able to do to another.

    every round: some pairs (A, B) ──► A's database user at B's database, the platform's and the server's own tables
                                       A's user name on every route of B, A's cursor at B
                                       A's ids and idempotency keys in B's database, B's firm code in a job of A
               ──► probe_result; anything broken: event `probe.broken`, critical log line
                   a round that staff ask for: event `probe.run`, too

Nothing is changed and nothing counted: every attempt must end before it reaches anything.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Protocol

from anyio import to_thread

from app.core.clock import from_us, to_us
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.errors import DomainError
from app.core.ids import InstanceId, new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.operations.probe import repository
from app.operations.probe.isolation import (
    PROBE,
    Check,
    CheckName,
    Outcome,
    ProbeResult,
    ProbeRunning,
    choose_pairs,
)
from fsb_gateway import JobPending, ProgrammingJob, ProgrammingResult, ProgrammingStep
from tenancy import ApiClient, Instance, InstanceDatabases, InstanceProfile, InstanceService
from tenancy.database.repository import list_visible_databases

_log = logging.getLogger(__name__)

_PAIRS: Final = 20
"""Pairs tried in one round. Our own decision: with 150 instances everyone has tried everyone after two weeks of rounds
of ten minutes, and everyone is tried by somebody several times a day."""
_KEEP: Final = timedelta(days=90)
_KEEP_HELD: Final = timedelta(days=7)
"""A round has up to 200 checks. Those in which nothing was found are of interest for a week, the others for a quarter;
our own decision."""
_JOB_DEADLINE: Final = timedelta(seconds=10)
_PAGE: Final = 100
_ALIVE: Final = ("ready", "frozen")
_FOREIGN: Final = ("firm_code_not_owned", "pool_foreign")
"""How a gateway refuses what is another instance's."""
_SOME_KEY: Final = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}
"""A container key for a job that must be refused before anybody uses it. **Source:** RFC 7517 appendix A.1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """A request that must be refused."""

    method: str
    path: str
    username: str
    secret: str


class Door(Protocol):
    """The front door, for requests from inside that no meter and no slow-down sees."""

    async def knock(self, knock: Knock) -> int:
        """Send a request; returns the answer's status."""
        ...

    def routes(self, instance: str) -> Sequence[tuple[str, str]]:
        """Method and path of every route of an instance."""
        ...

    def takes_foreign_cursor(self, instance: str, other: str) -> bool:
        """Whether a cursor made for one instance is accepted for the other."""
        ...


class JobTaker(Protocol):
    """The gateway, as far as the probe tries it."""

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        """Have a job programmed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeParts:
    """What the probe asks.

    Attributes:
        list_clients: API clients in an instance's database.
        profile_of: whose a database is, as it says itself.
    """

    platform_db: Database
    databases: InstanceDatabases
    instances: InstanceService
    programmer: JobTaker
    list_clients: Callable[[InstanceId], Sequence[ApiClient]]
    profile_of: Callable[[Database], InstanceProfile]


class IsolationProbe:
    """Runs rounds and keeps their results. Needs a door before its first round."""

    def __init__(self, parts: ProbeParts) -> None:
        self._parts = parts
        self._clock = parts.platform_db.clock
        self._door: Door | None = None
        self._round = secrets.randbelow(1000)
        self._running = asyncio.Lock()
        self._began = from_us(0)

    def open_door(self, door: Door) -> None:
        """Give the probe the front door, which is made after everything behind it."""
        self._door = door

    async def run(self, command: Command | None = None) -> Done[ProbeResult]:
        """One round, by itself or because staff ask for it. A repeat tries again, and answers what it did first.

        Raises:
            ProbeRunning: a round is under way; nobody waits in line.
        """
        if self._running.locked():
            raise ProbeRunning("A round of the probe is under way; look at its result when it has ended.")
        async with self._running:
            result = await self._make_round()
            return await to_thread.run_sync(self._store, result, command)

    async def run_unless_running(self) -> None:
        """One round by itself; none while staff have one made."""
        with suppress(ProbeRunning):
            await self.run()

    async def _make_round(self) -> ProbeResult:
        # Rounds are known by when they began: also by a clock that stands still, no two began together.
        started = max(self._clock.now(), self._began + timedelta(microseconds=1))
        self._began = started
        instances = {each.name: each for each in await to_thread.run_sync(self._list_alive)}
        pairs = choose_pairs(sorted(instances), round_number=self._round, most=_PAIRS)
        self._round += 1
        checks: list[Check] = []
        for name, other in pairs:
            checks += await self._try_pair(instances[name], instances[other])
        return ProbeResult(
            probe=PROBE,
            started_at=started,
            finished_at=max(started, self._clock.now()),
            checks=tuple(checks),
        )

    def list_results(self, *, limit: int = 10) -> list[ProbeResult]:
        """The last rounds, newest first. Blocks."""
        return self._parts.platform_db.read(
            lambda reader: repository.list_results(reader, PROBE, limit=limit)
        )

    async def _try_pair(self, own: Instance, other: Instance) -> list[Check]:
        return [
            *await to_thread.run_sync(self._try_databases, own, other),
            await self._check("foreign_credentials", own, other, self._try_credentials),
            await self._check("foreign_cursor", own, other, self._try_cursor),
            await self._check("foreign_firm_key", own, other, self._try_firm_key),
        ]

    async def _check(
        self,
        name: CheckName,
        own: Instance,
        other: Instance,
        attempt: Callable[[Instance, Instance], Awaitable[tuple[Outcome, str]]],
    ) -> Check:
        try:
            outcome, detail = await attempt(own, other)
        except Exception as error:
            outcome, detail = _unknown(name, error)
        return Check(check=name, instance=own.name, other=other.name, outcome=outcome, detail=detail)

    # In the databases.

    def _try_databases(self, own: Instance, other: Instance) -> list[Check]:
        attempts: Sequence[tuple[CheckName, Callable[[Database, Database], tuple[Outcome, str]]]] = (
            ("foreign_database", _try_foreign_database),
            ("platform_database", self._try_platform_database),
            ("system_tables", _try_system_tables),
            ("own_file", _look_at_file),
            ("foreign_ids", _look_for_foreign_ids),
            ("foreign_operation", _look_for_foreign_operation),
            ("own_profile", partial(self._look_at_profile, own)),
        )
        checks = []
        for name, attempt in attempts:
            try:
                outcome, detail = attempt(
                    self._parts.databases.open(own.instance_id), self._parts.databases.open(other.instance_id)
                )
            except Exception as error:
                outcome, detail = _unknown(name, error)
            checks.append(
                Check(check=name, instance=own.name, other=other.name, outcome=outcome, detail=detail)
            )
        return checks

    def _try_platform_database(self, own: Database, _other: Database) -> tuple[Outcome, str]:
        platform = self._parts.platform_db
        if own.dialect != "mariadb" or platform.dialect != "mariadb":
            return "not_applicable", "not both on MariaDB"
        return _try_table(own, f"`{platform.engine.url.database}`.`instance`")

    def _look_at_profile(self, instance: Instance, own: Database, _other: Database) -> tuple[Outcome, str]:
        found = self._parts.profile_of(own).instance_id
        if found != instance.instance_id:
            return "broken", f"the database belongs to {found}"
        return "held", "the database names its instance"

    # Through the front door and at the boxes.

    async def _try_credentials(self, own: Instance, other: Instance) -> tuple[Outcome, str]:
        door = self._door
        if door is None:
            return "unknown", "the front door is not open yet"
        clients = await to_thread.run_sync(self._parts.list_clients, own.instance_id)
        if not clients:
            return "not_applicable", "no API client"
        routes, answered, silent = door.routes(other.name), [], 0
        for method, path in routes:
            status = await door.knock(
                Knock(
                    method=method, path=path, username=clients[0].username, secret=secrets.token_urlsafe(32)
                )
            )
            if status >= 500:
                silent += 1
            elif status != 404:
                answered.append(f"{method} {path}: {status}")
        if answered:
            return "broken", "; ".join(answered[:5])
        # An outage is no breach, and no proof either.
        return ("unknown", f"{silent} routes: 5xx") if silent else ("held", f"{len(routes)} routes: 404")

    async def _try_cursor(self, own: Instance, other: Instance) -> tuple[Outcome, str]:
        if self._door is None:
            return "unknown", "the front door is not open yet"
        taken = self._door.takes_foreign_cursor(own.name, other.name)
        return ("broken", "the cursor was accepted") if taken else ("held", "refused")

    async def _try_firm_key(self, own: Instance, other: Instance) -> tuple[Outcome, str]:
        """The other's firm code in a job of one's own, sent to the pool of either."""
        refused = []
        for pool in dict.fromkeys((other.pool, own.pool)):
            code = await self._send_foreign(own, other, pool)
            if code is None:
                return "broken", f"pool {pool} took the job"
            refused.append(code)
        return "held", ", ".join(refused)

    async def _send_foreign(self, own: Instance, other: Instance, pool: str) -> str | None:
        job = ProgrammingJob(
            job_id=new_id("probe"),
            instance_id=own.instance_id,
            pool=pool,
            firm_code=other.firm_code,
            container_serial="1-0",
            container_key=_SOME_KEY,
            base_fuc=0,
            context_digest="0" * 64,
            steps=(ProgrammingStep(fuc=1, operations=()),),
            deadline_at=self._clock.now() + _JOB_DEADLINE,
        )
        try:
            await self._parts.programmer.program(job, wait=_JOB_DEADLINE)
        except DomainError as error:
            if error.code in _FOREIGN:
                return error.code
            raise
        return None

    # Instances and results.

    def _list_alive(self) -> list[Instance]:
        found: list[Instance] = []
        after = ""
        while page := self._parts.instances.list_instances(after=after, limit=_PAGE):
            found += [each for each in page if each.state in _ALIVE]
            after = page[-1].instance_id
        return found

    def _store(self, result: ProbeResult, command: Command | None) -> Done[ProbeResult]:
        at = result.started_at
        broken = [each.to_json() for each in result.checks if each.outcome == "broken"]

        def body(tx: Tx) -> JsonObject:
            repository.add_result(tx, result)
            repository.forget_results(tx, PROBE, before=at - _KEEP, held_before=at - _KEEP_HELD)
            if command is not None:
                tx.emit("probe.run", subject=PROBE, data={"held": result.held, "checks": len(result.checks)})
            if broken:
                tx.emit("probe.broken", subject=PROBE, data={"checks": broken[:20]})
            return {"started_at_us": to_us(at)}

        for check in broken:
            _log.critical("isolation_broken", extra={"check": check})
        asked = command or Command(op_id=new_id("probe"), origin=system_origin("runIsolationProbe"))
        db = self._parts.platform_db
        answer = db.run_command(asked, body)
        if not answer.replayed:
            return Done(value=result, replayed=False)
        first = int(str(answer.value["started_at_us"]))
        kept = db.read(lambda reader: repository.find_result(reader, PROBE, started_at_us=first))
        return Done(value=kept or result, replayed=kept is not None)


def _unknown(name: CheckName, error: Exception) -> tuple[Outcome, str]:
    _log.warning("isolation_check_failed", extra={"check": name}, exc_info=error)
    return "unknown", error.code if isinstance(error, DomainError) else type(error).__name__


def _try_foreign_database(own: Database, other: Database) -> tuple[Outcome, str]:
    if own.dialect != "mariadb" or other.dialect != "mariadb":
        return "not_applicable", "not both on MariaDB"
    name = str(other.engine.url.database)
    if name in list_visible_databases(own):
        return "broken", "the other database can be seen"
    return _try_table(own, f"`{name}`.`op`")


def _try_system_tables(own: Database, _other: Database) -> tuple[Outcome, str]:
    if own.dialect != "mariadb":
        return "not_applicable", "SQLite"
    return _try_table(own, "`mysql`.`global_priv`")


def _try_table(db: Database, table: str) -> tuple[Outcome, str]:
    seen = repository.try_to_read(db, table)
    return ("held", seen) if seen == "refused" else ("broken", seen)


def _look_at_file(own: Database, other: Database) -> tuple[Outcome, str]:
    """A file has no user of its own: it must be readable by the platform's alone, and be nobody else's."""
    if own.dialect != "sqlite":
        return "not_applicable", "MariaDB"
    path = repository.file_of(own)
    status = path.stat()
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or path.is_symlink():
        return "broken", "others may read the file"
    if other.dialect == "sqlite" and path.samefile(repository.file_of(other)):
        return "broken", "both instances have the same file"
    return "held", oct(stat.S_IMODE(status.st_mode))


def _look_for_foreign_ids(own: Database, other: Database) -> tuple[Outcome, str]:
    event = own.read(repository.newest_event)
    if event is None:
        return "not_applicable", "nothing has happened yet"
    found = other.read(lambda reader: repository.has_event(reader, event))
    return ("broken", "an id of one is known to the other") if found else ("held", "unknown there")


def _look_for_foreign_operation(own: Database, other: Database) -> tuple[Outcome, str]:
    """Idempotency keys are operation ids: who used one here must find nothing of it there."""
    operation = own.read(repository.newest_operation)
    if operation is None:
        return "not_applicable", "nothing has been carried out lately"
    found = other.read(lambda reader: repository.has_operation(reader, operation))
    return ("broken", "an operation of one is known to the other") if found else ("held", "unknown there")
