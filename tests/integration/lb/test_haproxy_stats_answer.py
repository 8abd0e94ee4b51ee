"""Answers that HAProxy never gives: whatever comes, only the wrapper's own errors get out, and in time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lb.errors import HaproxyError, HaproxyProtocolError, HaproxyRejected, HaproxyUnavailable
from lb.haproxy_stats import MapEntry, MasterSocket, RuntimeSocket, ServerOptions, ServerTarget
from lb.stats import channel
from tests.integration.lb.answering import (
    AnsweringSocket,
    Behaviour,
    answering_socket,
    closes,
    drips,
    floods,
    is_silent,
)

SHORT = timedelta(milliseconds=150)
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
CRL = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"

READS: dict[str, Callable[[RuntimeSocket], object]] = {
    "info": lambda runtime: runtime.show_info(),
    "stat": lambda runtime: runtime.show_stat(),
    "servers state": lambda runtime: runtime.show_servers_state(),
    "servers conn": lambda runtime: runtime.show_servers_conn(),
    "tables": lambda runtime: runtime.show_tables(),
    "table": lambda runtime: runtime.show_table("t"),
    "map files": lambda runtime: runtime.maps.files(),
    "map": lambda runtime: runtime.maps.show("/m"),
    "map get": lambda runtime: runtime.maps.get("/m", "k"),
    "acl": lambda runtime: runtime.acls.show("/a"),
    "acl get": lambda runtime: runtime.acls.contains("/a", "k"),
    "certificates": lambda runtime: runtime.certificates.names(),
    "certificate": lambda runtime: runtime.certificates.show("/c"),
    "authorities": lambda runtime: runtime.authorities.show("/c"),
    "revocation lists": lambda runtime: runtime.revocation_lists.show("/c"),
    "crt-lists": lambda runtime: runtime.crt_lists.files(),
    "crt-list": lambda runtime: runtime.crt_lists.show("/c"),
    "limit": lambda runtime: runtime.message_limit(),
}
ACTIONS: dict[str, Callable[[RuntimeSocket], object]] = {
    "weight": lambda runtime: runtime.servers.set_weight("b", "s", weight=1),
    "state": lambda runtime: runtime.servers.set_state("b", "s", state=ServerTarget.MAINT),
    "address": lambda runtime: runtime.servers.set_address("b", "s", address="::1", port=1),
    "enable health": lambda runtime: runtime.servers.enable_health("b", "s"),
    "add server": lambda runtime: runtime.servers.add("b", "s", ServerOptions(address="h:1")),
    "shutdown": lambda runtime: runtime.servers.shutdown_sessions("b", "s"),
    "del server": lambda runtime: runtime.servers.delete("b", "s"),
    "prepare": lambda runtime: runtime.maps.prepare("/m"),
    "commit": lambda runtime: runtime.maps.commit_version("/m", 1),
    "map set": lambda runtime: runtime.maps.set("/m", "k", value="v"),
    "map replace": lambda runtime: runtime.maps.replace("/m", [MapEntry(key="k", value="v")]),
    "acl add": lambda runtime: runtime.acls.add("/m", ["k"]),
    "new": lambda runtime: runtime.certificates.new("/c"),
    "set": lambda runtime: runtime.certificates.set("/c", PEM + KEY),
    "commit cert": lambda runtime: runtime.certificates.commit_change("/c"),
    "abort": lambda runtime: runtime.certificates.abort_change("/c"),
    "del cert": lambda runtime: runtime.certificates.delete("/c"),
    "ca replace": lambda runtime: runtime.authorities.replace("/c", PEM),
    "crl replace": lambda runtime: runtime.revocation_lists.replace("/c", CRL),
    "crt-list add": lambda runtime: runtime.crt_lists.add("/l", "/c", filters=("a.example",)),
    "crt-list del": lambda runtime: runtime.crt_lists.delete("/l", "/c"),
}
EVERY = READS | ACTIONS
STARTS = (
    b"", b"\n", b"0.Name.1:POS:str:", b"F.2.0.0.pxname.1:KNS:str:a\n", b"S.1.1.17.status.1:SGP:str:UP\n",
    b"1\n# be_id be_name\n", b"# bkname/svname bkid/svid\n", b"# table: t, type: ip, size:1, used:1\n",
    b"# id (file) description\n", b"0x55 /a b\n", b"type=str, case=sensitive, found=yes, ", b"# filename\n",
    b"# transaction\n", b"Filename: /c\nStatus: Used\n", b"# /l\n/c:1 [",
    b"New version created: ", b"#<PID>          <type>\n12 master 0 [failed: 0] 0d00h00m00s 2\n# workers\n",
    b"Filename: /c\nCertificate #1:\nSerial: 1\nnotBefore: Feb 30 00:00:00 2026 GMT\n", b"  - Pool buffer (",
)  # fmt: skip


@pytest.fixture(scope="module")
def answering() -> Iterator[AnsweringSocket]:
    with answering_socket() as served:
        yield served


@pytest.mark.parametrize("name", sorted(EVERY))
def test_connection_that_is_closed_without_an_answer_is_unavailable(
    answering: AnsweringSocket, name: str
) -> None:
    answering.behave = closes
    with pytest.raises(HaproxyUnavailable):
        EVERY[name](RuntimeSocket(answering.path))


@pytest.mark.parametrize("name", sorted(EVERY))
def test_refusal_in_words_is_rejected_with_them(answering: AnsweringSocket, name: str) -> None:
    answering.answer(b"Permission denied\n\n")
    expected = HaproxyProtocolError if name == "limit" else HaproxyRejected
    with pytest.raises(expected) as refused:
        EVERY[name](RuntimeSocket(answering.path))
    assert isinstance(refused.value, HaproxyRejected | HaproxyProtocolError)
    assert refused.value.answer == "Permission denied"


@pytest.mark.parametrize("behave", [is_silent, drips])
def test_answer_that_does_not_end_is_given_up_at_the_deadline(
    answering: AnsweringSocket, behave: Behaviour
) -> None:
    answering.behave = behave
    started = time.monotonic()
    with pytest.raises(HaproxyUnavailable) as late:
        RuntimeSocket(answering.path, timeout=SHORT).show_info()
    assert "in time" in late.value.message
    assert time.monotonic() - started < 2


def test_flood_is_cut_off_at_the_limit(answering: AnsweringSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "ANSWER_LIMIT", 2_000_000)
    answering.behave = floods
    with pytest.raises(HaproxyProtocolError) as flooded:
        RuntimeSocket(answering.path).show_info()
    assert len(flooded.value.message) < 1000


@pytest.mark.parametrize(
    ("read", "whole"),
    [
        ("servers state", b"1\n# be_id be_name srv_id srv_name\n3 be 1 l1\n\n"),
        (
            "map files",
            b"# id (file) description\n4 (/r.map) pattern x. curr_ver=0 next_ver=0 entry_cnt=1\n\n",
        ),
        ("map", b"0x55 /a b\n0x56 /c d\n\n"),
        ("certificates", b"# filename\n/a.pem\n/b.pem\n\n"),
        ("table", b"# table: be, type: string, size:100, used:0\n\n"),
    ],
)
def test_answer_that_is_cut_off_is_never_taken_for_a_shorter_one(
    answering: AnsweringSocket, read: str, whole: bytes
) -> None:
    for length in range(1, len(whole)):
        if whole[:length].endswith(b"\n\n"):
            continue
        answering.answer(whole[:length])
        with pytest.raises(HaproxyError):
            READS[read](RuntimeSocket(answering.path))


def test_long_refusal_is_cut_and_made_printable(answering: AnsweringSocket) -> None:
    answering.answer(b"no \x1b[31m\0" + b"x" * 100_000 + b"\n\n")
    with pytest.raises(HaproxyRejected) as refused:
        RuntimeSocket(answering.path).servers.set_weight("b", "s", weight=1)
    assert refused.value.answer.isprintable()
    assert len(refused.value.answer) <= 400


def test_master_that_was_killed_and_started_anew_has_read_the_configuration(
    answering: AnsweringSocket,
) -> None:
    def behave(connection: socket.socket) -> None:
        if not any(each.startswith(b"reload") for each in answering.received):
            connection.sendall(_processes(1162, reloads=5))
        elif not answering.received[-1].startswith(b"reload"):
            connection.sendall(_processes(2162, reloads=0))

    answering.behave = behave
    after = MasterSocket(answering.path).reload(timeout=timedelta(seconds=5))
    assert (after.master.pid, after.master.reloads) == (2162, 0)


def _processes(master: int, *, reloads: int) -> bytes:
    return (
        b"#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        b"%d            master          %d [failed: 0]   0d00h02m07s     2.6.12\n"
        b"# workers\n%d            worker          0               0d00h00m00s     2.6.12\n\n"
    ) % (master, reloads, master + 1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from(STARTS), rest=st.binary(max_size=300), end=st.sampled_from([b"", b"\n", b"\n\n"])
)
def test_whatever_is_answered_only_own_errors_get_out(
    answering: AnsweringSocket, start: bytes, rest: bytes, end: bytes
) -> None:
    answering.answer(start + rest + end)
    runtime, master = RuntimeSocket(answering.path), MasterSocket(answering.path)
    for call in (*READS.values(), *ACTIONS.values()):
        try:
            call(runtime)
        except HaproxyError as error:
            assert len(error.message) < 1000  # noqa: PT017 - success is allowed, too
    for ask in (master.show_proc, master.show_version):
        try:
            ask()
        except HaproxyError as error:
            assert len(error.message) < 1000  # noqa: PT017 - success is allowed, too
