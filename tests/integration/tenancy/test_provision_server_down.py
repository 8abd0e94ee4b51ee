"""The instance's database server dies in the middle of provisioning: it ends well, or leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.db import Database
from tenancy import Operation, StepContext
from tenancy.database.repository import list_homes
from tenancy.operation.kind import StepAction
from tests.fake.clock import FakeClock
from tests.integration.tenancy.world import KEY, PATIENCE, World
from tests.service.mariadb import MariaDbServer, run_mariadb
from tests.service.placed import make_admin, open_placed, store_server

pytestmark = pytest.mark.parametrize("engine_kind", ["sqlite"], indirect=True)


@pytest.fixture
def server() -> Iterator[MariaDbServer]:
    with run_mariadb() as server:
        yield server


@pytest.fixture
def world(platform_db: Database, server: MariaDbServer, tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    """The platform database is elsewhere; only the instances' server dies."""
    store_server(platform_db, make_admin(server).describe("db-1"), key=KEY)
    with open_placed(platform_db, data_dir=tmp_path, key=KEY, clock=clock) as databases:
        yield World(platform=platform_db, databases=databases, clock=clock)


def killing(server: MariaDbServer, action: StepAction) -> StepAction:
    async def act(context: StepContext) -> None:
        await action(context)
        server.process.kill()
        server.process.wait()
        # And whatever the step has to say now, it says to nobody: the next attempt finds the server gone.
        await action(context)

    return act


def order_and_kill(world: World, server: MariaDbServer) -> Operation:
    operation = world.order("acme", "datacenter")
    create = world.provisioner.operation_kind().actions["create_database"]
    world.run(world.runner(actions={"create_database": killing(server, create)}))
    interrupted = world.look(operation.operation_id)
    assert (interrupted.step.name, interrupted.error_code) == ("create_database", "server_unreachable")
    return operation


def fail(world: World, operation: Operation) -> None:
    for _ in range(PATIENCE.attempts):
        world.clock.advance(PATIENCE.longest_pause)
        world.run()
    assert world.look(operation.operation_id).state == "failed"


def test_server_comes_back_and_the_operation_ends_well(world: World, server: MariaDbServer) -> None:
    operation = order_and_kill(world, server)
    with server.restarted():
        world.clock.advance(PATIENCE.longest_pause)
        world.run()
        assert world.look(operation.operation_id).state == "succeeded"
        assert world.instances.get_instance_by_name("acme").state == "ready"
        world.databases.close()


def test_server_stays_away_and_what_was_made_is_removed_when_it_is_back(
    world: World, server: MariaDbServer
) -> None:
    operation = order_and_kill(world, server)
    fail(world, operation)
    world.operations.recover(operation.operation_id)
    for _ in range(PATIENCE.attempts):
        world.run()
        world.clock.advance(PATIENCE.longest_pause)
    stuck = world.look(operation.operation_id)
    assert (stuck.state, stuck.error_code) == ("fatal", "server_unreachable")
    assert world.operations.decisions(stuck) == ("retry", "skip")
    with server.restarted():
        world.operations.retry(operation.operation_id)
        world.run()
        assert world.look(operation.operation_id).state == "recovered"
        assert world.platform.read(list_homes) == []
        assert not world.instances.list_instances()
        with server.connect_admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM mysql.user WHERE user LIKE 'wops%'")
            assert cursor.fetchone() == (0,)
            cursor.execute("SHOW DATABASES LIKE 'wops%'")
            assert cursor.fetchall() == ()
        world.databases.close()
