"""kill -9 of gateway, boxes and line at random, under load, and a count of what became of every update.

    customers (threads) ──HTTP──► wops up (the line) ──► wops fsb serve (the gateway) ──► two `wops fsb box`, one pool
    killer (thread) ──SIGKILL──►  restarted here         by the line                      by the gateway

`python -m tests.integration.fsb_gateway.chaos --minutes 10` is the long form; the test runs a short one.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from tests.api.site import Instance, good
from tests.integration.fsb_gateway.chaos_customer import Customer
from tests.integration.fsb_gateway.chaos_site import POOL, READY, ChaosFailed, ChaosSite, Killer
from tests.service.wait import wait_until

_INSTANCES: Final = 3
_DEVICES: Final = 3
"""Containers of each instance, each with a customer who works on it."""
# A box that was killed many times in a row is started again after 30 s at the latest (`fsb_gateway.box`).
_SETTLE = timedelta(seconds=90)
_JOB: Final = re.compile(rb"trf_[0-9a-f]{32}")


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
        wait_until(site.serves, "the platform to serve again", deadline=READY)
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
    wait_until(lambda: len(_boxes(site, "ready")) == 2, "two boxes at work", deadline=READY)
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
