"""What HAProxy reports, and servers that are told what to do: each method against a real one."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from lb.errors import HaproxyArgumentInvalid, HaproxyRejected
from lb.haproxy_stats import (
    AdminState,
    OperationalState,
    RuntimeSocket,
    ServerOptions,
    ServerState,
    ServerStatus,
    ServerTarget,
)
from tests.integration.lb.stats_site import StatsSite, line_at
from tests.service.wait import wait_until

MISSING = "No such server."


def test_info_names_the_worker_and_its_figures(site: StatsSite) -> None:
    info = site.runtime.show_info()
    assert info.pid in {worker.pid for worker in site.master.show_proc().workers}
    assert info.version.startswith("2.")
    assert info.description == "tests of the wrapper"
    assert timedelta(0) <= info.uptime < timedelta(minutes=5)
    assert (info.stopping, info.threads > 0, info.max_connections > 100, info.pool_bytes > 0) == (
        False,
        True,
        True,
        True,
    )
    assert info.connections_total > 0


def test_stat_has_every_frontend_backend_and_server_by_name(site: StatsSite) -> None:
    stat = site.runtime.show_stat()
    assert "front" in {each.name for each in stat.frontends}
    assert {each.name for each in stat.backends} == {"main", "fixed"}
    assert [(each.backend, each.name) for each in stat.servers] == [
        ("main", "l1"),
        ("main", "l2"),
        ("main", "l3"),
        ("fixed", "l1"),
    ]
    assert stat.server("main", "l9") is None


def test_stat_of_one_backend_has_no_other(site: StatsSite) -> None:
    stat = site.runtime.show_stat("fixed")
    assert ([each.name for each in stat.backends], stat.frontends) == (["fixed"], ())
    assert [(each.backend, each.name) for each in stat.servers] == [("fixed", "l1")]


def test_status_follows_the_check_and_a_server_that_tracks_says_whom(site: StatsSite) -> None:
    wait_until(lambda: _stat(site, "l1") is ServerStatus.DOWN, "the check to fail")
    down = site.runtime.show_stat().server("main", "l1")
    assert down is not None
    assert (down.check_status, down.check_failures > 0, down.address) == ("SOCKERR", True, None)
    with line_at(Path(site.file("l1.sock"))):
        wait_until(lambda: _stat(site, "l1") is ServerStatus.UP, "the check to pass")
    stat = site.runtime.show_stat()
    tracking, unchecked = stat.server("main", "l3"), stat.server("fixed", "l1")
    assert tracking is not None
    assert unchecked is not None
    assert (tracking.tracks, tracking.address) == ("main/l1", "127.0.0.1:9")
    assert (unchecked.status, unchecked.check_status) == (ServerStatus.NO_CHECK, None)


def test_requests_are_counted_where_they_went(site: StatsSite) -> None:
    with line_at(Path(site.file("l1.sock"))):
        wait_until(lambda: _stat(site, "l1") is ServerStatus.UP, "the check to pass")
        site.runtime.servers.set_state("main", "l3", state=ServerTarget.MAINT)
        assert [_get(site, "/x") for _ in range(3)] == [200, 200, 200]
    stat = site.runtime.show_stat()
    server, frontend = stat.server("main", "l1"), stat.frontends[0]
    assert server is not None
    assert (server.traffic.sessions_total, server.traffic.responses[2], server.last_session) == (
        3,
        3,
        timedelta(0),
    )
    assert (frontend.traffic.requests_total, frontend.traffic.responses[2]) == (3, 3)
    assert server.traffic.bytes_in > 0
    conn = {(each.backend, each.name): each for each in site.runtime.show_servers_conn()}
    assert conn[("main", "l1")].used == 0


def test_rows_of_a_stick_table_come_with_what_they_store(site: StatsSite) -> None:
    assert site.runtime.show_table("main") == ()
    with line_at(Path(site.file("l1.sock"))):
        wait_until(lambda: _stat(site, "l1") is ServerStatus.UP, "the check to pass")
        site.runtime.servers.set_state("main", "l3", state=ServerTarget.MAINT)
        assert _get(site, "/x", client="acme\\erp = ü") == 200
    (head,) = site.runtime.show_tables()
    (row,) = site.runtime.show_table("main")
    assert (head.name, head.key_type, head.size, head.used) == ("main", "string", 100, 1)
    assert (row.key, row.data["http_req_cnt"]) == ("acme\\erp = ü", "0")
    assert row.expires is not None
    assert timedelta(minutes=9) < row.expires <= timedelta(minutes=10)


def test_weight_is_set_and_read_back(site: StatsSite) -> None:
    for weight in (0, 1, 256):
        site.runtime.servers.set_weight("main", "l1", weight=weight)
        assert _state(site, "l1").user_weight == weight
    assert _state(site, "l1").initial_weight == 1


def test_weight_of_a_static_backend_is_refused(site: StatsSite) -> None:
    with pytest.raises(HaproxyRejected) as refused:
        site.runtime.servers.set_weight("fixed", "l1", weight=5)
    assert "static" in refused.value.answer
    assert _state(site, "l1", backend="fixed").user_weight == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (ServerTarget.READY, AdminState.NONE),
        (ServerTarget.DRAIN, AdminState.FORCED_DRAIN),
        (ServerTarget.MAINT, AdminState.FORCED_MAINT),
    ],
)
def test_state_is_set_and_read_back(site: StatsSite, target: ServerTarget, expected: AdminState) -> None:
    site.runtime.servers.set_state("main", "l1", state=target)
    admin = _state(site, "l1").admin
    assert admin == expected
    assert (admin.is_maint, admin.is_drain) == (
        target is ServerTarget.MAINT,
        target is ServerTarget.DRAIN,
    )


def test_server_disabled_in_the_configuration_gets_ready(site: StatsSite) -> None:
    assert AdminState.CONFIGURED_MAINT in _state(site, "l2").admin
    site.runtime.servers.set_state("main", "l2", state=ServerTarget.READY)
    assert not _state(site, "l2").admin.is_maint


def test_maintenance_reaches_a_server_that_tracks(site: StatsSite) -> None:
    site.runtime.servers.set_state("main", "l1", state=ServerTarget.MAINT)
    assert _state(site, "l3").admin == AdminState.INHERITED_MAINT


def test_enable_and_disable_are_maintenance_and_back(site: StatsSite) -> None:
    servers = site.runtime.servers
    servers.disable("main", "l1")
    assert _state(site, "l1").admin.is_maint
    servers.enable("main", "l1")
    assert not _state(site, "l1").admin.is_maint


def test_check_is_stopped_and_started(site: StatsSite) -> None:
    servers = site.runtime.servers
    with line_at(Path(site.file("l1.sock"))):
        wait_until(lambda: _stat(site, "l1") is ServerStatus.UP, "the check to pass")
        servers.disable_health("main", "l1")
    assert _stat(site, "l1") in {ServerStatus.UP, ServerStatus.NO_CHECK}
    servers.enable_health("main", "l1")
    wait_until(lambda: _stat(site, "l1") is ServerStatus.DOWN, "the check to run again")


def test_address_is_changed_and_a_unix_socket_is_not(site: StatsSite) -> None:
    servers = site.runtime.servers
    for _ in range(2):
        servers.set_address("main", "l2", address="127.0.0.2", port=88)
        assert (_state(site, "l2").address, _state(site, "l2").port) == ("127.0.0.2", 88)
    with pytest.raises(HaproxyRejected) as refused:
        servers.set_address("main", "l1", address="127.0.0.2", port=88)
    assert "address family" in refused.value.answer
    assert _state(site, "l1").address is None


def test_added_server_serves_once_its_check_runs_and_it_is_enabled(site: StatsSite) -> None:
    servers = site.runtime.servers
    options = ServerOptions(
        address=f"unix@{site.file('l4.sock')}",
        weight=7,
        identifier=77,
        check=True,
        inter=timedelta(milliseconds=50),
        fastinter=timedelta(milliseconds=50),
        downinter=timedelta(milliseconds=50),
        rise=1,
        fall=2,
        maxconn=100,
        maxqueue=10,
        shutdown_when_down=True,
        pool_purge_delay=timedelta(seconds=5),
        pool_max_conn=-1,
    )
    servers.add("main", "l4", options)
    state = _state(site, "l4")
    assert (state.server_id, state.admin, state.user_weight, state.operational) == (
        77,
        AdminState.FORCED_MAINT,
        7,
        OperationalState.STOPPED,
    )
    with line_at(Path(site.file("l4.sock"))):
        servers.enable_health("main", "l4")
        servers.enable("main", "l4")
        wait_until(lambda: _get(site, "/x") == 200, "the new server to answer")
    assert _state(site, "l4").admin == AdminState.NONE


def test_added_server_may_track_another_and_take_its_state(site: StatsSite) -> None:
    site.runtime.servers.add(
        "main", "l5", ServerOptions(address="[::1]:9", weight=3, track=("main", "l1"), send_proxy_v2=True)
    )
    site.runtime.servers.set_state("main", "l1", state=ServerTarget.MAINT)
    site.runtime.servers.enable("main", "l5")
    state = _state(site, "l5")
    assert (state.admin, state.address) == (AdminState.INHERITED_MAINT, "::1")


def test_server_is_removed_in_maintenance_only(site: StatsSite) -> None:
    servers = site.runtime.servers
    servers.add("main", "l6", ServerOptions(address="127.0.0.1:9"))
    servers.enable("main", "l6")
    with pytest.raises(HaproxyRejected) as refused:
        servers.delete("main", "l6")
    assert "maintenance" in refused.value.answer
    servers.set_state("main", "l6", state=ServerTarget.MAINT)
    servers.shutdown_sessions("main", "l6")
    servers.delete("main", "l6")
    assert site.runtime.show_stat().server("main", "l6") is None


def test_server_that_another_tracks_is_not_removed(site: StatsSite) -> None:
    site.runtime.servers.set_state("main", "l1", state=ServerTarget.MAINT)
    with pytest.raises(HaproxyRejected) as refused:
        site.runtime.servers.delete("main", "l1")
    assert "other configuration elements" in refused.value.answer


def test_name_that_is_taken_and_a_static_backend_are_refused(site: StatsSite) -> None:
    servers = site.runtime.servers
    options = ServerOptions(address="127.0.0.1:9")
    for backend, name in (("main", "l1"), ("fixed", "l7"), ("nobody", "l1")):
        with pytest.raises(HaproxyRejected):
            servers.add(backend, name, options)
    assert len(site.runtime.show_servers_state()) == 4


def test_check_of_a_server_without_one_cannot_be_enabled(site: StatsSite) -> None:
    site.runtime.servers.add("main", "l8", ServerOptions(address="127.0.0.1:9"))
    with pytest.raises(HaproxyRejected):
        site.runtime.servers.enable_health("main", "l8")


def test_every_command_says_that_a_server_is_missing(site: StatsSite) -> None:
    servers = site.runtime.servers
    attempts: tuple[Callable[[], object], ...] = (
        lambda: servers.set_weight("main", "l9", weight=1),
        lambda: servers.set_state("main", "l9", state=ServerTarget.MAINT),
        lambda: servers.set_address("main", "l9", address="127.0.0.1", port=1),
        lambda: servers.enable_health("main", "l9"),
        lambda: servers.disable_health("main", "l9"),
        lambda: servers.enable("main", "l9"),
        lambda: servers.disable("main", "l9"),
        lambda: servers.shutdown_sessions("main", "l9"),
        lambda: servers.delete("main", "l9"),
    )
    answers = []
    for attempt in attempts:
        with pytest.raises(HaproxyRejected) as refused:
            attempt()
        answers.append(refused.value.answer)
    assert set(answers) == {MISSING}


def test_what_is_not_there_is_refused_by_name(site: StatsSite) -> None:
    runtime = site.runtime
    attempts: tuple[Callable[[], object], ...] = (
        lambda: runtime.show_stat("nobody"),
        lambda: runtime.show_servers_state("nobody"),
        lambda: runtime.show_servers_conn("nobody"),
        lambda: runtime.show_table("nobody"),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected):
            attempt()


def test_socket_without_enough_rights_refuses_and_nothing_happens(site: StatsSite) -> None:
    weak = site.served.directory / "user.sock"
    site.served.reconfigure(
        f"global\n  stats socket {weak} mode 600 level user\n{site.served.configuration.read_text()}"
    )
    site.master.reload()
    with pytest.raises(HaproxyRejected) as refused:
        RuntimeSocket(weak).servers.set_weight("main", "l1", weight=9)
    assert refused.value.answer == "Permission denied"
    assert _state(site, "l1").user_weight == 1


def test_options_of_a_server_are_checked_before_anything_is_sent(site: StatsSite) -> None:
    before = site.snapshot()
    for options in (
        ServerOptions(address="nonsense"),
        ServerOptions(address="127.0.0.1:0"),
        ServerOptions(address="127.0.0.1:9", weight=257),
        ServerOptions(address="127.0.0.1:9", inter=timedelta(0)),
        ServerOptions(address="127.0.0.1:9", rise=0),
        ServerOptions(address="127.0.0.1:9", track=("main", "l1"), check=True),
        ServerOptions(address=f"unix@/{'x' * 108}"),
    ):
        with pytest.raises(HaproxyArgumentInvalid):
            site.runtime.servers.add("main", "l9", options)
    assert site.snapshot() == before


def _stat(site: StatsSite, name: str) -> ServerStatus:
    found = site.runtime.show_stat("main").server("main", name)
    assert found is not None
    return found.status


def _state(site: StatsSite, name: str, *, backend: str = "main") -> ServerState:
    return next(each for each in site.runtime.show_servers_state(backend) if each.name == name)


def _get(site: StatsSite, path: str, *, client: str | None = None) -> int:
    """The status of an answer through HAProxy."""
    connection = http.client.HTTPConnection("front")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(site.file("front.sock"))
    try:
        connection.request("GET", path, headers={} if client is None else {"x-client": client.encode()})
        return connection.getresponse().status
    finally:
        connection.close()
