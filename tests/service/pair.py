"""Two load balancers with a shared address, each on a machine of its own: HAProxy as the front makes it, keepalived as
the pair makes it, kept by a supervisor. The lines are answers of a second HAProxy beside each, so that a load balancer
that is cut off has no less of them than the other one.

    client ──10.77.0.20──► lb1 or lb2: HAProxy ──► line 1, line 2 (answers say: load balancer, line)
"""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Final

from app.core.clock import SystemClock
from app.core.ids import InstanceId, LineId
from lb.errors import HaproxyError, HaproxyUnavailable
from lb.front.front import Front
from lb.front.settings import FrontBind, FrontPeer, FrontSettings
from lb.front.state import FrontInstance, FrontLine, FrontState, LineSet
from lb.haproxy_stats import MasterSocket, RuntimeSocket
from lb.pair import PairNode, PairPlace, PairSettings, PairTimes, step_aside, step_back
from lb.process import start_command
from lb.rule.rule import Match, Rule, RuleSet, ToLines
from tests.service.binary import require_binary
from tests.service.network import PREFIX, AddressWatch, Machine, Network, network, watched_address
from tests.service.open_loop import Ask, Load, LoadPlan, open_loop
from tests.service.pki import issue_for_server, make_server_authority
from tests.service.wait import wait_until

SHARED: Final = f"{PREFIX}20"
INSTANCE: Final = "acme"
_ID: Final = InstanceId("ins_pair")
_LINES: Final = {1: "127.0.0.1:9001", 2: "127.0.0.1:9002"}
_SETTLES_WITHIN: Final = timedelta(seconds=20)
_PYTHONPATH: Final = Path(__file__).resolve().parents[2]

_LINES_TEXT: Final = """\
defaults
  mode http
  timeout client 1m
  timeout connect 1s
  timeout server 1m
"""
_LINE_TEXT: Final = """\
frontend line{number}
  bind {address}
  http-request return status 200 content-type text/plain hdr x-answered-by "{name} l{number}" string "ready\\n"
"""


@dataclass(kw_only=True)
class Balancer:
    """One of the two, and what runs on it."""

    machine: Machine
    front: FrontSettings
    pair: PairSettings
    haproxy: subprocess.Popen[bytes] | None = None
    lines: subprocess.Popen[bytes] | None = None
    keeper: subprocess.Popen[bytes] | None = None
    _frozen: int = 0

    @property
    def name(self) -> str:
        return self.machine.name

    def start_lines(self) -> None:
        """Have its two lines answer."""
        text = "".join(
            _LINE_TEXT.format(number=number, address=address, name=self.name)
            for number, address in _LINES.items()
        )
        path = self.pair.directory / "lines.cfg"
        path.write_text(_LINES_TEXT + text)
        self.lines = self.machine.start(
            [self.front.haproxy, "-f", str(path)], self.pair.directory / "lines.log"
        )

    def start_haproxy(self) -> None:
        """Start it; returns when it answers on its socket."""
        if self.haproxy is not None:
            self.haproxy.wait(20)
        self.haproxy = self.machine.start(start_command(self.front), self.pair.directory / "haproxy.log")
        wait_until(self.answers, f"HAProxy of {self.name}", deadline=_SETTLES_WITHIN)

    def answers(self) -> bool:
        try:
            return RuntimeSocket(self.front.runtime_socket).show_info().pid > 0
        except HaproxyError:
            return False

    def start_keeper(self) -> None:
        """Start the supervisor, and with it keepalived."""
        command = [*self.machine.within, sys.executable, "-P", "-m", "tests.service.pair_keeper", self.name]
        with (self.pair.directory / "keeper.log").open("ab") as log:
            self.keeper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=_PYTHONPATH
            )
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(pickle.dumps(self.pair))
        self.keeper.stdin.close()

    def stop_keeper(self) -> None:
        """End the supervisor and keepalived in an orderly way."""
        if self.keeper is not None:
            self.keeper.terminate()
            self.keeper.wait(20)
            self.keeper = None

    def worker(self) -> int:
        """HAProxy's worker, asked while it can answer."""
        return RuntimeSocket(self.front.runtime_socket).show_info().pid

    def keepalived(self) -> list[int]:
        """Its processes, the first one first."""
        found = [pid for pid in self.machine.processes() if _name_of(pid) == "keepalived"]
        return sorted(found)

    def sticky(self) -> dict[str, str]:
        """Who sticks to which line, by its own table."""
        entries = RuntimeSocket(self.front.runtime_socket).show_table("sticky")
        return {entry.key: entry.data["server_key"] for entry in entries}

    def kill_worker(self) -> None:
        """kill -9 of the process that serves; the master follows it."""
        os.kill(self.worker(), 9)

    def kill_master(self) -> None:
        """kill -9 of the process that was started; its worker follows it."""
        assert self.haproxy is not None
        self.haproxy.kill()
        self.haproxy.wait(20)

    def freeze(self) -> None:
        """Stop the process that serves where it stands."""
        self._frozen = self.worker()
        os.kill(self._frozen, 19)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._frozen, 18)

    def reload(self) -> None:
        """Have a new worker."""
        MasterSocket(self.front.master_socket).reload()

    def check(self) -> int:
        """Exit status of the program by which keepalived asks HAProxy."""
        return subprocess.run([str(self.pair.check)], check=False, timeout=10).returncode

    def kill_keepalived(self, which: slice = slice(None)) -> None:
        """kill -9 of all its processes, or of some."""
        for pid in self.keepalived()[which]:
            os.kill(pid, 9)

    def step_aside(self) -> None:
        step_aside(self.pair.directory)

    def step_back(self) -> None:
        step_back(self.pair.directory)

    def stop(self) -> None:
        """End everything."""
        self.stop_keeper()
        for process in (self.haproxy, self.lines):
            if process is not None:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait(20)

    def states(self) -> str:
        """What keepalived has become, since it was started last."""
        path = self.pair.directory / "keepalived.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return text[text.rfind("Starting VRRP child process") :]

    def log(self) -> str:
        """What keepalived and its supervisor have said, for a failing test."""
        paths = [self.pair.directory / f"{name}.log" for name in ("keeper", "keepalived", "haproxy")]
        return "\n".join(f"{path}:\n{path.read_text()[-4000:]}" for path in paths if path.exists())


