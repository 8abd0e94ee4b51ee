"""Each promise of isolation broken on purpose, between two real instances: a round finds that breach and no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import text

from app.core.db import Database
from app.core.errors import DomainError
from app.operations.probe.isolation import CheckName, Outcome
from app.operations.probe.isolation_probe import IsolationProbe, ProbeParts
from fsb_gateway import (
    FirmCodeNotOwned,
    FsbUnavailable,
    JobPending,
    PoolForeign,
    ProgrammingJob,
    ProgrammingResult,
)
from tenancy import Instance, InstanceProfile
from tests.fake.clock import FakeClock
from tests.integration.tenancy.world import KEY, World
from tests.service.database import EngineKind
from tests.service.mariadb import MariaDbServer
from tests.service.placed import make_admin, placed_databases

on_mariadb = pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)


class FakeGateway:
    """Refuses a job as the gateway does, in another way, or not at all."""

    def __init__(self) -> None:
        self.refusal: DomainError | None = FirmCodeNotOwned("The firm code is another instance's.")

    async def program(self, job: ProgrammingJob, *, wait: timedelta) -> ProgrammingResult | JobPending:
        await anyio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        return JobPending(job_id=job.job_id, position=0, expected_wait=wait)


class Street:
    """Two instances, alpha and beta, and the probe between them. Its front door is not open: no check of that here."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.alpha, self.beta = (world.ready_instance(name) for name in ("alpha", "beta"))
        self.gateway = FakeGateway()
        self.profile_of: Callable[[Database], InstanceProfile] = world.profile_of

    def db(self, instance: Instance) -> Database:
        return self.world.databases.open(instance.instance_id)

    def user(self, instance: Instance) -> str:
        return f"`{self.db(instance).engine.url.username}`@`%`"

    def probe(self) -> dict[tuple[CheckName, str], Outcome]:
        """One round: what came of each check, by who tried it."""
        parts = ProbeParts(
            platform_db=self.world.platform,
            databases=self.world.databases,
            instances=self.world.instances,
            programmer=self.gateway,
            list_clients=self.world.clients.list_clients,
            profile_of=self.profile_of,
        )
        result = anyio.run(IsolationProbe(parts).run).value
        return {(each.check, each.instance): each.outcome for each in result.checks}

    def breaches(self) -> set[tuple[CheckName, str]]:
        """What a round finds broken, and tells as an event."""
        found = {tried for tried, outcome in self.probe().items() if outcome == "broken"}
        assert len(self.world.events("probe.broken")) == (1 if found else 0)
        return found


@pytest.fixture
def street(
    engine_kind: EngineKind,
    platform_db: Database,
    tmp_path: Path,
    clock: FakeClock,
    request: pytest.FixtureRequest,
) -> Iterator[Street]:
    admin = make_admin(request.getfixturevalue("mariadb_server")) if engine_kind == "mariadb" else None
    with placed_databases(platform_db, data_dir=tmp_path, key=KEY, clock=clock, admin=admin) as databases:
        yield Street(World(platform=platform_db, databases=databases, clock=clock))


def test_nothing_is_found_where_everything_is_as_promised(street: Street, engine_kind: EngineKind) -> None:
    found = street.probe()
    assert "broken" not in found.values()
    assert street.world.events("probe.broken") == []
    on_server: tuple[CheckName, ...] = ("foreign_database", "platform_database", "system_tables")
    everywhere: tuple[CheckName, ...] = (
        "own_profile",
        "foreign_ids",
        "foreign_operation",
        "foreign_firm_key",
    )
    for name in ("alpha", "beta"):
        assert {found[check, name] for check in everywhere} == {"held"}
        expected = "held" if engine_kind == "mariadb" else "not_applicable"
        assert {found[check, name] for check in on_server} == {expected}


@on_mariadb
def test_right_to_read_the_platforms_database_is_found(street: Street, mariadb_server: MariaDbServer) -> None:
    pattern = str(street.world.platform.engine.url.database).replace("_", r"\_")
    mariadb_server.execute(f"GRANT SELECT ON `{pattern}`.* TO {street.user(street.alpha)}")
    assert street.breaches() == {("platform_database", "alpha")}


@on_mariadb
def test_right_to_read_the_servers_own_tables_is_found(street: Street, mariadb_server: MariaDbServer) -> None:
    mariadb_server.execute(f"GRANT SELECT ON `mysql`.`global_priv` TO {street.user(street.beta)}")
    assert street.breaches() == {("system_tables", "beta")}


def test_instance_that_works_on_anothers_database_is_found(street: Street) -> None:
    of_alpha = street.world.profile_of(street.db(street.alpha))
    street.profile_of = lambda _db: of_alpha
    assert street.breaches() == {("own_profile", "beta")}


def test_event_of_one_that_stands_in_the_others_database_is_found(street: Street) -> None:
    with street.db(street.alpha).engine.connect() as connection:
        newest = connection.execute(text("SELECT * FROM outbox_event ORDER BY sequence DESC LIMIT 1"))
        # Before beta's own first one: what beta tries to find is its own newest.
        event = {**newest.mappings().one(), "sequence": 0}
    with street.db(street.beta).engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO outbox_event ({', '.join(event)}) VALUES ({', '.join(f':{n}' for n in event)})"
            ),
            event,
        )
    assert street.breaches() == {("foreign_ids", "alpha")}


def test_job_that_anothers_pool_refuses_is_no_breach(street: Street) -> None:
    street.gateway.refusal = PoolForeign("The pool is another instance's.")
    assert street.breaches() == set()


def test_job_with_anothers_firm_code_that_the_gateway_takes_is_found(street: Street) -> None:
    street.gateway.refusal = None
    assert street.breaches() == {("foreign_firm_key", "alpha"), ("foreign_firm_key", "beta")}


def test_gateway_that_is_away_proves_nothing(street: Street) -> None:
    street.gateway.refusal = FsbUnavailable("gone")
    found = street.probe()
    assert {found["foreign_firm_key", name] for name in ("alpha", "beta")} == {"unknown"}
    assert street.world.events("probe.broken") == []
