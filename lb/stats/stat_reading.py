"""`show stat typed`, read into rows: some hundred lines per server, so this is made to be fast. Pure.

**Source:** management manual of HAProxy 2.6 §9.1 (meaning of the fields), §9.3 (typed output).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from lb.stats.reading import integer, seconds
from lb.stats.row import BackendStat, FrontendStat, ServerStat, ServerStatus, Stat, Traffic

Fields = Mapping[str, str]

_STATUS: Final[Mapping[str, ServerStatus]] = {status.value: status for status in ServerStatus}
_NO_LIMIT: Final = 0
_READ_NAMES = (
    "pxname svname status weight uweight act bck qcur qmax scur smax slim stot rate bin bout dreq dresp ereq econ eresp"
    " wretr wredis cli_abrt srv_abrt req_tot hrsp_1xx hrsp_2xx hrsp_3xx hrsp_4xx hrsp_5xx hrsp_other check_status"
    " check_code check_duration last_chk chkfail chkdown lastchg lastsess downtime tracked addr"
)
_READ: Final = frozenset(_READ_NAMES.split())


def read_stat(lines: list[str]) -> Stat:
    """All objects of an answer.

    A line is `<type>.<proxy>.<number>.<position>.<name>.<process>:<tags>:<type>:<value>`.
    """
    objects = list(_objects(lines))
    return Stat(
        frontends=tuple(_frontend(fields) for kind, fields in objects if kind == "F"),
        backends=tuple(_backend(fields) for kind, fields in objects if kind == "B"),
        servers=tuple(_server(fields) for kind, fields in objects if kind == "S"),
    )


def _objects(lines: Iterable[str]) -> Iterator[tuple[str, Fields]]:
    """The fields of each object that are read here, by name.

    The lines of an object follow each other. What comes after its number is taken apart once for all objects: the same
    hundred endings come again for each.
    """
    wanted: dict[str, str] = {}
    start = "\n"
    fields: dict[str, str] = {}
    for line in lines:
        head, _, rest = line.partition(":")
        if not head.startswith(start):
            if fields:
                yield start[0], fields
            start, fields = _start_of(head), {}
        ending = head[len(start) :]
        name = wanted.get(ending)
        if name is None:
            name = wanted[ending] = _name_of(ending)
        if name:
            _tags, _kind, fields[name] = rest.split(":", 2)
    if fields:
        yield start[0], fields


def _start_of(head: str) -> str:
    """`S.3.1.` of `S.3.1.17.status.1`."""
    kind, proxy, number, _ = head.split(".", 3)
    return f"{kind}.{proxy}.{number}."


def _name_of(ending: str) -> str:
    """`status` of `17.status.1`; nothing for a field that is not read."""
    _position, name, _process = ending.split(".")
    return name if name in _READ else ""


def _frontend(fields: Fields) -> FrontendStat:
    return FrontendStat(name=fields["pxname"], status=_status(fields["status"]), traffic=_traffic(fields))


def _backend(fields: Fields) -> BackendStat:
    return BackendStat(
        name=fields["pxname"],
        status=_status(fields["status"]),
        weight=integer(fields["weight"]),
        active=integer(fields["act"]),
        backup=integer(fields["bck"]),
        queue=integer(fields["qcur"]),
        queue_max=integer(fields["qmax"]),
        last_change=seconds(fields["lastchg"]),
        downtime=_downtime(fields),
        traffic=_traffic(fields),
    )


def _server(fields: Fields) -> ServerStat:
    last = integer(fields["lastsess"])
    weight = integer(fields["weight"])
    return ServerStat(
        backend=fields["pxname"],
        name=fields["svname"],
        status=_status(fields["status"]),
        status_text=fields["status"],
        weight=weight,
        user_weight=_number(fields, "uweight", weight),
        is_backup=fields["bck"] != "0",
        queue=integer(fields["qcur"]),
        queue_max=integer(fields["qmax"]),
        check_status=_check_status(fields),
        check_code=_optional(fields, "check_code"),
        check_text=fields.get("last_chk") or None,
        check_duration=_check_duration(fields),
        check_failures=_number(fields, "chkfail", 0),
        times_down=_number(fields, "chkdown", 0),
        last_change=seconds(fields["lastchg"]),
        last_session=None if last < 0 else timedelta(seconds=last),
        downtime=_downtime(fields),
        tracks=fields.get("tracked") or None,
        address=_address(fields),
        traffic=_traffic(fields),
    )


def _traffic(fields: Fields) -> Traffic:
    return Traffic(
        sessions=integer(fields["scur"]),
        sessions_max=integer(fields["smax"]),
        session_limit=_number(fields, "slim", _NO_LIMIT) or None,
        sessions_total=integer(fields["stot"]),
        session_rate=_number(fields, "rate", 0),
        bytes_in=integer(fields["bin"]),
        bytes_out=integer(fields["bout"]),
        requests_denied=_optional(fields, "dreq"),
        responses_denied=_optional(fields, "dresp"),
        request_errors=_optional(fields, "ereq"),
        connection_errors=_optional(fields, "econ"),
        response_errors=_optional(fields, "eresp"),
        retries=_optional(fields, "wretr"),
        redispatches=_optional(fields, "wredis"),
        client_aborts=_optional(fields, "cli_abrt"),
        server_aborts=_optional(fields, "srv_abrt"),
        requests_total=_optional(fields, "req_tot"),
        responses={digit: _number(fields, f"hrsp_{digit}xx", 0) for digit in range(1, 6)},
        responses_other=_number(fields, "hrsp_other", 0),
    )


def _status(text: str) -> ServerStatus:
    """`UP 1/3`, `MAINT (via be/l1)`: the first word says it, and `no check` has two."""
    if text == ServerStatus.NO_CHECK.value:
        return ServerStatus.NO_CHECK
    return _STATUS[text.partition(" ")[0]]


def _check_status(fields: Fields) -> str | None:
    """Without the star of a check that runs right now (`* L7OK`)."""
    return fields.get("check_status", "").removeprefix("* ") or None


def _check_duration(fields: Fields) -> timedelta | None:
    milliseconds = _optional(fields, "check_duration")
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)


def _downtime(fields: Fields) -> timedelta:
    return timedelta(seconds=_number(fields, "downtime", 0))


def _address(fields: Fields) -> str | None:
    address = fields.get("addr")
    return None if address in {None, "", "unix"} else address


def _optional(fields: Fields, name: str) -> int | None:
    text = fields.get(name)
    return None if text is None else integer(text)


def _number(fields: Fields, name: str, otherwise: int) -> int:
    text = fields.get(name)
    return otherwise if text is None else integer(text)
