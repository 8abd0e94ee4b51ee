"""Answers of HAProxy, read into rows. Pure.

Columns are found by their names, never by their places. What is not understood is a `ValueError` (or one of the errors
that `understood` names), whatever an answer holds.

**Source:** management manual of HAProxy 2.6 §§9.1, 9.3, 9.4; tried with 2.6.12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from operator import itemgetter
from typing import Final, TypeVar

from lb.errors import HaproxyProtocolError
from lb.stats.row import (
    AdminState,
    Info,
    MapEntry,
    OperationalState,
    PatternFile,
    Process,
    Processes,
    ServerConn,
    ServerState,
    TableEntry,
    TableHead,
)

T = TypeVar("T")
Fields = Mapping[str, str]

_MAX_LENGTH: Final = 20
"""Characters of a number: HAProxy counts in 64 bits."""
_UPTIME = re.compile(r"([0-9]{1,6})d([0-9]{2})h([0-9]{2})m([0-9]{2})s", re.ASCII)
_PATTERN_FILE = re.compile(
    r"(?P<id>[0-9]+) \((?P<file>[^)]*)\) .*"
    r" curr_ver=(?P<current>[0-9]+) next_ver=(?P<next>[0-9]+) entry_cnt=-?[0-9]+",
    re.ASCII,
)
_TABLE = re.compile(
    r"# table: (?P<name>\S+), type: (?P<type>\S+), size:(?P<size>[0-9]+), used:(?P<used>[0-9]+)", re.ASCII
)
_TABLE_ENTRY = re.compile(
    r"0x[0-9a-f]+: key=(?P<key>.*?) use=(?P<use>[0-9]+) exp=(?P<exp>-?[0-9]+)(?P<data>(?: .*)?)", re.ASCII
)
_MASTER = re.compile(
    r"(?P<pid>[0-9]+) +master +(?P<reloads>[0-9]+) \[failed: (?P<failed>[0-9]+)\] +(?P<rest>.+)"
)
_WORKER = re.compile(r"(?P<pid>[0-9]+) +worker +(?P<reloads>[0-9]+) +(?P<rest>.+)")
_GOT = re.compile(r"type=\S+, case=\S+, (?P<word>match|found)=(?P<yes>yes|no)(?:, idx=\S+)?(?P<rest>.*)")
_BLANK = re.compile(r"(?<!\\) ")
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_CONTROLS: Final = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"e": b"\x1b"}
_POINTER = re.compile(r"0x[0-9a-f]+ ")


def understood(name: str, answer: str, read: Callable[[], T]) -> T:
    """Read an answer, or say that it is none.

    Raises:
        HaproxyProtocolError: a field is missing, or is not what it should be.
    """
    try:
        return read()
    except (ValueError, KeyError, IndexError, OverflowError):
        raise HaproxyProtocolError(name, answer) from None


def integer(text: str) -> int:
    """A whole number; Python would take more than what HAProxy writes.

    Raises:
        ValueError: it is none.
    """
    if len(text) > _MAX_LENGTH or "_" in text:
        raise ValueError(text)
    return int(text)


def seconds(text: str) -> timedelta:
    """A time in whole seconds."""
    return timedelta(seconds=integer(text))


def typed_fields(lines: Iterable[str]) -> dict[str, str]:
    """`show info typed`: `<position>.<name>.<process>:<tags>:<type>:<value>`."""
    fields: dict[str, str] = {}
    for line in lines:
        head, _tags, _kind, value = line.split(":", 3)
        _position, name, _process = head.split(".")
        fields[name] = value
    return fields


def read_info(lines: list[str]) -> Info:
    """`show info typed`."""
    fields = typed_fields(lines)
    number = {name: integer(fields[name]) for name in _INFO_NUMBERS.values()}
    return Info(
        version=fields["Version"],
        description=fields.get("description", ""),
        uptime=seconds(fields["Uptime_sec"]),
        stopping=fields["Stopping"] != "0",
        **{attribute: number[name] for attribute, name in _INFO_NUMBERS.items()},
    )


_INFO_NUMBERS: Final[Mapping[str, str]] = {
    "pid": "Pid",
    "threads": "Nbthread",
    "connections": "CurrConns",
    "max_connections": "Maxconn",
    "connections_total": "CumConns",
    "requests_total": "CumReq",
    "ssl_connections": "CurrSslConns",
    "tasks": "Tasks",
    "run_queue": "Run_queue",
    "idle_percent": "Idle_pct",
    "jobs": "Jobs",
    "listeners": "Listeners",
    "active_peers": "ActivePeers",
    "connected_peers": "ConnectedPeers",
    "pool_bytes": "PoolAlloc_bytes",
    "pool_failures": "PoolFailed",
    "dropped_logs": "DroppedLogs",
}


def read_servers_state(lines: list[str]) -> tuple[ServerState, ...]:
    """`show servers state`: the version of the format, the names of the columns, a line per server."""
    if not lines or lines[0] != "1":
        raise ValueError("format of another version")
    names = lines[1].removeprefix("# ").split(" ")
    pick = itemgetter(*(names.index(name) for name in _STATE_COLUMNS))
    rows = [line.split(" ") for line in lines[2:] if not line.startswith("#")]
    if any(len(row) != len(names) for row in rows):
        raise ValueError("a row has other columns")
    return tuple(_server_state(*pick(row)) for row in rows)


_STATE_COLUMNS: Final = (
    *("be_name", "srv_name", "srv_id", "srv_op_state", "srv_admin_state", "srv_uweight", "srv_iweight"),
    *("srv_time_since_last_change", "srv_addr", "srv_fqdn", "srv_port", "srv_use_ssl"),
)


def _server_state(*values: str) -> ServerState:
    """A row, in the order of `_STATE_COLUMNS`."""
    backend, name, number, operational, admin, user, initial, since, address, host, port, tls = values
    return ServerState(
        backend=backend,
        name=name,
        server_id=integer(number),
        operational=_OPERATIONAL[operational],
        admin=_ADMIN[admin],
        user_weight=integer(user),
        initial_weight=integer(initial),
        last_change=seconds(since),
        address=_known(address),
        host_name=_known(host),
        port=integer(port) or None,
        uses_tls=tls == "1",
    )


_OPERATIONAL: Final = {str(state.value): state for state in OperationalState}
_ADMIN: Final = {str(mask): AdminState(mask) for mask in range(sum(AdminState) + 1)}
"""Every combination, so that reading one is a look-up."""


def _known(text: str) -> str | None:
    return None if text == "-" else text


def read_servers_conn(lines: list[str]) -> tuple[ServerConn, ...]:
    """`show servers conn`: the last column stands for one value per thread."""
    names = lines[0].removeprefix("# ").split(" ")
    fixed = [name for name in names if not name.startswith("idle_per_thr")]
    return tuple(_server_conn(dict(zip(fixed, line.split(" "), strict=False))) for line in lines[1:])


def _server_conn(row: Fields) -> ServerConn:
    backend, slash, name = row["bkname/svname"].partition("/")
    if not slash:
        raise ValueError("no server")
    limit = integer(row["idle_lim"])
    return ServerConn(
        backend=backend,
        name=name,
        used=integer(row["used_cur"]),
        used_max=integer(row["used_max"]),
        idle=integer(row["idle_cur"]),
        idle_limit=None if limit < 0 else limit,
    )


def read_tables(lines: list[str]) -> tuple[TableHead, ...]:
    """`show table`."""
    return tuple(_table_head(line) for line in lines)


def _table_head(line: str) -> TableHead:
    found = _matched(_TABLE, line)
    return TableHead(
        name=found["name"], key_type=found["type"], size=integer(found["size"]), used=integer(found["used"])
    )


def read_table(lines: list[str]) -> tuple[TableEntry, ...]:
    """`show table <name>`: the head, then `0x…: key=… use=… exp=… name=value …`."""
    _table_head(lines[0])
    return tuple(_table_entry(line) for line in lines[1:])


def _table_entry(line: str) -> TableEntry:
    found = _matched(_TABLE_ENTRY, line)
    left = integer(found["exp"])
    data = dict(_pair(word) for word in _BLANK.split(found["data"]) if word)
    return TableEntry(
        key=_unescaped(found["key"]),
        uses=integer(found["use"]),
        expires=timedelta(milliseconds=left) if left > 0 else None,
        data=data,
    )


def _pair(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(word)
    return name, _unescaped(value)


def _unescaped(text: str) -> str:
    """A key as it came in a request; HAProxy writes blanks, backslashes and what is not printable with backslashes."""
    parts = _ESCAPE.split(text.encode("utf-8", "backslashreplace"))
    raw = b"".join(part if index % 2 == 0 else _escaped(part) for index, part in enumerate(parts))
    return raw.decode(errors="backslashreplace")


def _escaped(code: bytes) -> bytes:
    return bytes.fromhex(code[1:].decode()) if len(code) == 3 else _CONTROLS.get(code, code)


def read_pattern_files(lines: list[str]) -> tuple[PatternFile, ...]:
    """`show map`, `show acl`."""
    if not lines or not lines[0].startswith("# id (file) description"):
        raise ValueError("no head")
    return tuple(_pattern_file(line) for line in lines[1:])


def _pattern_file(line: str) -> PatternFile:
    found = _matched(_PATTERN_FILE, line)
    return PatternFile(
        pattern_id=integer(found["id"]),
        file=found["file"] or None,
        current_version=integer(found["current"]),
        next_version=integer(found["next"]),
    )


def read_map(lines: list[str]) -> tuple[MapEntry, ...]:
    """`show map <file>`: a pointer, the key, the value, each after one blank."""
    return tuple(_map_entry(text) for text in read_patterns(lines))


def _map_entry(text: str) -> MapEntry:
    key, _, value = text.partition(" ")
    return MapEntry(key=key, value=value)


def read_patterns(lines: list[str]) -> tuple[str, ...]:
    """`show acl <file>`: a pointer and the pattern."""
    return tuple(line[_matched_start(_POINTER, line) :] for line in lines)


def read_got(line: str) -> str | None:
    """`get map`, `get acl`: what was found is told after `match=yes` or `found=yes`; None: nothing was."""
    found = _matched(_GOT, line)
    return found["rest"] if found["yes"] == "yes" else None


def read_value(rest: str) -> str:
    """The value in what `get map` has found."""
    _, marker, quoted = rest.partition(', value="')
    value, end, _ = quoted.rpartition('", type="')
    if not marker or not end:
        raise ValueError(rest)
    return value


def read_new_version(line: str) -> int:
    """`prepare map`, `prepare acl`."""
    head, _, number = line.rpartition(": ")
    if head != "New version created":
        raise ValueError(line)
    return integer(number)


def read_processes(lines: list[str]) -> Processes:
    """`show proc` of the master: the master, then workers and old workers under headings of their own."""
    found = _matched(_MASTER, lines[1])
    workers: dict[str, list[Process]] = {"# workers": [], "# old workers": [], "# programs": []}
    heading = "# workers"
    for line in lines[2:]:
        if line.startswith("#"):
            heading = line
        elif heading != "# programs":
            workers[heading].append(_process(_matched(_WORKER, line)))
    return Processes(
        master=_process(found),
        workers=tuple(workers["# workers"]),
        old_workers=tuple(workers["# old workers"]),
        failed_reloads=integer(found["failed"]),
    )


def _process(found: re.Match[str]) -> Process:
    uptime, version = found["rest"].split()
    return Process(
        pid=integer(found["pid"]), reloads=integer(found["reloads"]), uptime=_uptime(uptime), version=version
    )


def _uptime(text: str) -> timedelta:
    days, hours, minutes, rest = _matched(_UPTIME, text).groups()
    return timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=int(rest))


def _matched(pattern: re.Pattern[str], line: str) -> re.Match[str]:
    found = pattern.fullmatch(line)
    if found is None:
        raise ValueError(line)
    return found


def _matched_start(pattern: re.Pattern[str], line: str) -> int:
    found = pattern.match(line)
    if found is None:
        raise ValueError(line)
    return found.end()
