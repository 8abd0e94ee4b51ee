from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tenancy.errors import CountryUnknown, NameUnfit, TenancyError
from tenancy.server.errors import ServerAddressUnfit, ServerDescriptionUnfit
from tenancy.server.record import ServerCreate, address_key, check_server, split_address

DIRECTORY = ServerCreate(
    name="disk-1",
    kind="sqlite",
    purpose="shared",
    site="karlsruhe",
    country="DE",
    capacity=100,
    address="instances",
)
MARIADB = replace(
    DIRECTORY, kind="mariadb", address="127.0.0.1:3306", admin_user="wops_admin", admin_password="secret"
)


@pytest.mark.parametrize("address", ["instances", "instances/disk-2", "a/b/c/d", "x.y"])
def test_directory_below_the_data_directory_will_do(address: str) -> None:
    check_server(replace(DIRECTORY, address=address))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/",
        "/srv/data",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "a\n",
        "a\x00b",
        "~/a",
        "a b",
        ".hidden",
        "C:\\x",
        "a/b/c/d/e",
        "x" * 65,
        "boxes",
        "boxes/keys",
        "Audit",
        "exports",
        "keys",
        "platform.db",
        "credential.key",
    ],
)
def test_address_that_could_lead_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(ServerAddressUnfit) as refused:
        check_server(replace(DIRECTORY, address=address))
    assert refused.value.code == "server_address_unfit"


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("db.example.org:3307", "db.example.org", 3307),
        ("127.0.0.1", "127.0.0.1", 3306),
        ("[2001:db8::1]:3308", "2001:db8::1", 3308),
        ("[::1]", "::1", 3306),
        ("DB.Example.org:03307", "db.example.org", 3307),
        ("[2001:DB8:0:0::1]:3308", "2001:db8::1", 3308),
    ],
)
def test_address_of_a_database_server_is_host_and_port(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":3306",
        "host:",
        "host:0",
        "host:65536",
        "host:\u0661",
        "ho st:1",
        "a@b:1",
        "h/x:1",
        "host:1/x",
        "host;x:1",
        "user:pw@host:3306",
        "::1:3306",
        "host:3306\n",
        "-host:1",
        "[1:2]:3306",
    ],
)
def test_anything_else_is_no_address_of_a_database_server(address: str) -> None:
    with pytest.raises(ServerAddressUnfit):
        check_server(replace(MARIADB, address=address))


def test_addresses_of_one_server_are_known_as_such() -> None:
    here = {
        address_key("mariadb", each) for each in ("127.0.0.1", "localhost:3306", "LOCALHOST", "[::1]:03306")
    }
    assert len(here) == 1
    assert address_key("mariadb", "db-1") != address_key("mariadb", "db-2")
    assert address_key("mariadb", "db-1:3306") != address_key("mariadb", "db-1:3307")
    assert check_server(replace(MARIADB, address="LOCALHOST")).address == "localhost:3306"
    assert check_server(replace(MARIADB, address="[::1]")).address == "[::1]:3306"


@pytest.mark.parametrize(
    ("asked", "change", "error"),
    [
        (DIRECTORY, {"name": "Disk 1"}, NameUnfit),
        (DIRECTORY, {"site": "../x"}, NameUnfit),
        (DIRECTORY, {"country": "de"}, CountryUnknown),
        (DIRECTORY, {"country": "XX"}, CountryUnknown),
        (DIRECTORY, {"country": "DEU"}, CountryUnknown),
        (DIRECTORY, {"capacity": 0}, ServerDescriptionUnfit),
        (DIRECTORY, {"capacity": 100_001}, ServerDescriptionUnfit),
        (DIRECTORY, {"purpose": "dedicated", "capacity": 2}, ServerDescriptionUnfit),
        (DIRECTORY, {"admin_password": "x"}, ServerDescriptionUnfit),
        (DIRECTORY, {"tls_ca": "x"}, ServerDescriptionUnfit),
        (MARIADB, {"admin_user": None}, ServerDescriptionUnfit),
        (MARIADB, {"admin_password": ""}, ServerDescriptionUnfit),
        # Over a network, somebody may listen and somebody may pretend.
        (MARIADB, {"address": "db.example.org"}, ServerDescriptionUnfit),
    ],
)
def test_description_that_contradicts_itself_is_refused(
    asked: ServerCreate, change: dict[str, Any], error: type[TenancyError]
) -> None:
    with pytest.raises(error):
        check_server(replace(asked, **change))


def test_password_of_the_administrator_is_in_no_representation() -> None:
    assert "secret" not in repr(MARIADB)
