"""How every part of a cluster is, asked of the parts themselves: it tells the truth while control is away, too."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from app.cluster.part import listener_of
from app.cluster.place import ClusterPlace
from app.cluster.sign import box_processes, gateway_sign
from app.cluster.supervisor import CONTROL, DATABASE, GATEWAY, PartSeen
from app.core.errors import DomainError
from app.core.net import ApiSession, NetError
from app.front_part import front_settings
from app.settings import Settings
from fsb_gateway.carrier.socket_path import short_path
from lb.errors import HaproxyError
from lb.front.settings import FrontSettings
from lb.haproxy_stats import OperationalState, RuntimeSocket
from tenancy.line_call import LineCaller
from tenancy.line_file import LINE_FILE, LINES_DIRECTORY

State = Literal["serving", "not serving", "absent"]
_ASK_SECONDS: Final = 2.0
_UP: Final = frozenset({OperationalState.STARTING, OperationalState.RUNNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """How a part is.

    Attributes:
        part: `database`, `gateway`, `box …`, `control`, `line …`, a load balancer's name, `supervisor`.
        restarts: since the supervisor started; None: nobody counts them.
        work: what it does at the moment, for people.
    """

    part: str
    state: State
    process_id: int | None = None
    restarts: int | None = None
    address: str | None = None
    work: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether it is as it should be."""
        return self.state == "serving"


class _Box(msgspec.Struct):
    name: str
    condition: str
    jobs_done: int


class _Boxes(msgspec.Struct):
    boxes: list[_Box]


def cluster_status(place: ClusterPlace) -> list[PartState]:
    """All parts, in the order in which they are started. Blocking; some seconds at most for each that hangs."""
    settings = place.settings
    supervisor = listener_of(place.supervisor_socket)
    counted = ask_supervisor(place, "status") or {}
    return [
        PartState(part="supervisor", state=_state(supervisor), process_id=supervisor),
        _database(place, counted),
        *_gateway(place, counted),
        _control(settings, counted),
        *_lines(settings),
        *(_front(each, counted) for each in front_settings(settings)),
    ]


def ask_supervisor(place: ClusterPlace, word: Literal["status", "down"]) -> Mapping[str, PartSeen] | None:
    """Ask it how its parts are, or tell it to end everything; None: there is none. Blocking."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ASK_SECONDS)
            connection.connect(short_path(place.supervisor_socket))
            connection.sendall(word.encode() + b"\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    except OSError:
        return None
    try:
        return msgspec.json.decode(answer, type=dict[str, PartSeen])
    except msgspec.MsgspecError:
        return {}


def _state(process_id: int | None) -> State:
    return "absent" if process_id is None else "serving"


def _restarts(counted: Mapping[str, PartSeen], part: str) -> int | None:
    seen = counted.get(part)
    return None if seen is None else seen.restarts


def _database(place: ClusterPlace, counted: Mapping[str, PartSeen]) -> PartState:
    process_id = listener_of(place.database_socket)
    address = f"127.0.0.1:{place.memory.database_port}"
    return PartState(
        part=DATABASE,
        state=_state(process_id),
        process_id=process_id,
        restarts=_restarts(counted, DATABASE),
        address=address,
    )


def _gateway(place: ClusterPlace, counted: Mapping[str, PartSeen]) -> Iterator[PartState]:
    path = gateway_sign(place).socket
    process_id = listener_of(path)
    boxes = [] if process_id is None else _ask_boxes(path)
    state = "not serving" if boxes is None else _state(process_id)
    yield PartState(part=GATEWAY, state=state, process_id=process_id, restarts=_restarts(counted, GATEWAY))
    reported = {each.name: each for each in boxes or ()}
    # Boxes that nobody reports are those that the next gateway begins with.
    made = {path.stem for path in (place.settings.box_dir / "box").glob("*.json")}
    processes = box_processes(place)
    for name in sorted(made | reported.keys()):
        yield _box(name, reported.get(name), processes.get(name))


def _box(name: str, reported: _Box | None, process_id: int | None) -> PartState:
    if reported is None:
        state: State = "absent" if process_id is None else "not serving"
        work = "" if process_id is None else "no gateway gives it jobs"
    else:
        state = "serving" if reported.condition == "ready" else "not serving"
        work = f"{reported.condition}, {reported.jobs_done} jobs done"
    return PartState(part=f"box {name}", state=state, process_id=process_id, work=work)


def _ask_boxes(path: Path) -> list[_Box] | None:
    try:
        with ApiSession("http://gateway", socket=path, timeout_seconds=_ASK_SECONDS) as api:
            return msgspec.convert(api.get("/v1/boxes").object(), _Boxes).boxes
    except (NetError, msgspec.ValidationError):
        return None


def _control(settings: Settings, counted: Mapping[str, PartSeen]) -> PartState:
    process_id = listener_of(settings.control_socket)
    state, work = _state(process_id), ""
    if process_id is not None:
        try:
            with ApiSession(
                "http://control", socket=settings.control_socket, timeout_seconds=_ASK_SECONDS
            ) as api:
                api.get("/readyz")
        except NetError as error:
            state, work = "not serving", error.message
    return PartState(
        part=CONTROL,
        state=state,
        process_id=process_id,
        restarts=_restarts(counted, CONTROL),
        address=f"http://{settings.host}:{settings.port}",
        work=work,
    )


def _lines(settings: Settings) -> Iterator[PartState]:
    for path in sorted((settings.data_dir / LINES_DIRECTORY).glob(f"*/{LINE_FILE}")):
        part = f"line {path.parent.name}"
        try:
            status = LineCaller(path.parent).status()
        except DomainError:
            yield PartState(part=part, state="absent")
            continue
        work = f"{status.state}, {status.running} running, {status.open_instances} of {status.instances} open"
        is_ready = status.state == "ready" and status.problem is None
        yield PartState(
            part=part,
            state="serving" if is_ready else "not serving",
            process_id=status.process_id,
            work=work if status.problem is None else f"{work}: {status.problem}",
        )


def _front(settings: FrontSettings, counted: Mapping[str, PartSeen]) -> PartState:
    runtime = RuntimeSocket(settings.runtime_socket)
    address = ", ".join(f"https://{each.address}" for each in settings.binds if each.kind == "tls")
    try:
        info, servers = runtime.show_info(), runtime.show_servers_state()
    except HaproxyError as error:
        master = listener_of(settings.master_socket)
        return PartState(
            part=settings.name,
            state="absent" if master is None else "not serving",
            process_id=master,
            restarts=_restarts(counted, settings.name),
            address=address,
            work="" if master is None else error.message,
        )
    # Groups have the same servers once more, and those that are out of service are down as they should be.
    wanted = [each for each in servers if "_g" not in each.backend and not each.admin.is_maint]
    up = sum(each.operational in _UP for each in wanted)
    return PartState(
        part=settings.name,
        # Before control has told it, it has nobody whom it could send a request to.
        state="serving" if wanted and up == len(wanted) else "not serving",
        process_id=info.pid,
        restarts=_restarts(counted, settings.name),
        address=address,
        work=f"{up} of {len(wanted)} servers up",
    )
