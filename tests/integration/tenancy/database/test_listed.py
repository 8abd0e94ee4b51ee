"""A line's databases: those of its list, opened and let go of as the list changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from pymysql.err import OperationalError

from app.core.errors import DatabaseUnavailable
from app.core.ids import InstanceId
from tenancy.database.home import DatabaseHome
from tenancy.database.listed import ListedDatabases
from tenancy.errors import InstanceDatabaseMissing
from tests.fake.clock import FakeClock
from tests.integration.tenancy.database.fleet import Fleet, mark
from tests.service.database import EngineKind
from tests.service.pki import make_authority

UNKNOWN = InstanceId(f"ins_{0:032x}")


@pytest.fixture
def listed(clock: FakeClock) -> Iterator[ListedDatabases]:
    with closing(ListedDatabases(clock=clock, most=1)) as databases:
        yield databases


def home(fleet: Fleet, instance_id: InstanceId) -> DatabaseHome:
    return fleet.databases.line_home(instance_id)


def test_only_what_is_listed_is_opened(fleet: Fleet, listed: ListedDatabases) -> None:
    first, second = fleet.made(), fleet.made()
    listed.replace([home(fleet, first)], connections=4)
    mark(listed.open(first))
    assert listed.is_current(first)
    for instance_id in (second, UNKNOWN):
        with pytest.raises(InstanceDatabaseMissing):
            listed.open(instance_id)
    listed.replace([home(fleet, second)], connections=4)
    mark(listed.open(second))
    with pytest.raises(InstanceDatabaseMissing):
        listed.open(first)


def test_one_database_has_one_database_object_while_it_is_held(fleet: Fleet, listed: ListedDatabases) -> None:
    first, second = fleet.made(), fleet.made()
    listed.replace([home(fleet, each) for each in (first, second)], connections=4)
    held = listed.open(first)
    mark(held)
    # The one used longest ago is closed for another; whoever holds it goes on with it.
    listed.open(second)
    mark(held, "again")
    assert listed.open(first) is held
    # The same list again changes nothing.
    listed.replace([home(fleet, each) for each in (first, second)], connections=2)
    assert listed.open(first) is held


def test_another_way_in_is_taken_over(fleet: Fleet, listed: ListedDatabases, engine_kind: EngineKind) -> None:
    instance_id = fleet.made()
    found = home(fleet, instance_id)
    wrong = (
        replace(found, password="wrong")
        if engine_kind == "mariadb"
        else replace(found, place=replace(found.place, address=f"{found.place.address}/away"))
    )
    listed.replace([wrong], connections=4)
    with pytest.raises((DatabaseUnavailable, InstanceDatabaseMissing)):
        listed.open(instance_id)
    listed.replace([found], connections=4)
    mark(listed.open(instance_id))


def test_authority_that_is_no_certificate_changes_nothing(fleet: Fleet, listed: ListedDatabases) -> None:
    instance_id = fleet.made()
    found = home(fleet, instance_id)
    listed.replace([found], connections=4)
    held = listed.open(instance_id)
    with pytest.raises(ValueError, match="not a certificate"):
        listed.replace([replace(found, place=replace(found.place, tls_ca="nonsense"))], connections=4)
    assert listed.open(instance_id) is held
    mark(held)


@pytest.mark.parametrize("engine_kind", ["mariadb"], indirect=True)
def test_server_that_must_prove_itself_by_another_authority_is_refused(
    fleet: Fleet, listed: ListedDatabases
) -> None:
    instance_id = fleet.made()
    found = home(fleet, instance_id)
    listed.replace([found], connections=4)
    listed.open(instance_id)
    strict = replace(found, place=replace(found.place, tls_ca=make_authority("CN=Nobody's").pem))
    listed.replace([strict], connections=4)
    listed.forget(instance_id)
    with pytest.raises((DatabaseUnavailable, OperationalError), match=r"SSL|answer"):
        listed.open(instance_id)
    listed.replace([found], connections=4)
    listed.forget(instance_id)
    mark(listed.open(instance_id))
