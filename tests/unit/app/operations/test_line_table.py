"""Whom a line serves, as its file says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.ids import InstanceId
from app.operations.line_table import LineTable
from tenancy.database.home import DatabaseHome, ServerPlace
from tenancy.database.listed import ListedDatabases
from tenancy.line_file import LineInstance, write_instances
from tenancy.server.record import ServerId
from tests.fake.clock import FakeClock
from tests.service.pki import make_authority

PLACE = ServerPlace(
    server_id=ServerId("srv_1"),
    kind="mariadb",
    address="db.example:3306",
    tls_ca=make_authority("CN=Old").pem,
)


def listed(name: str, place: ServerPlace = PLACE, *, changed: str = "") -> LineInstance:
    owner = InstanceId(f"ins_{name}")
    home = DatabaseHome(
        instance_id=owner, place=place, database_name=owner, user_name=owner, password=f"sesame{changed}"
    )
    return LineInstance(instance_id=owner, name=name, home=home)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[LineTable]:
    with closing(ListedDatabases(clock=FakeClock())) as databases:
        yield LineTable(tmp_path, databases)


def test_renewed_authority_of_a_server_lets_go_of_nobody(table: LineTable, tmp_path: Path) -> None:
    write_instances(tmp_path, [listed("acme"), listed("beta")], connections=8)
    assert table.look() == []
    renewed = replace(PLACE, tls_ca=make_authority("CN=New").pem)
    write_instances(tmp_path, [listed("acme", renewed), listed("beta", renewed)], connections=8)
    assert (table.look(), table.applied) == ([], 2)


def test_instance_that_lies_or_opens_otherwise_is_let_go_of_as_one_that_is_gone(
    table: LineTable, tmp_path: Path
) -> None:
    before = [listed("acme"), listed("beta"), listed("delta"), listed("gone")]
    write_instances(tmp_path, before, connections=8)
    table.look()
    moved = listed("beta", replace(PLACE, address="other.example:3306"))
    write_instances(tmp_path, [listed("acme"), moved, listed("delta", changed="-2")], connections=8)
    assert set(table.look()) == {"ins_beta", "ins_delta", "ins_gone"}
