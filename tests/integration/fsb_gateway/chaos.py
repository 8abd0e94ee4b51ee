"""kill -9 of gateway, boxes and line at random, under load, and a count of what became of every update.

    customers (threads) ──HTTP──► wops up (the line) ──► wops fsb serve (the gateway) ──► two `wops fsb box`, one pool
    killer (thread) ──SIGKILL──►  restarted here         by the line                      by the gateway

`python -m tests.integration.fsb_gateway.chaos --minutes 10` is the long form; the test runs a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, Self

import httpx2

from app.core.clock import SystemClock
from app.core.errors import DomainError
from app.core.ids import new_id
from tests.api.device import Device
from tests.api.site import HERE, Instance, Site, good
from tests.bench.start_to_ready import free_port
from tests.service.wait import wait_until

Victim = Literal["box", "gateway", "line"]

POOL: Final = "shared"
_SECOND_BOX: Final = "chaos-box-2"
_OPERATION_MILLIS: Final = 8
_INSTANCES: Final = 3
_DEVICES: Final = 3
"""Containers of each instance, each with a customer who works on it."""
_LICENSES: Final = 8
"""Of each container's ticket."""
_READY = timedelta(seconds=60)
# A box that was killed many times in a row is started again after 30 s at the latest (`fsb_gateway.box`).
_SETTLE = timedelta(seconds=90)
_GIVE_UP_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.05
_BETWEEN_KILLS: Final = (0.5, 4.0)
_WEIGHTS: Final[dict[Victim, int]] = {"box": 6, "gateway": 3, "line": 1}
# What passes when whoever was killed is back; everything else is a finding.
_PASSES: Final = frozenset({429, 502, 503, 504})
_JOB: Final = re.compile(rb"trf_[0-9a-f]{32}")


