"""Why a box does not do a job: what it says of itself, and what it holds. Pure."""

from __future__ import annotations

from typing import Final, Protocol

from fsb_gateway.box_driver import KeySlot
from fsb_gateway.box_port import BoxState
from fsb_gateway.error import (
    BoxDisconnected,
    BoxJournalDamaged,
    BoxJournalUnwritable,
    FirmCodeNotOwned,
    FirmKeyMissing,
    FsbUnavailable,
    PoolWithoutBox,
    TokenAbsent,
    TokenPinWrong,
    TransactionsExhausted,
)
from fsb_gateway.job import ProgrammingJob


class Holder(Protocol):
    """Whatever holds key slots: a box, wherever it works."""

    def slot(self, firm_code: int) -> KeySlot | None:
        """The key in use for a firm code."""
        ...

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes without a slot because their key cannot be opened."""
        ...


def check_slot(box: Holder, job: ProgrammingJob) -> KeySlot:
    """The slot for a job; refuses a job whose firm key is not in the box, or not its instance's.

    Raises:
        FsbUnavailable: the key exists and cannot be opened; the job may come again once somebody has mended it.
        FirmKeyMissing: no key slot for the firm code.
        FirmCodeNotOwned: the slot is bound to another instance.
    """
    slot = box.slot(job.firm_code)
    if slot is None and job.firm_code in box.unreadable:
        raise FsbUnavailable(
            f"the key of firm code {job.firm_code} cannot be opened now", firm_code=job.firm_code
        )
    if slot is None:
        raise FirmKeyMissing(
            f"pool {job.pool} holds no key for firm code {job.firm_code}", firm_code=job.firm_code
        )
    if slot.instance_id != job.instance_id:
        raise FirmCodeNotOwned(
            f"firm code {job.firm_code} belongs to another instance", firm_code=job.firm_code
        )
    return slot


def refusal(box: str, state: BoxState) -> FsbUnavailable:
    """The error that says why a box takes no work."""
    kind, reason = _REFUSALS.get(state, (BoxDisconnected, "is not there"))
    return kind(f"box {box} {reason}", box=box)


_REFUSALS: Final[dict[BoxState, tuple[type[FsbUnavailable], str]]] = {
    "journal_damaged": (BoxJournalDamaged, "takes no work: its journal is damaged"),
    "journal_unwritable": (BoxJournalUnwritable, "takes no work: its journal cannot be written"),
    "token_absent": (TokenAbsent, "takes no work: its token is not there"),
    "token_pin_wrong": (TokenPinWrong, "takes no work: its token refused the PIN"),
    "transactions_exhausted": (TransactionsExhausted, "takes no work: it has no transactions left"),
    "closed": (PoolWithoutBox, "is closed"),
}
