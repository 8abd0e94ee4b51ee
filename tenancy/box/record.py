"""Boxes as staff want them, and what may be changed about them. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from app.core.ids import InstanceId
from fsb_gateway.box_driver import BoxSpec, Faults, TokenSpec, TransactionModel, check_spec
from fsb_gateway.error import BoxLast, BoxSpecInvalid, PoolUnknown, TokenTaken
from fsb_gateway.report import BoxReport
from tenancy.box.errors import BoxNameReserved, BoxNameTaken, BoxStateUnfit, BoxTokenFixed, LoanUnfit
from tenancy.placement import SHARED_POOL

BoxState = Literal["joining", "active", "leaving"]
BoxUser = Literal["staff", "reconciler"]
"""Who drains a box: whoever else lets it work again should know."""

LONGEST_LOAN: Final = timedelta(days=30)
"""A box that is needed for longer belongs to the pool. Our own decision."""
MOST_LOADED: Final = 10_000_000
"""Transactions in one loading: more is a typing error. Our own decision."""
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,58}[a-z0-9])\Z")
"""Fits an object id; longer than any name that provisioning makes of an instance's."""
_PLACED_NAME: Final = re.compile(r"(.+)-box-[0-9]+\Z")
"""What `place_instance` makes of a pool's name."""
_PATH: Final = re.compile(r"/[\x21-\x7e]{1,254}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxRecord:
    """A box in the platform database.

    Attributes:
        spec: as staff said it.
        state: `joining` until it has the keys of its pool; `leaving` once it is to go.
        version: for If-Match; raised by every change.
        drained_by: who has drained it; None: nobody, or an older wops, which did not say.
    """

    spec: BoxSpec
    state: BoxState
    version: int
    created_at: datetime
    drained_by: BoxUser | None = None

    @property
    def name(self) -> str:
        """Of the box."""
        return self.spec.name

    @property
    def told(self) -> BoxSpec:
        """What the gateway is told: only an active box takes work; and of which version this is."""
        drained = self.spec.drained or self.state != "active"
        return replace(self.spec, drained=drained, version=self.version)

    def is_lent_at(self, now: datetime) -> bool:
        """Whether it works for another pool at this moment."""
        return self.spec.pool_at(now) != self.spec.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHome:
    """Where the firm key of an instance belongs."""

    instance_id: InstanceId
    firm_code: int
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxChange:
    """What changes; None leaves it as it is."""

    operation_time: timedelta | None = None
    jitter: float | None = None
    faults: Faults | None = None
    token: TokenSpec | None = None
    transactions: TransactionModel | None = None

    def of(self, spec: BoxSpec) -> BoxSpec:
        """The specification afterwards.

        Raises:
            BoxSpecInvalid: no box is like that.
            BoxTokenFixed: it would be another token.
        """
        _check_same_token(spec, self.token)
        if self.transactions == "unlimited" and spec.transactions_loaded:
            raise BoxSpecInvalid("transactions have been loaded into this box", field="transactions")
        changed = replace(
            spec,
            operation_time=spec.operation_time if self.operation_time is None else self.operation_time,
            jitter=spec.jitter if self.jitter is None else self.jitter,
            faults=spec.faults if self.faults is None else self.faults,
            token=spec.token if self.token is None else self.token,
            transactions=spec.transactions if self.transactions is None else self.transactions,
        )
        check_new(changed)
        return changed


def check_new(spec: BoxSpec) -> None:
    """Refuse a box that cannot be set up.

    Raises:
        JobMalformed, BoxSpecInvalid: what is wrong with it.
    """
    if not _NAME.match(spec.name):
        raise BoxSpecInvalid(
            "the name of a box has 3 to 60 small letters, digits and hyphens, no hyphen first or last",
            field="name",
        )
    check_spec(spec)
    if spec.token is not None:
        for field in ("module", "pin_file"):
            if not _PATH.match(getattr(spec.token, field)):
                raise BoxSpecInvalid("a path begins at the root and has no spaces", field=f"token.{field}")
        if not spec.token.label or not spec.token.label.isprintable():
            raise BoxSpecInvalid("a token has a label", field="token.label")


def check_name_free(spec: BoxSpec) -> None:
    """Refuse a name that another pool's box would get when its instance is ordered.

    Raises:
        BoxNameReserved: it is that of a box of another pool.
    """
    found = _PLACED_NAME.match(spec.name)
    if found is not None and found[1] != spec.pool:
        raise BoxNameReserved("The name is kept for a box of that pool.", box=spec.name, pool=found[1])


def check_token_free(spec: BoxSpec, boxes: Sequence[BoxRecord]) -> None:
    """Refuse the token of another box: whoever takes keys out of one would take them out of both.

    Links on the way to its library are the gateway's to follow, which refuses it as well.

    Raises:
        TokenTaken: names that box.
    """
    if spec.token is None:
        return
    for each in boxes:
        known = each.spec.token
        if known is not None and each.name != spec.name and _place_of(known) == _place_of(spec.token):
            raise TokenTaken(
                f"the token {spec.token.label} is that of box {each.name}", box=spec.name, holder=each.name
            )


def _place_of(token: TokenSpec) -> tuple[str, str]:
    return posixpath.normpath(token.module), token.label


def check_no_stray(name: str, found: Sequence[BoxReport]) -> None:
    """Refuse the name of a box that the gateway has: it may hold keys that nobody knows of.

    Raises:
        BoxNameTaken: it has one.
    """
    if any(each.name == name for each in found):
        raise BoxNameTaken("The gateway has a box of that name already.", box=name)


def _check_same_token(spec: BoxSpec, token: TokenSpec | None) -> None:
    """Its PIN may lie elsewhere; in another token, nobody but the one who says so knows where the keys go."""
    known = spec.token
    if token is None or known is None or (token.module, token.label) == (known.module, known.label):
        return
    raise BoxTokenFixed("Another token is another box: remove this one, then add it anew.", box=spec.name)


def load(spec: BoxSpec, number: int) -> BoxSpec:
    """The specification after transactions were loaded.

    Raises:
        BoxSpecInvalid: nothing is deducted in this box, or the number is out of range.
    """
    if spec.transactions == "unlimited":
        raise BoxSpecInvalid("nothing is deducted in this box", field="transactions")
    if not 1 <= number <= MOST_LOADED:
        raise BoxSpecInvalid(f"1 to {MOST_LOADED} transactions are loaded at once", field="number")
    loaded = replace(spec, transactions_loaded=spec.transactions_loaded + number)
    check_spec(loaded)
    return loaded


def owner_of_pool(pool: str, homes: Sequence[KeyHome]) -> InstanceId | None:
    """Whose a pool is; None: shared.

    Raises:
        PoolUnknown: no instance uses a pool of that name, and it is not the shared one.
    """
    if pool == SHARED_POOL:
        return None
    owners = [home.instance_id for home in homes if home.pool == pool]
    if not owners:
        raise PoolUnknown(f"no instance has a pool {pool[:64]}", pool=pool[:64])
    return owners[0]


def check_state(record: BoxRecord, *states: BoxState) -> None:
    """Refuse what a box is in no state for.

    Raises:
        BoxStateUnfit: it is joining or leaving.
    """
    if record.state not in states:
        raise BoxStateUnfit(f"The box is {record.state}.", box=record.name, state=record.state)


def check_loan(record: BoxRecord, *, to: str, hours: int) -> timedelta:
    """How long a box is lent.

    Raises:
        BoxStateUnfit: it is joining or leaving, or lent already.
        LoanUnfit: to its own pool, or for no time, or too long.
    """
    check_state(record, "active")
    if record.spec.lent_to is not None:
        raise BoxStateUnfit("The box is lent already.", box=record.name, lent_to=record.spec.lent_to)
    if to == record.spec.pool:
        raise LoanUnfit("A box is lent to another pool than its own.", field="to")
    most = LONGEST_LOAN // timedelta(hours=1)
    if not 1 <= hours <= most:
        raise LoanUnfit(f"A box is lent for 1 to {most} hours.", field="hours", maximum=most)
    return timedelta(hours=hours)


def check_not_last(record: BoxRecord, others: Sequence[BoxRecord], *, now: datetime) -> None:
    """Refuse to take the only working box of a pool away from it.

    Raises:
        BoxLast: no other box of its pool takes work.
    """
    working = [
        other
        for other in others
        if other.name != record.name
        and other.spec.pool == record.spec.pool
        and other.state == "active"
        and not other.spec.drained
        and not other.is_lent_at(now)
    ]
    if not working:
        raise BoxLast(
            f"no other box of pool {record.spec.pool} takes work", box=record.name, pool=record.spec.pool
        )
