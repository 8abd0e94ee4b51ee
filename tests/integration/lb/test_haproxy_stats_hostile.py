"""Hostile arguments against a real HAProxy: refused, or taken as they are; nothing else is ever carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.errors import HaproxyArgumentInvalid, HaproxyError, HaproxyRejected
from lb.haproxy_stats import MapEntry, RuntimeSocket, ServerOptions, ServerTarget
from tests.integration.lb.answering import answering_socket
from tests.integration.lb.stats_site import StatsSite, pem_of, running_site
from tests.service.pki import issue_for_host

COMMANDS = (
    "set server main/l1 weight 77",
    "set server main/l1 state maint",
    "set maxconn global 7",
    "shutdown frontend front",
    "clear map #0",
    "disable server main/l1",
    "@1 reload",
)
SEPARATORS = (
    ";",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "<<\n",
    "\\;",
    "\\\n",
    "\0",
    "\t",
    "\v",
    "\f",
    "\x85",
    "\u2028",
    " ",
)
TOKENS = (
    "%[env(HOME)]",
    "$HOME",
    '"',
    "'",
    "#",
    "#1",
    "@1",
    "@",
    "!",
    "\\",
    "--",
    "-f",
    "*",
    "\x1b[2J",
    "ä",
    "\ud800",
    "<<",
    "x",
)
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from(COMMANDS), st.sampled_from(SEPARATORS), st.sampled_from(TOKENS), st.text(max_size=5)
    ),
    min_size=1,
    max_size=6,
).map("".join)
HUGE = ("x" * 10_000_000, ";" * 10_000_000, "\n" * 10_000_000, "ä" * 5_000_000)

Call = Callable[[RuntimeSocket, str], object]
MAP, ACL, LIST = "route.map", "networks.acl", "list.txt"


@pytest.fixture(scope="module")
def front() -> Iterator[StatsSite]:
    with running_site() as running:
        yield running


def calls(site: StatsSite) -> dict[str, Call]:
    """Every argument that is text, in every method that has it."""
    pem = pem_of(site.hosts["a.example"])
    certificate, crt_list, file, acl = (
        site.file("a.example.pem"),
        site.file(LIST),
        site.file(MAP),
        site.file(ACL),
    )
    target = ServerTarget.MAINT
    return {
        "stat": lambda runtime, text: runtime.show_stat(text),
        "servers state": lambda runtime, text: runtime.show_servers_state(text),
        "servers conn": lambda runtime, text: runtime.show_servers_conn(text),
        "table": lambda runtime, text: runtime.show_table(text),
        "weight backend": lambda runtime, text: runtime.servers.set_weight(text, "l1", weight=9),
        "weight server": lambda runtime, text: runtime.servers.set_weight("main", text, weight=9),
        "state": lambda runtime, text: runtime.servers.set_state("main", text, state=target),
        "address of server": lambda runtime, text: runtime.servers.set_address(
            "main", text, address="::1", port=1
        ),
        "address": lambda runtime, text: runtime.servers.set_address("main", "l1", address=text, port=1),
        "enable health": lambda runtime, text: runtime.servers.enable_health("main", text),
        "disable health": lambda runtime, text: runtime.servers.disable_health("main", text),
        "enable": lambda runtime, text: runtime.servers.enable("main", text),
        "disable": lambda runtime, text: runtime.servers.disable("main", text),
        "shutdown": lambda runtime, text: runtime.servers.shutdown_sessions("main", text),
        "delete": lambda runtime, text: runtime.servers.delete("main", text),
        "add to": lambda runtime, text: runtime.servers.add(text, "l9", ServerOptions(address="h:1")),
        "add at": lambda runtime, text: runtime.servers.add("fixed", "l9", ServerOptions(address=text)),
        "add at path": lambda runtime, text: runtime.servers.add(
            "fixed", "l9", ServerOptions(address=f"unix@/{text}")
        ),
        "add at host": lambda runtime, text: runtime.servers.add(
            "fixed", "l9", ServerOptions(address=f"{text}:1")
        ),
        "add tracking": lambda runtime, text: runtime.servers.add(
            "fixed", "l9", ServerOptions(address="h:1", track=("main", text))
        ),
        "map show": lambda runtime, text: runtime.maps.show(text),
        "map get": lambda runtime, text: runtime.maps.get(text, "/a"),
        "map key": lambda runtime, text: runtime.maps.get(file, text),
        "map prepare": lambda runtime, text: runtime.maps.prepare(text),
        "map commit": lambda runtime, text: runtime.maps.commit_version(text, 1),
        "map clear": lambda runtime, text: runtime.maps.clear(text),
        "map add": lambda runtime, text: runtime.maps.add(text, [MapEntry(key="a", value="b")]),
        "map set": lambda runtime, text: runtime.maps.set(file, text, value="x"),
        "map delete": lambda runtime, text: runtime.maps.delete(file, text),
        "acl show": lambda runtime, text: runtime.acls.show(text),
        "acl contains": lambda runtime, text: runtime.acls.contains(acl, text),
        "acl delete": lambda runtime, text: runtime.acls.delete(acl, text),
        "certificate show": lambda runtime, text: runtime.certificates.show(text),
        "certificate set": lambda runtime, text: runtime.certificates.set(text, pem),
        "certificate replace": lambda runtime, text: runtime.certificates.replace(text, pem),
        "certificate commit": lambda runtime, text: runtime.certificates.commit_change(text),
        "certificate abort": lambda runtime, text: runtime.certificates.abort_change(text),
        "certificate delete": lambda runtime, text: runtime.certificates.delete(text),
        "pem": lambda runtime, text: runtime.certificates.set(certificate, text),
        "pem after": lambda runtime, text: runtime.certificates.set(certificate, f"{text}\n{pem}{text}\n"),
        "pem inside": lambda runtime, text: runtime.certificates.set(
            certificate, pem.replace("\n", f"\n{text}\n", 1)
        ),
        "authorities": lambda runtime, text: runtime.authorities.set(site.file("ca.pem"), text),
        "revocation lists": lambda runtime, text: runtime.revocation_lists.set(site.file("crl.pem"), text),
        "crt-list show": lambda runtime, text: runtime.crt_lists.show(text),
        "crt-list add": lambda runtime, text: runtime.crt_lists.add(text, certificate),
        "crt-list certificate": lambda runtime, text: runtime.crt_lists.add(crt_list, text),
        "crt-list delete": lambda runtime, text: runtime.crt_lists.delete(crt_list, text),
    }


@settings(max_examples=120, deadline=None)
@given(text=HOSTILE)
def test_hostile_text_in_any_argument_changes_nothing(front: StatsSite, text: str) -> None:
    before = front.snapshot()
    for name, call in calls(front).items():
        try:
            call(front.runtime, text)
        except HaproxyError as error:
            assert isinstance(error, HaproxyArgumentInvalid | HaproxyRejected), f"{name}: {error!r}"  # noqa: PT017
        _give_up(front)
    assert front.snapshot() == before


@settings(max_examples=150, deadline=None)
@given(key=HOSTILE, value=HOSTILE)
def test_entry_of_a_map_arrives_as_it_was_typed_or_is_refused(front: StatsSite, key: str, value: str) -> None:
    before = _without_map(front)
    entry = MapEntry(key=key, value=value)
    try:
        front.runtime.maps.replace(front.route_map, [MapEntry(key="/fixed", value="fixed"), entry])
        expected = {("/fixed", "fixed"), (key, value)}
    except HaproxyArgumentInvalid:
        expected = None
    shown = {(each.key, each.value) for each in front.runtime.maps.show(front.route_map)}
    assert _without_map(front) == before
    assert expected is None or shown == expected


@settings(max_examples=100, deadline=None)
@given(text=HOSTILE)
def test_pattern_of_an_acl_and_filter_of_a_crt_list_are_plain_or_refused(front: StatsSite, text: str) -> None:
    crt_list, certificate = front.file(LIST), front.file("a.example.pem")
    before = front.snapshot()
    attempts: tuple[Callable[[], object], ...] = (
        lambda: front.runtime.acls.add(front.acl, [text]),
        lambda: front.runtime.crt_lists.add(crt_list, certificate, filters=(text, "a b;")),
        lambda: front.runtime.crt_lists.add(crt_list, certificate, options=(text, "a;b")),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyError) as refused:
            attempt()
        assert isinstance(refused.value, HaproxyArgumentInvalid | HaproxyRejected)
    assert front.snapshot() == before


@pytest.mark.parametrize("text", HUGE, ids=["words", "separators", "lines", "wide"])
def test_ten_megabytes_are_refused_everywhere_before_a_byte_is_sent(front: StatsSite, text: str) -> None:
    with answering_socket() as nobody:
        for call in calls(front).values():
            with pytest.raises(HaproxyArgumentInvalid):
                call(RuntimeSocket(nobody.path), text)
        assert nobody.received == []


@pytest.mark.parametrize("number", [True, 1.5, "1", "1;2", -1, 2**70])
def test_number_that_is_none_or_out_of_range_is_refused(front: StatsSite, number: int) -> None:
    before = front.snapshot()
    runtime, certificate = front.runtime, front.file("a.example.pem")
    attempts: tuple[Callable[[], object], ...] = (
        lambda: runtime.servers.set_weight("main", "l1", weight=number),
        lambda: runtime.servers.set_address("main", "l2", address="127.0.0.1", port=number),
        lambda: runtime.servers.add("main", "l9", ServerOptions(address="h:1", rise=number)),
        lambda: runtime.maps.commit_version(front.route_map, number),
        lambda: runtime.maps.clear(front.route_map, version=number),
        lambda: runtime.crt_lists.delete(front.file(LIST), certificate, line=number),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyArgumentInvalid):
            attempt()
    assert front.snapshot() == before


def test_commands_in_a_chain_of_certificates_are_no_commands(front: StatsSite) -> None:
    issued = issue_for_host("a.example", issuer=front.authority)
    before = front.snapshot()
    text = pem_of(issued).replace(
        "-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----\n\n" + "\n\n".join(COMMANDS) + "\n\n"
    )
    front.runtime.certificates.replace(front.file("a.example.pem"), text)
    assert front.snapshot() == before


def _give_up(site: StatsSite) -> None:
    """End a transaction that good material (the PEM of some calls) may have begun."""
    for files in (site.runtime.certificates, site.runtime.authorities, site.runtime.revocation_lists):
        pending = files.pending()
        if pending is not None:
            files.abort_change(pending)


def _without_map(site: StatsSite) -> tuple[object, ...]:
    """A snapshot without the map that is being filled and the numbers of its versions."""
    servers, _patterns, _map, *others = site.snapshot()
    return (servers, site.runtime.acls.files(), *others)