@dataclass(kw_only=True)
class Pair:
    """The whole scene."""

    directory: Path
    net: Network
    client: Machine
    balancers: dict[str, Balancer] = field(default_factory=dict)
    watch: AddressWatch

    @property
    def authority(self) -> str:
        return str(self.directory / "authority.pem")

    def owner(self) -> Balancer:
        """The one that has the shared address, once it is one of them."""
        wait_until(lambda: len(self.watch.owners) == 1, "one owner", deadline=_SETTLES_WITHIN)
        return self.balancers[self.watch.owners[0]]

    def other(self, balancer: Balancer) -> Balancer:
        (found,) = (each for each in self.balancers.values() if each is not balancer)
        return found

    def wait_owner(self, balancer: Balancer) -> None:
        """Wait until it has the address, and nobody else."""
        wait_until(
            lambda: self.watch.owners == [balancer.name],
            f"{balancer.name} to have the address",
            deadline=_SETTLES_WITHIN,
        )

    def wait_spare(self, balancer: Balancer) -> None:
        """Wait until it could take over: keepalived runs there and has seen HAProxy answer."""

        def spare() -> bool:
            states = [line for line in balancer.states().splitlines() if "Entering " in line]
            return bool(states) and "BACKUP" in states[-1]

        wait_until(spare, f"{balancer.name} to be a spare", deadline=_SETTLES_WITHIN)

    def load(self, plan: LoadPlan) -> AbstractContextManager[Load]:
        """Requests of the client's machine."""
        return open_loop(plan, within=self.client.within)

    def plan(self, *, tls: bool = False, **changes: object) -> LoadPlan:
        """Requests for the shared address; without TLS and on fresh connections unless told otherwise."""
        settings: dict[str, object] = {
            "address": f"{SHARED}:{8443 if tls else 8080}",
            "server_name": SHARED if tls else None,
            "rate": 100.0,
            "kinds": ("fresh",),
            "asks": (Ask(path=f"/{INSTANCE}/x"),),
            "attempts": 1,
            # Shorter than the pause before the kernel sends a connection's first packet again: what the client sees
            # is the pair's doing, request by request.
            "timeout_seconds": 0.3,
        }
        return LoadPlan(**{**settings, **changes})  # type: ignore[arg-type]


