"""Maps and ACLs against a real HAProxy: exchanged at once, and what a payload really carries."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

import pytest

from lb.errors import HaproxyArgumentInvalid, HaproxyRejected, HaproxyTooLarge
from lb.haproxy_stats import MapEntry
from lb.stats.channel import Channel
from tests.integration.lb.stats_site import StatsSite, entries, running_site

SURVIVE = (
    ("/semicolon", "1;set server main/l1 weight 77"),
    ("/a;set", "x"),
    ("/backslash\\", "a\\b \\; \\"),
    ("#hash", "#1 # x"),
    ('"quoted"', "'a' \"b c\""),
    ("/blanks", "one two   three"),
    ("/umlaut-ü", "ä ß 中"),
    ("$HOME", "%[env(HOME)] ${HOME}"),
    ("<<", "<<"),
    ("@1", "-f -- --"),
    ("-f", "x"),
    ("/twice", "1"),
)
"""Keys and values that arrive as they were sent."""

REFUSED_KEYS = (
    "",
    " ",
    "a b",
    " a",
    "a ",
    "a\nb",
    "a\r",
    "a\tb",
    "a\0b",
    "\x7f",
    "a\x85",
    "\u2028",
    "\ud800",
    "x" * 4097,
)
REFUSED_VALUES = (
    "",
    " ",
    " a",
    "a ",
    "a\nb",
    "a\r",
    "a\tb",
    "a\0b",
    "\x1b[31m",
    "\u2029",
    "\udfff",
    "x" * 4097,
)


def test_map_is_exchanged_at_once_and_keeps_what_people_type(site: StatsSite) -> None:
    maps = site.runtime.maps
    wanted = entries(*SURVIVE)
    maps.replace(site.route_map, wanted)
    assert sorted(maps.show(site.route_map), key=_key) == sorted(wanted, key=_key)
    servers = {(each.backend, each.name): each.user_weight for each in site.runtime.show_servers_state()}
    assert set(servers.values()) == {1}


@pytest.mark.parametrize("key", REFUSED_KEYS)
def test_key_that_would_not_survive_is_refused_and_nothing_is_prepared(site: StatsSite, key: str) -> None:
    before = site.snapshot()
    with pytest.raises(HaproxyArgumentInvalid) as refused:
        site.runtime.maps.replace(site.route_map, entries(("/good", "1"), (key, "1")))
    assert (refused.value.field, refused.value.code) == ("key", "haproxy_argument_invalid")
    assert site.snapshot() == before


@pytest.mark.parametrize("value", REFUSED_VALUES)
def test_value_that_would_not_survive_is_refused_and_nothing_is_prepared(site: StatsSite, value: str) -> None:
    before = site.snapshot()
    with pytest.raises(HaproxyArgumentInvalid) as refused:
        site.runtime.maps.replace(site.route_map, entries(("/good", "1"), ("/k", value)))
    assert refused.value.field == "value"
    assert site.snapshot() == before


def test_what_haproxy_makes_of_lines_that_are_refused_here(site: StatsSite) -> None:
    """The reasons for the refusals: each of these lines becomes something else, and HAProxy says nothing."""
    channel = Channel(path=site.served.runtime_path)
    file = site.route_map
    version = site.runtime.maps.prepare(file)
    words = ("add", "map", f"@{version}", file)
    assert channel.ask_with("  /first-blanks x\n/tab\tv\n/no-value\n/next 1\n", *words) == "\n"
    shown = site.runtime.maps.show
    kept = channel.ask("show", "map", f"@{version}", file)
    assert " /first-blanks x" in kept
    assert "/tab v" in kept
    assert "/no-value\n/next 1" in kept.replace(" \n", "\n"), (
        "a key without value takes the next line for its value"
    )
    assert shown(file) == (MapEntry(key="/fixed", value="fixed"),)


def test_a_second_command_after_a_blank_line_would_run_so_no_payload_has_one(site: StatsSite) -> None:
    channel = Channel(path=site.served.runtime_path)
    before = site.snapshot()
    for payload in (
        "/a 1\n\nset server main/l1 weight 9\n",
        "\n",
        "/a 1\n   \n/b 2\n",
        "/a 1",
        "/a 1\r\n/b 2\n",
        "",
    ):
        with pytest.raises(HaproxyArgumentInvalid):
            channel.ask_with(payload, "add", "map", site.route_map)
    assert site.snapshot() == before


def test_prepared_version_is_seen_by_nobody_until_it_is_committed(site: StatsSite) -> None:
    maps = site.runtime.maps
    version = maps.prepare(site.route_map)
    maps.add(site.route_map, entries(("/new", "main")), version=version)
    assert maps.show(site.route_map) == (MapEntry(key="/fixed", value="fixed"),)
    assert maps.show(site.route_map, version=version) == (MapEntry(key="/new", value="main"),)
    maps.commit_version(site.route_map, version)
    assert maps.show(site.route_map) == (MapEntry(key="/new", value="main"),)
    (file,) = [each for each in maps.files() if each.file == site.route_map]
    assert (file.current_version, file.next_version) == (version, version)


def test_versions_that_were_not_prepared_are_refused(site: StatsSite) -> None:
    maps, acls = site.runtime.maps, site.runtime.acls
    attempts: tuple[Callable[[], object], ...] = (
        lambda: maps.add(site.route_map, entries(("/a", "1")), version=40),
        lambda: maps.commit_version(site.route_map, 40),
        lambda: acls.add(site.acl, ["10.0.0.0/8"], version=40),
        lambda: acls.commit_version(site.acl, 40),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected):
            attempt()
    assert maps.show(site.route_map) == (MapEntry(key="/fixed", value="fixed"),)


def test_older_version_is_not_committed_over_a_newer_one(site: StatsSite) -> None:
    maps = site.runtime.maps
    older, newer = maps.prepare(site.route_map), maps.prepare(site.route_map)
    maps.commit_version(site.route_map, newer)
    with pytest.raises(HaproxyRejected):
        maps.commit_version(site.route_map, older)


def test_single_entries_are_added_changed_looked_up_and_removed(site: StatsSite) -> None:
    maps = site.runtime.maps
    maps.add(site.route_map, entries(("/erp/", "main")))
    assert (maps.get(site.route_map, "/erp/x"), maps.get(site.route_map, "/none")) == ("main", None)
    maps.set(site.route_map, "/erp/", value="fixed")
    assert maps.get(site.route_map, "/erp/x") == "fixed"
    maps.delete(site.route_map, "/erp/")
    assert maps.get(site.route_map, "/erp/x") is None
    attempts: tuple[Callable[[], object], ...] = (
        lambda: maps.set(site.route_map, "/erp/", value="fixed"),
        lambda: maps.delete(site.route_map, "/erp/"),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected):
            attempt()
    maps.clear(site.route_map)
    assert maps.show(site.route_map) == ()


def test_value_with_quotes_is_read_back_from_a_lookup(site: StatsSite) -> None:
    site.runtime.maps.replace(site.route_map, entries(("/q", 'a", type="str')))
    assert site.runtime.maps.get(site.route_map, "/q") == 'a", type="str'


def test_map_larger_than_the_buffer_goes_in_batches(site: StatsSite) -> None:
    wanted = entries(*((f"/{number:06}", f"value-{number:06}-ü") for number in range(5000)))
    site.runtime.maps.replace(site.route_map, wanted)
    assert sorted(site.runtime.maps.show(site.route_map), key=_key) == wanted
    site.runtime.maps.replace(site.route_map, [])
    assert site.runtime.maps.show(site.route_map) == ()


def test_entry_that_no_batch_holds_is_refused_and_the_old_ones_stay() -> None:
    with running_site(buffer_bytes=4096) as site:
        before = site.snapshot()
        with pytest.raises(HaproxyTooLarge) as refused:
            site.runtime.maps.replace(site.route_map, entries(("/a", "1"), ("/big", "x" * 4000)))
        after = site.snapshot()
    assert refused.value.code == "haproxy_too_large"
    # A version was prepared and given up, so the counters have moved.
    assert [part for index, part in enumerate(after) if index != 1] == [
        part for index, part in enumerate(before) if index != 1
    ]


@pytest.mark.parametrize("buffer_bytes", [4096, 16384, 65536])
def test_limit_of_a_message_is_the_buffer_less_one_to_the_byte(buffer_bytes: int) -> None:
    with running_site(buffer_bytes=buffer_bytes) as site:
        limit = site.runtime.message_limit()
        assert limit == buffer_bytes - 1
        channel = Channel(path=site.served.runtime_path)
        words = ("add", "map", site.route_map)
        around = len(f"{' '.join(words)} <<\n/k \n\n")
        exact = limit - around
        assert channel.ask_with(f"/k {'x' * exact}\n", *words) == "\n"
        assert [len(each.value) for each in site.runtime.maps.show(site.route_map) if each.key == "/k"] == [
            exact
        ]
        with pytest.raises(HaproxyTooLarge):
            channel.ask_with(f"/k {'x' * (exact + 1)}\n", *words)


def test_acl_is_exchanged_at_once_and_matches_as_requests_do(site: StatsSite) -> None:
    acls = site.runtime.acls
    acls.replace(site.acl, ["10.0.0.0/8", "2001:db8::/32"])
    assert set(acls.show(site.acl)) == {"10.0.0.0/8", "2001:db8::/32"}
    assert [acls.contains(site.acl, each) for each in ("10.1.2.3", "11.1.2.3", "2001:db8::1")] == [
        True,
        False,
        True,
    ]
    acls.delete(site.acl, "10.0.0.0/8")
    acls.add(site.acl, ["192.0.2.7"])
    assert set(acls.show(site.acl)) == {"2001:db8::/32", "192.0.2.7"}
    with pytest.raises(HaproxyRejected):
        acls.delete(site.acl, "10.0.0.0/8")
    acls.clear(site.acl)
    assert acls.show(site.acl) == ()


def test_acl_with_a_pattern_that_is_none_stays_as_it_was(site: StatsSite) -> None:
    before = site.runtime.acls.show(site.acl)
    with pytest.raises(HaproxyRejected):
        site.runtime.acls.replace(site.acl, ["10.0.0.0/8", "not-a-network"])
    assert site.runtime.acls.show(site.acl) == before
    (file,) = [each for each in site.runtime.acls.files() if each.file == site.acl]
    assert site.runtime.acls.show(site.acl, version=file.next_version) == (), "what was given up is cleared"


def test_files_that_are_not_there_are_refused(site: StatsSite) -> None:
    maps, acls = site.runtime.maps, site.runtime.acls
    attempts: tuple[Callable[[], object], ...] = (
        lambda: maps.show("/nowhere.map"),
        lambda: maps.get("/nowhere.map", "/a"),
        lambda: maps.prepare("/nowhere.map"),
        lambda: maps.add("/nowhere.map", entries(("/a", "1"))),
        lambda: maps.set("/nowhere.map", "/a", value="1"),
        lambda: maps.clear("/nowhere.map"),
        lambda: maps.replace("/nowhere.map", []),
        lambda: acls.show("/nowhere.acl"),
        lambda: acls.contains("/nowhere.acl", "a"),
        lambda: acls.add("/nowhere.acl", ["a"]),
    )
    for attempt in attempts:
        with pytest.raises(HaproxyRejected):
            attempt()


def test_request_goes_by_the_map_in_force(site: StatsSite) -> None:
    assert _status(site, "/secret") != 403
    site.runtime.maps.replace(site.file("deny.map"), entries(("/secret", "1")))
    assert _status(site, "/secret") == 403
    site.runtime.maps.replace(site.file("deny.map"), [])
    assert _status(site, "/secret") != 403


def _key(entry: MapEntry) -> str:
    return entry.key


def _status(site: StatsSite, path: str) -> int:
    connection = http.client.HTTPConnection("front")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(site.file("front.sock"))
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
