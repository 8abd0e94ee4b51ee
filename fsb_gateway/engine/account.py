"""The transactions of a box: what jobs cost, and whether it can pay for one more."""

from __future__ import annotations

import threading

from fsb_gateway.box_driver import BoxSpec
from fsb_gateway.error import TransactionsExhausted
from fsb_gateway.job import ProgrammingJob


class Account:
    """What is spent, jobs under way included. Thread-safe."""

    def __init__(self, spec: BoxSpec) -> None:
        """Nothing is spent yet, as far as is known."""
        self._spec = spec
        self._lock = threading.Lock()
        self._spent = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left, so that only what costs nothing can be done."""
        with self._lock:
            return not self._can_spend(1)

    def open(self, spent: int) -> None:
        """Begin with what the journal says; no job is under way."""
        with self._lock:
            self._spent = spent

    def configure(self, spec: BoxSpec) -> None:
        """Take over what is deducted, and what was loaded."""
        with self._lock:
            self._spec = spec

    def reserve(self, job: ProgrammingJob) -> int:
        """Deduct what a job costs; gives how much that was.

        Raises:
            TransactionsExhausted: it costs more than is left.
        """
        needed = cost_of(self._spec, job)
        with self._lock:
            if self._can_spend(needed):
                self._spent += needed
                return needed
        raise TransactionsExhausted(
            f"box {self._spec.name} has too few transactions left", box=self._spec.name
        )

    def give_back(self, transactions: int) -> None:
        """A job that was paid for was not recorded."""
        with self._lock:
            self._spent -= transactions

    def left(self, recorded: int | None) -> int | None:
        """What is left after all recorded jobs; None where nothing is deducted, or nobody knows what was recorded."""
        if self._spec.transactions == "unlimited" or recorded is None:
            return None
        return max(0, self._spec.transactions_loaded - recorded)

    def _can_spend(self, transactions: int) -> bool:
        """Whether so many are left. The lock is held."""
        if not transactions or self._spec.transactions == "unlimited":
            return True
        return self._spent + transactions <= self._spec.transactions_loaded


def cost_of(spec: BoxSpec, job: ProgrammingJob) -> int:
    """Transactions that a job costs: the box deducts them, the gateway gives it what it can pay. Pure.

    **Source:** reference/domain.md §5.
    """
    if spec.transactions == "pay_per_use":
        return job.cost
    return 1 if spec.transactions == "standard" and job.base_fuc == 0 else 0
