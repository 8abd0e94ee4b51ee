"""The story on a real MariaDB: instances of two customers in every edition, and what neither may do to the other.

The platform database lies on the same server as the instances', where a database user that may see too much would
see it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pymysql
import pytest

from app.core.ids import new_id
from tests.api.site import EDITIONS, Instance, Site, good, refused
from tests.service.mariadb import MariaDbServer
from tests.service.wait import wait_until

ADMIN = "wops_story_admin"
PLATFORM = "wops_story_platform"
REFUSED = (1044, 1142)
"""MariaDB's own words for a database and a table that a user may not see."""


@pytest.fixture(scope="module")
def story(mariadb_server: MariaDbServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A platform whose databases all lie on one MariaDB server."""
    with ExitStack() as left:
        platform = mariadb_server.create_database(PLATFORM)
        left.callback(mariadb_server.drop_database, PLATFORM)
        password = mariadb_server.create_admin(ADMIN)
        left.callback(mariadb_server.execute, f"DROP USER `{ADMIN}`@`%`")
        folder = tmp_path_factory.mktemp("story")
        site = Site(folder, platform_database=platform.url, dedicated_servers=2)
        left.callback(drop_instances, mariadb_server, but=databases_of_instances(mariadb_server))
        left.enter_context(site)
        register_servers(site, mariadb_server, password)
        yield site


def register_servers(site: Site, server: MariaDbServer, password: str) -> None:
    """One for many, and some for one instance each."""
    own = [(f"db-own-{number}", "dedicated", 1) for number in range(1, 9)]
    for name, purpose, capacity in [("db-shared", "shared", 100), *own]:
        body = {
            "name": name,
            "kind": "mariadb",
            "purpose": purpose,
            "site": "karlsruhe",
            "country": "DE",
            "capacity": capacity,
            "address": f"{server.host}:{server.port}",
            "admin_user": ADMIN,
            "admin_password": password,
            "shares_address": True,
        }
        good(site.admin("POST", "/servers", body), 201)


def drop_instances(server: MariaDbServer, *, but: set[str]) -> None:
    """Databases and users that have come since, whatever has become of the site."""
    for name in databases_of_instances(server) - but:
        server.drop_database(name)


def databases_of_instances(server: MariaDbServer) -> set[str]:
    with server.connect_admin() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES LIKE 'wops\\_%'")
        return {str(row[0]) for row in cursor.fetchall()}


@pytest.fixture(scope="module")
def acme(story: Site) -> dict[str, Instance]:
    """A customer with one instance of each edition."""
    customer = story.add_customer("acme-story")
    return {
        edition: story.add_instance(edition, f"acme-{edition.replace('_', '-')}", customer=customer)
        for edition in EDITIONS
    }


@pytest.fixture(scope="module")
def bravo(story: Site) -> Instance:
    """Another customer."""
    return story.add_instance("datacenter", "bravo-datacenter")


@pytest.fixture(scope="module")
def charlie(story: Site) -> Instance:
    """A third one, with web services."""
    return story.add_instance("dedicated", "charlie-dedicated")


def collect(instance: Instance) -> dict[str, Any]:
    """Sell a licence and collect it into a container, by the doors that every edition has."""
    ticket, device = instance.sell(), instance.device()
    body = {"action": "activate", "ticket": ticket, "context": device.context()}
    transfer: dict[str, Any] = good(instance.gate("POST", "/transfers", body), 201)
    device.apply(transfer["update"])
    assert len(device.items) == 1
    return transfer


def test_every_instance_has_a_database_of_its_own_on_the_server(
    acme: dict[str, Instance], mariadb_server: MariaDbServer
) -> None:
    for instance in acme.values():
        read = good(instance.admin("GET", ""))
        assert read["state"] == "ready"
        assert all(server.startswith("db-") for server in read["servers"])
    assert len(good(acme["high_availability"].admin("GET", ""))["servers"]) == 2
    assert {database_of(each) for each in acme.values()} <= databases_of_instances(mariadb_server)


def database_of(instance: Instance) -> str:
    return f"wops_{instance.instance_id.removeprefix('ins_')}"


def test_two_customers_work_at_once_and_each_has_exact_books(
    acme: dict[str, Instance], bravo: Instance
) -> None:
    mine, other = acme["datacenter"], bravo
    before = {each.name: each.meter("activations")["used"] for each in (mine, other)}
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(collect, [mine, other] * 6))
    assert len({each["transfer_id"] for each in done}) == 12
    for each in (mine, other):
        assert each.meter("activations")["used"] == before[each.name] + 6
        assert good(each.admin("GET", "/meter-audit")) == {"exact": True, "discrepancies": []}


def test_an_instances_database_user_is_refused_everywhere_else(
    story: Site, acme: dict[str, Instance], bravo: Instance, mariadb_server: MariaDbServer
) -> None:
    own = acme["datacenter"]
    engine = story.platform.databases.open(own.instance_id).engine  # type: ignore[arg-type]
    connection = pymysql.connect(
        host=mariadb_server.host,
        port=mariadb_server.port,
        user=str(engine.url.username),
        password=str(engine.url.password),
        ssl_disabled=True,
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        seen = {row[0] for row in cursor.fetchall()}
        assert seen == {database_of(own), "information_schema"}
        for table in (
            f"`{database_of(bravo)}`.`op`",
            f"`{PLATFORM}`.`instance`",
            "mysql.global_priv",
            "mysql.user",
        ):
            with pytest.raises(pymysql.err.OperationalError) as caught:
                cursor.execute(f"SELECT * FROM {table} LIMIT 1")
            assert caught.value.args[0] in REFUSED, table
        for statement in (
            "CREATE DATABASE wops_stolen",
            "CREATE USER thief@`%`",
            "SET GLOBAL general_log = 1",
        ):
            with pytest.raises(pymysql.err.OperationalError):
                cursor.execute(statement)


def test_the_isolation_probe_tries_everything_and_finds_it_closed(
    story: Site, acme: dict[str, Instance], bravo: Instance, charlie: Instance
) -> None:
    result = good(story.admin("POST", "/probes/isolation:run"))
    assert result["held"], [each for each in result["checks"] if each["outcome"] != "held"]
    held = {each["check"] for each in result["checks"] if each["outcome"] == "held"}
    assert held == {
        "foreign_database",
        "platform_database",
        "system_tables",
        "own_profile",
        "foreign_ids",
        "foreign_operation",
        "foreign_credentials",
        "foreign_cursor",
        "foreign_firm_key",
    }
    assert {each["outcome"] for each in result["checks"]} == {"held", "not_applicable"}
    assert good(story.admin("GET", "/probes/isolation"))[0] == result


def test_the_probe_sees_a_right_too_much(
    story: Site, acme: dict[str, Instance], bravo: Instance, mariadb_server: MariaDbServer
) -> None:
    own = acme["datacenter"]
    pattern = database_of(bravo).replace("_", r"\_")
    mariadb_server.execute(f"GRANT SELECT ON `{pattern}`.* TO `{database_of(own)}`@`%`")
    try:
        # Two rounds of twenty pairs: everyone has tried everyone.
        rounds = [good(story.admin("POST", "/probes/isolation:run")) for _ in range(2)]
    finally:
        mariadb_server.execute(f"REVOKE SELECT ON `{pattern}`.* FROM `{database_of(own)}`@`%`")
    broken = [each for result in rounds for each in result["checks"] if each["outcome"] == "broken"]
    assert {(each["check"], each["instance"], each["other"]) for each in broken} == {
        ("foreign_database", own.name, bravo.name)
    }
    assert not all(result["held"] for result in rounds)
    events = good(story.admin("GET", "/audit", params={"action": "runIsolationProbe"}))["data"]
    assert {each["type"] for each in events} == {"probe.broken", "probe.run"}


def test_a_credential_is_rotated_without_one_failed_call(story: Site, charlie: Instance) -> None:
    clients = good(charlie.admin("GET", "/clients"))
    client_id = next(each["client_id"] for each in clients if each["name"] == "erp")
    failures: list[int] = []
    calls, enough = [0], threading.Event()
    used = [charlie.auth]

    def go_on_calling() -> None:
        while not enough.is_set():
            answer = charlie.call("GET", "/items", auth=used[0])
            calls[0] += 1
            story.pass_time(0.1)
            if answer.status_code != 200:
                failures.append(answer.status_code)

    callers = [threading.Thread(target=go_on_calling) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(3):
            before = calls[0]
            rotated = good(charlie.admin("POST", f"/clients/{client_id}:rotate", {"overlap_hours": 1}))
            wait_until(lambda: calls[0] > before + 20, "calls with the old secret")  # noqa: B023
            used[0] = (rotated["client"]["username"], rotated["secret"])
            before = calls[0]
            wait_until(lambda: calls[0] > before + 20, "calls with the new secret")  # noqa: B023
    finally:
        enough.set()
        for caller in callers:
            caller.join(timeout=30)
    charlie.auth = used[0]
    assert failures == []


def test_ids_keys_and_cursors_of_one_mean_nothing_at_another(
    acme: dict[str, Instance], charlie: Instance
) -> None:
    mine = acme["dedicated"]
    key = {"Idempotency-Key": new_id("key")}
    item = {"sku": "only-here", "name": "Only here", "options": {"product_code": 7}}
    good(mine.call("POST", "/items", item, headers=key), 201)
    refused(charlie.call("GET", "/items/only-here"), 404, "item_not_found")
    other = {**item, "sku": "something-else"}
    assert good(charlie.call("POST", "/items", other, headers=key), 201)["sku"] == "something-else"
    for number in range(3):
        good(mine.call("POST", "/items", {**item, "sku": f"more-{number}"}), 201)
    cursor = good(mine.call("GET", "/items", params={"limit": 1}))["page"]["next"]
    refused(charlie.call("GET", "/items", params={"limit": 1, "cursor": cursor}), 422, "cursor_invalid")


def test_the_audit_chain_holds_and_an_altered_row_is_found(
    story: Site, acme: dict[str, Instance], mariadb_server: MariaDbServer
) -> None:
    instance = acme["dedicated"]
    collect(instance)
    assert verify(story, instance)["sound"]
    assert verify(story, None)["sound"]
    table = f"`{database_of(instance)}`.`outbox_event`"
    mariadb_server.execute(f"UPDATE {table} SET subject = CONCAT(subject, 'x') WHERE sequence = 3")
    found = verify(story, instance)
    assert not found["sound"]
    assert found["findings"][0]["sequence"] == 3
    mariadb_server.execute(
        f"UPDATE {table} SET subject = LEFT(subject, LENGTH(subject) - 1) WHERE sequence = 3"
    )
    assert verify(story, instance)["sound"]


def verify(story: Site, instance: Instance | None) -> dict[str, Any]:
    """Verify an instance's chain, or the platform's."""
    chain = "platform" if instance is None else instance.instance_id
    return dict(good(story.admin("GET", "/audit/verification", params={"chain": chain})))
