"""Answers of HAProxy 2.6, read into rows; and anything else, which is said to be none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.errors import HaproxyProtocolError
from lb.haproxy_stats import AdminState, MapEntry, OperationalState, ServerStatus
from lb.stats import certificate_row, reading
from lb.stats.reading import understood
from lb.stats.stat_reading import read_stat

PROCESSES = """\
#<PID>          <type>          <reloads>       <uptime>        <version>
1162            master          5 [failed: 2]   1d00h02m07s     2.6.12-1+deb12u4
# workers
1271            worker          1               0d00h00m00s     2.6.12-1+deb12u4
# old workers
1233            worker          3               0d00h00m43s     2.6.12-1+deb12u4
# programs
1244            foo             0               0d00h00m00s     -
"""
STATE = """\
1
# be_id srv_name srv_id be_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_fqdn srv_port srv_use_ssl srv_new_column
3 l1 1 main - 2 0 7 1 60 - 0 0 x
3 l2 2 main 127.0.0.1 0 40 0 1 5 a.example 9 1 x
# a remark
"""
SERVER = {
    "pxname": "main", "svname": "l1", "qcur": "0", "qmax": "1", "scur": "2", "smax": "3", "stot": "4", "bin": "5",
    "bout": "6", "status": "MAINT (via main/l2)", "weight": "0", "uweight": "9", "act": "0", "bck": "1", "lastchg": "8",
    "lastsess": "-1", "last_chk": "HTTP: status 503: no", "check_status": "* L7STS", "check_code": "503",
    "check_duration": "12", "tracked": "main/l2", "addr": "[::1]:80", "unknown_field": "x:y:z",
}  # fmt: skip
READERS: tuple[Callable[[list[str]], object], ...] = (
    reading.read_info,
    reading.read_servers_state,
    reading.read_servers_conn,
    reading.read_tables,
    reading.read_table,
    reading.read_pattern_files,
    reading.read_map,
    reading.read_patterns,
    reading.read_processes,
    read_stat,
    certificate_row.read_names,
    certificate_row.read_certificate,
    certificate_row.read_authorities,
    certificate_row.read_revocation_lists,
    certificate_row.read_crt_list,
)
GOOD = (
    *PROCESSES.splitlines(),
    *STATE.splitlines(),
    "0x1 a b",
    "# l",
    "/c:1 [a\0] b",
    "Status: Used",
    "Certificate #1:",
)


def test_processes_are_sorted_by_their_headings() -> None:
    found = reading.read_processes(PROCESSES.splitlines())
    assert (found.master.pid, found.master.reloads, found.failed_reloads) == (1162, 5, 2)
    assert found.master.uptime == timedelta(days=1, minutes=2, seconds=7)
    assert ([each.pid for each in found.workers], [each.pid for each in found.old_workers]) == (
        [1271],
        [1233],
    )


def test_columns_are_found_by_name_wherever_they_stand() -> None:
    first, second = reading.read_servers_state(STATE.splitlines())
    assert (first.backend, first.name, first.address, first.port) == ("main", "l1", None, None)
    assert (first.operational, first.admin, first.user_weight) == (
        OperationalState.RUNNING,
        AdminState.NONE,
        7,
    )
    assert (second.host_name, second.port, second.uses_tls) == ("a.example", 9, True)
    assert second.admin == AdminState.FORCED_DRAIN | AdminState.RESOLUTION_MAINT
    assert (second.admin.is_drain, second.admin.is_maint, first.admin.is_maint) == (True, True, False)


def test_mark_of_the_configuration_alone_is_no_maintenance() -> None:
    assert not AdminState.CONFIGURED_MAINT.is_maint


def test_statistics_are_read_by_name_with_colons_in_values() -> None:
    (server,) = read_stat(_typed("S.3.1", SERVER)).servers
    assert (server.status, server.status_text) == (ServerStatus.MAINT, "MAINT (via main/l2)")
    assert (server.check_text, server.check_status, server.check_code) == (
        "HTTP: status 503: no",
        "L7STS",
        503,
    )
    assert (server.weight, server.user_weight, server.is_backup, server.tracks) == (0, 9, True, "main/l2")
    assert (server.last_session, server.check_duration) == (None, timedelta(milliseconds=12))
    assert (server.traffic.sessions, server.traffic.request_errors, server.address) == (2, None, "[::1]:80")


def test_objects_with_similar_numbers_are_not_mixed_up() -> None:
    names = ("S.3.1", "S.3.10", "S.31.0", "S.3.11")
    lines = [line for name in names for line in _typed(name, SERVER | {"svname": name})]
    assert [each.name for each in read_stat(lines).servers] == list(names)


@pytest.mark.parametrize("missing", ["pxname", "status", "weight", "scur", "lastchg"])
def test_object_without_a_field_that_it_must_have_is_not_understood(missing: str) -> None:
    fields = {name: value for name, value in SERVER.items() if name != missing}
    with pytest.raises(HaproxyProtocolError):
        understood("show stat", "", lambda: read_stat(_typed("S.3.1", fields)))


def test_keys_of_a_stick_table_come_back_as_they_were_sent() -> None:
    head = "# table: t, type: string, size:100, used:2"
    rows = (r"0x1: key=a\ b\\c\=\xc3\xbc use=0 exp=0 server_id=1 server_key=x\ y", "0x2: key= use=1 exp=1500")
    first, second = reading.read_table([head, *rows])
    assert (first.key, first.expires, dict(first.data)) == (
        "a b\\c=ü",
        None,
        {"server_id": "1", "server_key": "x y"},
    )
    assert (second.key, second.uses, second.expires) == ("", 1, timedelta(seconds=1.5))


def test_map_lines_keep_the_blanks_of_their_values() -> None:
    assert reading.read_map(["0x1f /a one  two ", "0x2 /b "]) == (
        MapEntry(key="/a", value="one  two "),
        MapEntry(key="/b", value=""),
    )


@given(lines=st.lists(st.one_of(st.sampled_from(GOOD), st.text(max_size=60)), max_size=8))
def test_whatever_the_lines_are_the_only_error_is_the_one_for_them(lines: list[str]) -> None:
    for read in READERS:
        try:
            understood("show", "\n".join(lines), partial(read, lines))
        except HaproxyProtocolError as error:
            assert len(error.message) < 600  # noqa: PT017 - success is allowed, too


def _typed(head: str, fields: dict[str, str]) -> list[str]:
    return [
        f"{head}.{position}.{name}.1:KNS:str:{value}" for position, (name, value) in enumerate(fields.items())
    ]