class ChaosFailed(AssertionError):
    """Something was lost, doubled, or refused that should not have been."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What happened.

    Attributes:
        longest_gap_seconds: between two updates that came back, of all customers together.
        longest_wait_seconds: that one customer had for one update.
        updates: by what was done.
        repeats: requests that were sent again on purpose after they had been answered, with the same answer.
        retries: requests that were sent again because nobody answered, or only that it is too early.
        signed_twice: updates that two boxes have made, of which one was handed out.
    """

    seed: int
    seconds: float
    kills: dict[str, int] = field(default_factory=dict)
    longest_gap_seconds: float = 0.0
    longest_wait_seconds: float = 0.0
    updates: dict[str, int] = field(default_factory=dict)
    repeats: int = 0
    retries: int = 0
    applied_again_refused: int = 0
    lost_on_purpose: int = 0
    signed_twice: int = 0
    lost: int = 0
    doubled: int = 0

    def line(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


class ChaosSite(Site):
    """`wops up` with its gateway and boxes in processes of their own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, clock=SystemClock(), boxes="processes")
        self.settings.data_dir.mkdir(mode=0o700)
        self.port = free_port()
        self._line: subprocess.Popen[bytes] | None = None
        self._log = (folder / "log").open("wb")

    def start(self) -> Self:
        """Start the line and wait until it serves."""
        self.launch()
        wait_until(self._serves, "the platform to serve", deadline=_READY)
        return self

    def launch(self) -> None:
        """Start the line, without waiting for it."""
        options = ["--data-dir", str(self.settings.data_dir), "--port", str(self.port), "--json"]
        self._line = subprocess.Popen(
            [sys.executable, "-c", "from app.cli import main; main()", "up", *options],
            env={
                **os.environ,
                "WOPS_BOXES": "processes",
                "WOPS_OPERATION_TIME_MS": str(_OPERATION_MILLIS),
                "WOPS_DRIVE_LEASE_SECONDS": "2",
                "WOPS_PROBE_EVERY_SECONDS": "86400",
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def stop(self) -> None:
        """End everything in an orderly way; what does not end is killed and told of."""
        self.hang_up()
        if self._line is not None:
            self._line.terminate()
            self._line.wait(timeout=120)
        self._log.close()
        left = [*find_processes(self.settings.data_dir, "fsb")]
        for pid in left:
            kill(pid)
        if left:
            raise ChaosFailed(f"{len(left)} processes were left over")

    def kill_line(self) -> None:
        """kill -9, and another one in its place."""
        assert self._line is not None
        self._line.kill()
        self._line.wait()
        self.launch()

    def ended(self) -> bool:
        """Whether the line has ended by itself: nobody killed it."""
        return self._line is not None and self._line.poll() is not None

    def caller(self) -> httpx2.Client:
        """One customer's connection."""
        return httpx2.Client(base_url=f"http://{HERE}:{self.port}", timeout=40, trust_env=False)

    def flush(self, *, only: str | None = None) -> None:
        """Lines of another process are waited for, not told."""

    def pass_time(self, seconds: float) -> None:
        """Time passes by itself."""

    def add_second_box(self) -> None:
        """Let two people add a box to the shared pool."""
        body = {
            "name": _SECOND_BOX,
            "pool": POOL,
            "operation_time_ms": _OPERATION_MILLIS,
            "jitter": 0.5,
            "reason": "more to kill",
        }
        asked = good(self.admin("POST", "/boxes", body), 202)
        second = {"Authorization": f"Bearer {self.new_token('admin', person='second@wops.example')}"}
        path = f"/approvals/{asked['approval_id']}"
        etag = self.admin("GET", path).headers["ETag"]
        done = good(self.admin("POST", f"{path}:approve", {}, headers={**second, "If-Match": etag}))
        self.finish(done["operation_id"])

    def _serves(self) -> bool:
        if self.ended():
            raise ChaosFailed("wops up ended by itself")
        with suppress(httpx2.TransportError), self.caller() as caller:
            return caller.get("/readyz").status_code == 200
        return False


def find_processes(data_dir: Path, *words: str) -> Iterator[int]:
    """Ids of the processes that work in a data directory and have all these words in their command."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode().split("\0")
            if str(data_dir) in command and all(word in command for word in words):
                yield int(entry.name)


def kill(pid: int) -> bool:
    """kill -9; whether it was there. Held by a descriptor, and asked again, so that no stranger is hit."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if b"fsb" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True


class Killer(threading.Thread):
    """Kills one of them every few seconds."""

    def __init__(self, site: ChaosSite, chance: random.Random, stop: threading.Event) -> None:
        super().__init__(name="killer")
        self._site = site
        self._chance = chance
        self._over = stop
        self.kills: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Go on until told to stop."""
        try:
            while not self._over.wait(self._chance.uniform(*_BETWEEN_KILLS)):
                victim = self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
                self.kills[victim] += self._kill(victim)
        except BaseException as error:
            self.failure = error
            self._over.set()

    def _kill(self, victim: Victim) -> bool:
        if self._site.ended():
            raise ChaosFailed("wops up ended by itself")
        if victim == "line":
            self._site.kill_line()
            return True
        words = ("fsb", "box") if victim == "box" else ("fsb", "serve")
        found = sorted(find_processes(self._site.settings.data_dir, *words))
        return bool(found) and kill(self._chance.choice(found))


class Customer(threading.Thread):
    """Collects and returns licences with one container, asks again whatever happens, and writes down what he got.

    Attributes:
        answered: every update that was acknowledged, by transfer.
        moves: what each of them does: action, and number of licences.
    """

    def __init__(self, instance: Instance, chance: random.Random, stop: threading.Event) -> None:
        super().__init__(name=f"customer of {instance.name}")
        self.instance = instance
        self.device: Device = instance.device()
        self.ticket = instance.sell(_LICENSES)
        self._free = {each["license_id"] for each in instance.licenses(self.ticket)}
        self._returned: set[str] = set()
        self._chance = chance
        self._over = stop
        site = instance.site
        assert isinstance(site, ChaosSite)
        self._http = site.caller()
        self.answered: dict[str, str] = {}
        self.moves: dict[str, tuple[str, int]] = {}
        self.arrivals: list[float] = []
        self.waits: list[float] = []
        self.counts: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Go on until told to stop; then bring the container up to date."""
        try:
            with self._http:
                while not self._over.is_set():
                    self._transfer()
                self._catch_up()
        except BaseException as error:
            self.failure = error
            self._over.set()

    def _transfer(self) -> None:
        held = sorted(self.device.items - self._returned)
        is_activation = bool(self._free) and (not held or self._chance.random() < 0.55)
        wanted = self._some(sorted(self._free) if is_activation else held)
        if not wanted:
            self._catch_up()
            return
        action = "activate" if is_activation else "deactivate"
        body = {
            "action": action,
            "ticket": self.ticket,
            "license_ids": wanted,
            "context": self.device.context(),
        }
        transfer = self._send_twice("/transfers", body)
        self._free.difference_update(wanted)
        if not is_activation:
            self._returned.update(wanted)
        self._note(transfer, action, len(wanted))
        if self._chance.random() < 0.1:
            # Never arrives: it has to be in the next one.
            self.counts["lost_on_purpose"] += 1
            return
        self._apply(transfer["update"])
        if self._chance.random() < 0.7:
            self._confirm(transfer)

    def _catch_up(self) -> None:
        """Fetch what was lost on the way, and prove it."""
        body = {"action": "auto_update", "context": self.device.context()}
        answer = self._send("/transfers", body, new_id("key"))
        if answer.status_code != 204:
            transfer = self._checked(answer)
            self._apply(transfer["update"])
            self._confirm(transfer)
        self._free |= self._returned
        self._returned.clear()

    def _confirm(self, transfer: dict[str, Any]) -> None:
        path = f"/transfers/{transfer['transfer_id']}:confirm"
        receipt = {"receipt": self.device.receipt()}
        if self._send_twice(path, receipt)["state"] != "confirmed":
            raise ChaosFailed("a receipt was taken and does not confirm")
        self.counts["receipt"] += 1
        self._free |= self._returned
        self._returned.clear()

    def _apply(self, update: str) -> None:
        """The container verifies it, takes it, and takes it no second time."""
        self.device.apply(update)
        if self._chance.random() < 0.2:
            try:
                self.device.apply(update)
            except DomainError as refusal:
                if refusal.code != "update_already_applied":
                    raise
                self.counts["applied_again_refused"] += 1
            else:
                raise ChaosFailed("an update was applied twice")

    def _note(self, transfer: dict[str, Any], action: str, number: int) -> None:
        name, update = transfer["transfer_id"], transfer["update"]
        if self.answered.setdefault(name, update) != update:
            raise ChaosFailed(f"transfer {name} was answered with another update")
        self.moves[name] = (action, number)
        self.counts[action] += 1

    def _send_twice(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send, and now and then once more, under the same key or another: the answer is the same."""
        key = new_id("key")
        first = self._checked(self._send(path, body, key))
        if self._chance.random() < 0.25:
            again = self._checked(self._send(path, body, self._chance.choice([key, new_id("key")])))
            if again["transfer_id"] != first["transfer_id"] or again["update"] != first["update"]:
                raise ChaosFailed(f"a repeat was answered with something else: {first} {again}")
            self.counts["repeats"] += 1
        return first

    def _send(self, path: str, body: dict[str, Any], key: str) -> httpx2.Response:
        """Ask the same again until there is an answer."""
        started = time.monotonic()
        while True:
            with suppress(httpx2.TransportError):
                answer = self._http.post(
                    f"/{self.instance.name}/api/v1{path}",
                    json=body,
                    headers={"Idempotency-Key": key},
                    auth=self.instance.auth,
                )
                if answer.status_code not in (202, *_PASSES):
                    break
                self.counts[f"answer_{answer.status_code}"] += 1
            if time.monotonic() > started + _GIVE_UP_SECONDS:
                raise ChaosFailed(f"no answer within {_GIVE_UP_SECONDS:g} s")
            self.counts["retries"] += 1
            threading.Event().wait(_PAUSE_SECONDS)
        self.arrivals.append(time.monotonic())
        self.waits.append(self.arrivals[-1] - started)
        return answer

    def _checked(self, answer: httpx2.Response) -> dict[str, Any]:
        if answer.status_code not in (200, 201):
            raise ChaosFailed(f"{self.name} got {answer.status_code}: {answer.text}")
        return dict(answer.json())

    def _some(self, licenses: Sequence[str]) -> list[str]:
        return self._chance.sample(licenses, min(len(licenses), self._chance.randint(1, 3)))


def run_chaos(folder: Path, *, seconds: float, seed: int) -> Report:
    """Kill for so long, let everything settle, and count.

    Raises:
        ChaosFailed: an update was lost, handed out twice, or refused; or the books do not agree.
    """
    chance = random.Random(seed)
    stop = threading.Event()
    with ChaosSite(folder) as site:
        customers = _set_up(site, chance, stop)
        killer = Killer(site, random.Random(chance.random()), stop)
        threads: list[Killer | Customer] = [killer, *customers]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        stop.wait(seconds)
        stop.set()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
        for thread in threads:
            if thread.failure is not None:
                raise thread.failure
        wait_until(site._serves, "the platform to serve again", deadline=_READY)
        _settle(site)
        report = _summarize(customers, killer, seed=seed, seconds=took)
        for instance in {customer.instance.name: customer.instance for customer in customers}.values():
            check_instance(instance, [each for each in customers if each.instance is instance], report)
        report.signed_twice = _signed_twice(site)
    return report


def _set_up(site: ChaosSite, chance: random.Random, stop: threading.Event) -> list[Customer]:
    instances = [site.add_instance("dedicated", f"chaos-{number}") for number in range(_INSTANCES)]
    site.add_second_box()
    many = {"activations": 10_000_000, "web_service_calls": 10_000_000}
    for instance in instances:
        instance.contract(limits=many)
    customers = [
        Customer(instance, random.Random(chance.random()), stop)
        for instance in instances
        for _ in range(_DEVICES)
    ]
    wait_until(lambda: len(_boxes(site, "ready")) == 2, "two boxes at work", deadline=_READY)
    return customers


def _boxes(site: ChaosSite, condition: str) -> list[str]:
    found = good(site.admin("GET", "/boxes"))
    return [each["name"] for each in found if each["condition"] == condition and each["pool"] == POOL]


def _settle(site: ChaosSite) -> None:
    """Everybody is back, and no transfer is open."""
    wait_until(lambda: len(_boxes(site, "ready")) == 2, "both boxes to be back", deadline=_SETTLE)
    paths = list(site.settings.data_dir.rglob("ins_*.db"))
    wait_until(
        lambda: not any(_query(path, "SELECT 1 FROM transfer WHERE state = 'reserved'") for path in paths),
        "open transfers to be resolved",
        deadline=_SETTLE,
    )


def check_instance(instance: Instance, customers: Sequence[Customer], report: Report) -> None:
    """Compare what customers were told, what containers hold, what the database says and what was counted."""
    path = instance.database
    stored = {
        name: (state, update)
        for name, state, update in _query(path, "SELECT transfer_id, state, update_text FROM transfer")
    }
    answered = {name: update for each in customers for name, update in each.answered.items()}
    report.lost += sum(
        stored.get(name, ("", ""))[0] not in ("issued", "confirmed") or stored[name][1] != update
        for name, update in answered.items()
    )
    updates = [update for state, update in stored.values() if state in ("issued", "confirmed")]
    report.doubled += len(updates) - len(set(updates))
    _demand(report.lost == 0, f"{report.lost} updates that were acknowledged are lost")
    _demand(report.doubled == 0, f"{report.doubled} updates were handed out for two transfers")
    _demand(not _query(path, "SELECT 1 FROM license WHERE pending_transfer IS NOT NULL"), "licences are held")
    # Customers repeat until they are answered: nothing may be there that nobody was told of.
    issued = {name for name, (state, _) in stored.items() if state in ("issued", "confirmed")}
    _demand(issued == set(answered), f"transfers that nobody was told of: {issued ^ set(answered)}")
    for customer in customers:
        _check_container(path, customer)
    _check_ledger(path, customers)
    instance.check_books()


def _check_container(path: Path, customer: Customer) -> None:
    serial, device = customer.device.serial, customer.device
    rows = _query(
        path,
        f"SELECT fuc FROM transfer WHERE container = '{serial}' AND state IN ('issued', 'confirmed') ORDER BY fuc",
    )
    fucs = [row[0] for row in rows]
    _demand(fucs == list(range(1, len(fucs) + 1)), f"the counters of {serial} are not consecutive: {fucs}")
    _demand(
        device.fuc == len(fucs), f"{serial} is at {device.fuc} of {len(fucs)}: an update is missing in it"
    )
    inside = {
        row[0]
        for row in _query(
            path,
            f"SELECT license_id FROM license WHERE container = '{serial}'"
            " AND state IN ('collected', 'confirmed_collected')",
        )
    }
    _demand(device.items == inside, f"{serial} holds {device.items}, the books say {inside}")


def _check_ledger(path: Path, customers: Sequence[Customer]) -> None:
    """Exactly one counted row for each licence of each transfer, and the counter is their sum."""
    moved = Counter[str]()
    for customer in customers:
        for action, number in customer.moves.values():
            moved["activation" if action == "activate" else "deactivation"] += number
    counted = dict(
        _query(
            path,
            "SELECT kind, count(*) FROM ledger_entry WHERE phase = 'counted'"
            " AND kind IN ('activation', 'deactivation') GROUP BY kind",
        )
    )
    _demand(counted == dict(moved), f"the ledger has {counted}, the transfers {dict(moved)}")
    (used,) = _query(path, "SELECT sum(used) FROM meter_counter WHERE meter = 'activations'")
    _demand(
        used[0] == sum(moved.values()), f"the counter says {used[0]}, the transfers {sum(moved.values())}"
    )


def _summarize(customers: Sequence[Customer], killer: Killer, *, seed: int, seconds: float) -> Report:
    counts = sum((each.counts for each in customers), Counter[str]())
    arrivals = sorted(moment for each in customers for moment in each.arrivals)
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    return Report(
        seed=seed,
        seconds=round(seconds, 1),
        kills=dict(killer.kills),
        longest_gap_seconds=round(max(gaps), 3),
        longest_wait_seconds=round(max(wait for each in customers for wait in each.waits), 3),
        updates={name: counts[name] for name in ("activate", "deactivate", "receipt")},
        repeats=counts["repeats"],
        retries=counts["retries"],
        applied_again_refused=counts["applied_again_refused"],
        lost_on_purpose=counts["lost_on_purpose"],
    )


def _signed_twice(site: ChaosSite) -> int:
    """Jobs that are in two boxes' journals: allowed, for only one of the two updates was handed out."""
    boxes: dict[str, set[bytes]] = {}
    for path in (site.settings.data_dir / "boxes" / "journals").iterdir():
        # A journal may be in several files; what is in two of them was copied, not made again.
        boxes.setdefault(path.name.partition(".")[0], set()).update(_JOB.findall(path.read_bytes()))
    made = Counter(job for jobs in boxes.values() for job in jobs)
    return sum(count > 1 for count in made.values())


def _query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ChaosFailed(otherwise)


def main() -> int:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = parser.parse_args()
    sys.stderr.write(f"kill -9 for {asked.minutes:g} minutes, --seed {asked.seed} ...\n")
    with tempfile.TemporaryDirectory(prefix="wops-chaos-") as folder:
        report = run_chaos(Path(folder), seconds=asked.minutes * 60, seed=asked.seed)
    sys.stdout.write(f"{report.line()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
