"""The lease of the one healer that acts, with its fencing token.

nobody's ──take──► held ──renew──► held
    ▲               │ not renewed for 2/3 of its time: this healer acts no more
    └── ran out ────┘ whoever takes it then has a higher token, and whoever shows the old one is refused
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from app.core.origin import system_origin
from app.operations.reconcile import repository
from app.operations.reconcile.errors import LeaseLost

LEASE: Final = timedelta(seconds=15)
"""A healer that is gone is missed for no longer; the load balancers have taken sick lines out long before. Our own
decision."""
_ACTS_FOR: Final = 2 / 3
"""Of the lease. **Source:** high availability reference §4, rule 2. The rest is for clocks that differ."""
_RENEWED_AFTER: Final = 1 / 5
_ORIGIN: Final = system_origin("reconcile.lease")


class HealerLease:
    """Blocking. One thread at a time takes and renews it; `guard` and `check` from any.

    Args:
        db: the platform database.
        lease: how long it holds without being renewed.
    """

    def __init__(self, db: Database, *, lease: timedelta = LEASE) -> None:
        self._db = db
        self._lease = lease
        self.holder = new_id("hea")
        self.token: int | None = None
        self._held_since = 0.0

    @property
    def may_act(self) -> bool:
        """Whether it is held, by this process's own clock, from before it was renewed last."""
        held = self._db.clock.monotonic() - self._held_since
        return self.token is not None and held < _ACTS_FOR * self._lease.total_seconds()

    def keep(self) -> int | None:
        """Take it if it is nobody's, and renew it when it is time; its token, or None: somebody else has it.

        Raises:
            DatabaseUnavailable: nobody can say; it is not held for longer.
        """
        began = self._db.clock.monotonic()
        if self.token is not None:
            if self.may_act and began - self._held_since < _RENEWED_AFTER * self._lease.total_seconds():
                return self.token
            token = self.token
            if self._ask(lambda tx: repository.renew_lease(tx, self.holder, token, ttl=self._lease)):
                self._held_since = began
                return self.token
        self.token = None
        taken = self._ask(lambda tx: repository.take_lease(tx, self.holder, ttl=self._lease))
        if taken is not None:
            self.token, self._held_since = int(taken), began
        return self.token

    def guard(self, tx: Tx) -> None:
        """Refuse a transaction of a healer that may not act.

        Raises:
            LeaseLost: another one has taken over, or this one was held up.
        """
        if self.token is None or not self.may_act or not repository.touch_lease(tx, self.token):
            raise _lost()

    def check(self, rest: Callable[[Tx], None] = lambda _tx: None) -> None:
        """The same right before something is done outside the database.

        Args:
            rest: refuses it for other reasons, in the same transaction.

        Raises:
            LeaseLost: another one has taken over, or this one was held up.
            DatabaseUnavailable: nobody can say.
        """

        def body(tx: Tx) -> bool:
            self.guard(tx)
            rest(tx)
            return True

        self._ask(body)
        if not self.may_act:
            raise _lost()

    def give_up(self) -> None:
        """Let the next one have it at once."""
        token, self.token = self.token, None
        if token is not None:
            self._ask(lambda tx: repository.end_lease(tx, self.holder, token))

    def _ask(self, ask: Callable[[Tx], int | bool | None]) -> int | bool | None:
        def body(tx: Tx) -> JsonObject:
            # Each of them may be repeated, and there is one every few seconds: no id is kept.
            tx.forget(tx.op_id)
            return {"answer": ask(tx)}

        answer = self._db.run_tx(new_id("lea"), body, origin=_ORIGIN).value["answer"]
        return answer if isinstance(answer, int) else None


def _lost() -> LeaseLost:
    return LeaseLost("Another healer acts, or this one was held up for too long.")
