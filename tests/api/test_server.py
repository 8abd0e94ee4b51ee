"""Servers and placement through the admin API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.core.ids import new_id
from tests.api.site import Instance, Site, good, refused
from tests.service.mariadb import MariaDbServer
from tests.service.placed import MariaDbAdmin, make_admin

Register = Callable[[dict[str, Any]], dict[str, Any]]


def disk(name: str | None = None, **other: Any) -> dict[str, Any]:
    name = name or f"disk-{new_id('s')[-8:]}"
    return {
        "name": name,
        "kind": "sqlite",
        "purpose": "shared",
        "site": "karlsruhe",
        "country": "DE",
        "capacity": 2,
        "address": f"instances/{name}",
        **other,
    }


def maria(admin: MariaDbAdmin, **other: Any) -> dict[str, Any]:
    access = {
        "address": admin.address,
        "admin_user": admin.user,
        "admin_password": admin.password,
        "shares_address": True,
    }
    return disk(kind="mariadb", **{**access, **other})


@pytest.fixture
def register(site: Site) -> Iterator[Register]:
    """Registers servers until the test ends: while there is one for databases, no directory takes instances."""
    made: list[str] = []

    def send(body: dict[str, Any]) -> dict[str, Any]:
        server: dict[str, Any] = good(site.admin("POST", "/servers", body), 201)
        made.append(f"/servers/{server['server_id']}")
        return server

    yield send
    for path in made:
        etag = site.admin("GET", path).headers["etag"]
        assert site.admin("DELETE", path, headers={"If-Match": etag}).status_code == 204


@pytest.fixture(scope="module")
def mariadb_admin(mariadb_server: MariaDbServer) -> MariaDbAdmin:
    return make_admin(mariadb_server)


def test_life_of_a_server(site: Site) -> None:
    made = site.admin("POST", "/servers", disk(country="FR"))
    server = good(made, 201)
    assert made.headers["etag"] == '"1"'
    path = f"/servers/{server['server_id']}"
    assert good(site.admin("GET", path)) == server
    assert site.admin("GET", path).headers["etag"] == '"1"'
    changed = good(site.admin("PATCH", path, {"state": "draining"}, headers={"If-Match": '"1"'}))
    assert (changed["state"], changed["capacity"], changed["version"]) == ("draining", 2, 2)
    removed = site.admin("DELETE", path, headers={"If-Match": '"2"'})
    assert (removed.status_code, removed.content) == (204, b"")
    refused(site.admin("GET", path), 404, "server_not_found")


def test_servers_come_page_by_page(site: Site) -> None:
    seen = [each["name"] for each in site.listed("/servers")]
    assert len(seen) > 100
    assert len(seen) == len(set(seen))
    assert {"local-shared", "local-dedicated-1"} <= set(seen)


def test_password_of_the_administrator_is_shown_nowhere(
    site: Site, register: Register, mariadb_admin: MariaDbAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    server = register(maria(mariadb_admin, country="FR"))
    assert "admin_password" not in server
    assert server["admin_user"] == mariadb_admin.user
    shown = site.admin("GET", f"/servers/{server['server_id']}").text + site.admin("GET", "/servers").text
    assert mariadb_admin.password not in shown + caplog.text
    for path in (site.settings.data_dir / "platform.db", site.settings.data_dir / "platform.db-wal"):
        assert not path.exists() or mariadb_admin.password.encode() not in path.read_bytes()
    wrong = site.admin("POST", "/servers", maria(mariadb_admin, admin_password="not-the-password-at-all"))
    refused(wrong, 409, "server_rejected")
    assert "not-the-password-at-all" not in wrong.text + caplog.text


def test_server_that_nobody_hears_is_not_registered(site: Site, mariadb_admin: MariaDbAdmin) -> None:
    before = good(site.admin("GET", "/servers", params={"limit": 1}))
    refused(
        site.admin("POST", "/servers", maria(mariadb_admin, address="127.0.0.1:1")), 503, "server_unreachable"
    )
    assert good(site.admin("GET", "/servers", params={"limit": 1})) == before


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"address": "/srv/data"}, "server_address_unfit"),
        ({"address": "../outside"}, "server_address_unfit"),
        ({"address": "instances/../../outside"}, "server_address_unfit"),
        ({"address": "boxes/keys"}, "server_address_unfit"),
        (
            {
                "kind": "mariadb",
                "address": "db.example.org",
                "admin_user": "a",
                "admin_password": "b",
                "tls_ca": "not a certificate",
            },
            "server_description_unfit",
        ),
        ({"name": "Server 1"}, "name_unfit"),
        ({"purpose": "dedicated", "capacity": 2}, "server_description_unfit"),
        ({"admin_password": "x"}, "server_description_unfit"),
        ({"kind": "mariadb", "address": "127.0.0.1:3306"}, "server_description_unfit"),
        (
            {"kind": "mariadb", "address": "db.example.org", "admin_user": "a", "admin_password": "b"},
            "server_description_unfit",
        ),
        ({"country": "Germany"}, "request_invalid"),
        ({"kind": "postgresql"}, "request_invalid"),
        ({"capacity": 0}, "request_invalid"),
        ({"shares_address": "yes"}, "request_invalid"),
        ({"shares_address": 1}, "request_invalid"),
        ({"unknown": 1}, "request_invalid"),
    ],
)
def test_unfit_description_is_refused_with_its_reason(site: Site, other: dict[str, Any], code: str) -> None:
    refused(site.admin("POST", "/servers", disk(**other)), 422, code)
    assert not (site.folder / "outside").exists()


def test_change_needs_the_version_it_is_based_on(site: Site) -> None:
    server = good(site.admin("POST", "/servers", disk(country="FR")), 201)
    path = f"/servers/{server['server_id']}"
    for method, body in (("PATCH", {"capacity": 5}), ("DELETE", None)):
        refused(site.admin(method, path, body), 428, "if_match_missing")
        refused(site.admin(method, path, body, headers={"If-Match": '"9"'}), 412, "server_version_conflict")
    assert good(site.admin("GET", path)) == server


def test_repeat_registers_once(site: Site) -> None:
    body, headers = disk(country="FR"), {"Idempotency-Key": new_id("key")}
    first, again = (site.admin("POST", "/servers", body, headers=headers) for _ in range(2))
    assert good(first, 201) == good(again)
    refused(site.admin("POST", "/servers", body), 409, "server_name_taken")


def test_address_is_registered_once_unless_it_is_said_to_be_shared(
    site: Site, register: Register, mariadb_admin: MariaDbAdmin
) -> None:
    port = mariadb_admin.address.rpartition(":")[2]
    server = register(maria(mariadb_admin, shares_address=False))
    for address in (mariadb_admin.address, f"LocalHost:{port}", f"127.0.0.1:0{port}"):
        again = maria(mariadb_admin, shares_address=False, address=address)
        problem = refused(site.admin("POST", "/servers", again), 409, "server_taken")
        assert server["name"] in json.dumps(problem)
    register(maria(mariadb_admin))
    directory = disk(country="FR")
    register(directory)
    again = disk(country="FR", address=directory["address"])
    refused(site.admin("POST", "/servers", again), 409, "server_taken")


def test_administrator_is_changed_by_admins_alone_and_shown_nowhere(
    site: Site, register: Register, mariadb_admin: MariaDbAdmin, caplog: pytest.LogCaptureFixture
) -> None:
    server = register(maria(mariadb_admin))
    path, headers = f"/servers/{server['server_id']}", {"If-Match": '"1"'}
    wrong = site.admin("PATCH", path, {"admin_password": "not-the-password"}, headers=headers)
    refused(wrong, 409, "server_rejected")
    damaged = site.admin("PATCH", path, {"tls_ca": "no certificate"}, headers=headers)
    refused(damaged, 422, "server_description_unfit")
    other = make_admin(mariadb_admin.server)
    change = {"admin_user": other.user, "admin_password": other.password}
    as_operator = {**headers, "Authorization": f"Bearer {site.new_token('operator')}"}
    refused(site.admin("PATCH", path, change, headers=as_operator), 403, "staff_role_insufficient")
    changed = site.admin("PATCH", path, change, headers=headers)
    assert good(changed)["admin_user"] == other.user
    assert good(changed)["version"] == 2
    audit = site.admin("GET", "/audit", params={"action": "changeServer", "limit": 100}).text
    assert other.password not in changed.text + caplog.text + audit


def order(site: Site, edition: str, **other: Any) -> Any:
    customer = good(site.admin("POST", "/customers", {"name": new_id("c")[-12:], "display_name": "C"}), 201)
    body = {"customer_id": customer["customer_id"], "edition": edition, "name": f"i-{new_id('i')[-10:]}"}
    return site.admin("POST", "/instances", {**body, **other})


def test_instance_shows_where_it_is_placed(site: Site, instances: dict[str, Instance]) -> None:
    shown = good(site.admin("GET", "/instances", params={"limit": 100}))["data"]
    by_id = {each["instance_id"]: each for each in shown}
    expected = {"datacenter": 1, "dedicated": 1, "high_performance": 1, "high_availability": 2}
    purposes = {each["name"]: each["purpose"] for each in site.listed("/servers")}
    dedicated: list[str] = []
    for edition, instance in instances.items():
        servers = good(site.admin("GET", f"/instances/{instance.instance_id}"))["servers"]
        assert servers == by_id[instance.instance_id]["servers"]
        assert len(set(servers)) == expected[edition]
        if edition == "datacenter":
            # Whatever other tests have registered before: the first shared one that has room.
            assert purposes[servers[0]] == "shared"
        else:
            dedicated += servers
    assert len(dedicated) == len(set(dedicated))


def test_country_outside_the_contract_is_refused(site: Site) -> None:
    problem = refused(order(site, "datacenter", country="FR"), 409, "country_forbidden")
    assert "DE" in json.dumps(problem)
    refused(order(site, "datacenter", country="AT", countries=["AT", "DE"]), 409, "capacity_exhausted")
    refused(order(site, "datacenter", countries=["Germany"]), 422, "request_invalid")


def test_capacity_exhausted_says_what_is_missing_and_leaves_nothing(site: Site) -> None:
    name = f"full-{new_id('n')[-8:]}"
    at = {"country": "AT", "countries": ["AT"]}
    problem = refused(order(site, "high_availability", name=name, lines=3, **at), 409, "capacity_exhausted")
    for word, value in {"purpose": "dedicated", "country": "AT", "needed": 3, "free": 0}.items():
        assert f'"{word}":' in json.dumps(problem)
        assert json.dumps(value) in json.dumps(problem)
    good(order(site, "datacenter", name=name), 202)


def test_two_orders_at_once_for_the_last_place(site: Site) -> None:
    country = "CH"
    server = good(site.admin("POST", "/servers", disk(country=country, capacity=1)), 201)
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: order(site, "datacenter", country=country, countries=[country]).status_code,
                range(4),
            )
        )
    assert sorted(answers) == [202, 409, 409, 409]
    assert good(site.admin("GET", f"/servers/{server['server_id']}"))["used"] == 1
    refused(
        site.admin("DELETE", f"/servers/{server['server_id']}", headers={"If-Match": '"1"'}),
        409,
        "server_in_use",
    )


def test_start_on_a_directory_with_servers_registers_none(tmp_path: Path) -> None:
    with Site(tmp_path, dedicated_servers=1) as first:
        shown = first.listed("/servers")
    with Site(tmp_path, dedicated_servers=5) as second:
        assert second.listed("/servers") == shown
