"""Machines on a switch, each of them a network namespace of this one: cables that can be cut, addresses that move.

    ┌ switch ────────────── br0 ─────────────┐
    │   v-lb1          v-lb2          v-…    │
    └─────┼──────────────┼──────────────┼────┘
       lb1 eth0       lb2 eth0        … eth0

Names are the network's own; everything is removed with it, whatever still runs in it is ended before.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import pytest

from tests.service.binary import find_binary, give_up

PREFIX: Final = "10.77.0."
"""The network's addresses; it is connected with nothing else, so that they cannot be anybody's."""
_ENDS_WITHIN_SECONDS: Final = 10
_ADDRESS_LINE: Final = re.compile(
    r"^\[(?P<at>[^]]+)\] ?(?P<gone>Deleted )?\d+: .* inet (?P<address>[0-9.]+)/"
)


class NetworkFailed(Exception):
    """The kernel, or whoever limits this process, does not let a namespace be made."""


@dataclass(kw_only=True)
class Machine:
    """One namespace with its cable to the switch."""

    name: str
    address: str
    namespace: str
    switch: str

    @property
    def within(self) -> tuple[str, ...]:
        """What a command is put behind, to be run on this machine."""
        return (_ip(), "netns", "exec", self.namespace)

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Run a program here; its process is the one that is returned. The caller ends it."""
        with log.open("ab") as output:
            return subprocess.Popen(
                [*self.within, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def cut(self) -> None:
        """Pull the cable: neither side has a carrier."""
        _run("-n", self.switch, "link", "set", self._port, "down")

    def mend(self) -> None:
        """Put the cable back in."""
        _run("-n", self.switch, "link", "set", self._port, "down")
        _run("-n", self.switch, "link", "set", self._port, "master", "br0", "up")

    def isolate(self) -> None:
        """Let nothing through at the switch: the machine sees a carrier and nobody."""
        _run("-n", self.switch, "link", "set", self._port, "nomaster")

    def addresses(self) -> set[str]:
        """Those of its network card at this moment."""
        text = _run("-n", self.namespace, "-4", "-o", "address", "show", "dev", "eth0")
        return set(re.findall(r" inet ([0-9.]+)/", text))

    def take_address(self, address: str) -> None:
        """Put a further address on its network card, in passing."""
        _run("-n", self.namespace, "address", "add", address, "dev", "eth0")

    def processes(self) -> list[int]:
        """Whatever runs here."""
        return [int(pid) for pid in _run("netns", "pids", self.namespace).split()]

    @property
    def _port(self) -> str:
        return f"v-{self.name}"


@dataclass(kw_only=True)
class Network:
    """The switch and what is on it."""

    name: str
    machines: dict[str, Machine] = field(default_factory=dict)

    @property
    def switch(self) -> str:
        return f"{self.name}-sw"

    def add(self, name: str, number: int) -> Machine:
        """A further machine; its address ends in `number`."""
        made = Machine(
            name=name, address=f"{PREFIX}{number}", namespace=f"{self.name}-{name}", switch=self.switch
        )
        _run("netns", "add", made.namespace)
        self.machines[name] = made
        # The switch's end is made in the switch at once: in between it would be an interface of this machine.
        _run(
            "-n",
            made.namespace,
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            f"v-{name}",
            "netns",
            self.switch,
        )
        _run("-n", self.switch, "link", "set", f"v-{name}", "master", "br0", "up")
        _run("-n", made.namespace, "link", "set", "lo", "up")
        _run("-n", made.namespace, "link", "set", "eth0", "up")
        _run("-n", made.namespace, "address", "add", f"{made.address}/24", "dev", "eth0")
        return made

    def remove(self) -> None:
        """End what runs in it and take it away."""
        for machine in self.machines.values():
            for pid in machine.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            _run("netns", "delete", machine.namespace)
        _run("netns", "delete", self.switch)


@contextmanager
def network() -> Iterator[Network]:
    """A network without machines.

    Raises:
        NetworkFailed: it cannot be made here, with the reason.
    """
    made = Network(name=f"wops{secrets.token_hex(3)}")
    _run("netns", "add", made.switch)
    try:
        _run("-n", made.switch, "link", "add", "br0", "type", "bridge")
        _run("-n", made.switch, "link", "set", "br0", "up")
        yield made
    finally:
        made.remove()


def require_network() -> None:
    """End the calling test unless networks can be made here: an ordinary user's is skipped, root's fails if CI=true."""
    if find_binary("ip") is None:
        give_up("'ip' is not installed ('make test' as root installs iproute2)")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    try:
        with network() as made:
            made.add("a", 1)
    except NetworkFailed as failure:
        give_up(f"network namespaces cannot be made here: {failure}")


@dataclass(frozen=True, slots=True)
class Owned:
    """A time in which a machine had an address, by the monotonic clock; `until` is infinite while it has it."""

    machine: str
    since: float
    until: float


class AddressWatch:
    """Notes when machines get and lose an address, as the kernel tells it: nothing falls between two looks."""

    def __init__(self, machines: Sequence[Machine], address: str) -> None:
        self._address = address
        self._offset = time.time() - time.monotonic()
        self._owned: dict[str, list[Owned]] = {machine.name: [] for machine in machines}
        self._watching = [self._watch(machine) for machine in machines]

    @property
    def owned(self) -> tuple[Owned, ...]:
        """In the order in which they began."""
        found = (each for some in self._owned.values() for each in list(some))
        return tuple(sorted(found, key=lambda each: each.since))

    @property
    def owners(self) -> list[str]:
        """Who has it now."""
        return [each.machine for each in self.owned if each.until == float("inf")]

    def overlap(self) -> float:
        """Seconds during which two had it, in all."""
        held = self.owned
        pairs = ((one, other) for at, one in enumerate(held) for other in held[at + 1 :])
        return sum(
            max(0.0, min(one.until, other.until) - max(one.since, other.since))
            for one, other in pairs
            if one.machine != other.machine
        )

    def close(self) -> None:
        """Watch no longer."""
        for process, thread in self._watching:
            process.terminate()
            process.wait(_ENDS_WITHIN_SECONDS)
            thread.join()
            assert process.stdout is not None
            process.stdout.close()

    def _watch(self, machine: Machine) -> tuple[subprocess.Popen[str], threading.Thread]:
        process = subprocess.Popen(
            [_ip(), "-n", machine.namespace, "-4", "-ts", "-o", "monitor", "address"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        # It writes the time at which it is told: on a busy machine that would be some time later.
        os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(60))
        thread = threading.Thread(target=self._read, args=(machine.name, process.stdout), daemon=True)
        thread.start()
        return process, thread

    def _read(self, name: str, output: IO[str]) -> None:
        for line in output:
            found = _ADDRESS_LINE.match(line)
            if found is None or found["address"] != self._address:
                continue
            at = datetime.fromisoformat(found["at"]).timestamp() - self._offset
            self._note(self._owned[name], name, at, gone=found["gone"] is not None)

    def _note(self, owned: list[Owned], name: str, at: float, *, gone: bool) -> None:
        has = bool(owned) and owned[-1].until == float("inf")
        if gone and has:
            owned[-1] = Owned(name, owned[-1].since, at)
        elif not gone and not has:
            owned.append(Owned(name, at, float("inf")))


@contextmanager
def watched_address(machines: Sequence[Machine], address: str) -> Iterator[AddressWatch]:
    """Note who has an address until the block ends; nobody may have it at its beginning."""
    watch = AddressWatch(machines, address)
    try:
        yield watch
    finally:
        watch.close()


def _ip() -> str:
    found = find_binary("ip")
    if found is None:
        raise NetworkFailed("there is no program 'ip'")
    return str(found)


def _run(*arguments: str) -> str:
    done = subprocess.run([_ip(), *arguments], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise NetworkFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