@contextmanager
def running_pair(*, times: PairTimes | None = None, rules: RuleSet | None = None) -> Iterator[Pair]:
    """Two load balancers that serve, one of which has the shared address; the other is ready to take it."""
    for program in ("haproxy", "keepalived"):
        require_binary(program)
    # keepalived runs no check out of a folder that others than root may write to, as they may to the usual ones.
    directory = Path(tempfile.mkdtemp(prefix="wops-pair-", dir="/run"))
    directory.chmod(0o755)
    try:
        with network() as net:
            yield from _run(directory, net, times or PairTimes(), rules or RuleSet())
    finally:
        shutil.rmtree(directory)


def _run(directory: Path, net: Network, times: PairTimes, rules: RuleSet) -> Iterator[Pair]:
    machines = [net.add("lb1", 21), net.add("lb2", 22)]
    client = net.add("client", 31)
    with watched_address(machines, SHARED) as watch:
        pair = Pair(directory=directory, net=net, client=client, watch=watch)
        state = _state(pair, rules)
        for machine in machines:
            pair.balancers[machine.name] = _balancer(directory, machine, machines, times)
        try:
            for balancer in pair.balancers.values():
                _set_up(balancer, state)
            _settle(pair)
            yield pair
        finally:
            for balancer in pair.balancers.values():
                balancer.stop()


def _settle(pair: Pair) -> None:
    try:
        pair.wait_spare(pair.other(pair.owner()))
    except AssertionError:
        for balancer in pair.balancers.values():
            sys.stderr.write(balancer.log())
        raise


def _set_up(balancer: Balancer, state: FrontState) -> None:
    PairPlace(settings=balancer.pair, name=balancer.name).write()
    front = Front(balancer.front, clock=SystemClock())
    front.prepare()
    # Nobody answers at its socket yet: the files are made all the same.
    with suppress(HaproxyUnavailable):
        front.apply(state)
    balancer.start_lines()
    balancer.start_haproxy()
    balancer.start_keeper()


def _balancer(directory: Path, machine: Machine, machines: Sequence[Machine], times: PairTimes) -> Balancer:
    place = directory / machine.name
    place.mkdir(mode=0o755)
    front = FrontSettings(
        directory=place / "front",
        binds=(FrontBind(address="*:8443"), FrontBind(address="*:8080", kind="plain")),
        health="127.0.0.1:8404",
        name=machine.name,
        peers=tuple(FrontPeer(name=each.name, address=f"{each.address}:10000") for each in machines),
        haproxy=str(require_binary("haproxy")),
        log="none",
    )
    first, second = (
        PairNode(name=each.name, address=ip_address(each.address), interface="eth0") for each in machines
    )
    settings = PairSettings(
        nodes=(first, second),
        addresses=(ip_interface(f"{SHARED}/24"),),
        router_id=51,
        directory=place / "pair",
        runtime_socket=front.runtime_socket,
        user="root",
        python=Path(sys.executable).resolve(),
        ip=require_binary("ip"),
        keepalived=require_binary("keepalived"),
        times=times,
    )
    return Balancer(machine=machine, front=front, pair=settings)


def _state(pair: Pair, rules: RuleSet) -> FrontState:
    authority = make_server_authority()
    issued = issue_for_server(SHARED, issuer=authority)
    Path(pair.authority).write_text(authority.pem)
    lines = tuple(
        FrontLine(line_id=LineId(f"line-{number}"), number=number, address=address)
        for number, address in _LINES.items()
    )
    instance = FrontInstance(instance_id=_ID, name=INSTANCE, line_set="acme", rules=rules)
    return FrontState(
        line_sets={"acme": LineSet(key="acme", lines=lines)},
        instances={_ID: instance},
        default_pem=issued.pem + issued.key_pem,
    )


STICKY: Final = RuleSet(
    rules=(
        Rule(
            name="sticky",
            match=Match(path_prefix="/sticky/"),
            action=ToLines(weights={LineId("line-1"): 100, LineId("line-2"): 100}, sticky=True),
        ),
    )
)
"""Under `/sticky/`, a client keeps its line."""


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
