"""Which licences a transfer moves, and the programming steps it needs. Pure.

One programming runs in a fixed order: withdrawn → deactivations → assigned → replaced → activations. This
issue knows the two that users choose; the vendor-ordered ones get their place in `_ORDER` when they come.
**Source:** KEYnote 35 (German) p. 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.core.errors import InputInvalid
from app.core.ids import LicenseId, TransferId
from app.licensing.errors import (
    ContainerTypeNotAllowed,
    ItemNotReturnable,
    LicenseExpired,
    LicenseNotAvailable,
    LicenseNotConfirmed,
    LicenseNotOnContainer,
    LicenseNotOnTicket,
    LicensePending,
    LicensingError,
    NothingToActivate,
)
from app.licensing.license.license import FREE_STATES, License, LicenseAction, LicenseState
from app.licensing.transfer.standing import Standing

ACTIONS_MAX: Final = 100
"""Licences in one transfer; 100 keep a slow box busy for about a minute. Source: domain reference §6."""
STEPS_MAX_BYTES: Final = 130_000
"""JSON of all programming steps of one update. Signed, encrypted and armoured it grows 1.8-fold, and containers read
files up to 256 KiB. Source: fsb_gateway.file_format.armour, measured with 100 licences of the longest text."""
_ORDER: Final = {LicenseAction.DEACTIVATE: 20, LicenseAction.ACTIVATE: 50}


class TransferAction(StrEnum):
    """What a caller asks for."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    AUTO_UPDATE = "auto_update"


class TransferState(StrEnum):
    """reserved → issued → confirmed, or reserved → rolled_back."""

    RESERVED = "reserved"
    ISSUED = "issued"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled_back"


class Started(StrEnum):
    """What came of asking for a transfer.

    Attributes:
        NEW: a transfer was opened.
        REPEATED: the same request had been carried out before; nothing happened.
        FETCHED: `auto_update` found an update that the container lacks.
        NOTHING: `auto_update` found that the container lacks nothing.
    """

    NEW = "new"
    REPEATED = "repeated"
    FETCHED = "fetched"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller wants moved.

    Attributes:
        activate: ids to collect; None means every licence of the ticket that can be collected now.
        deactivate: ids to give back.
    """

    ticket: str | None
    activate: tuple[LicenseId, ...] | None
    deactivate: tuple[LicenseId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The container it is about."""

    serial: str
    container_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """One licence, one action."""

    license: License
    action: LicenseAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A transfer as it stands.

    Attributes:
        base_fuc: the counter the context reported.
        fuc: the container's counter after this programming.
        update: armoured update file; None until issued.
        deadline_at: when it is rolled back if no box has programmed it.
        month: the quota month it was reserved in, YYYY-MM.
        reason: why it was rolled back.
        standing: where the job of a reserved transfer stands, if that was asked.
    """

    transfer_id: TransferId
    container: str
    ticket: str | None
    action: TransferAction
    state: TransferState
    base_fuc: int
    fuc: int
    licenses: tuple[tuple[LicenseId, LicenseAction], ...]
    update: str | None
    month: str
    reason: str | None
    deadline_at: datetime
    created_at: datetime
    issued_at: datetime | None
    confirmed_at: datetime | None
    standing: Standing | None = None


def plan_actions(
    wish: Wish, licenses: Sequence[License], *, target: Target, now: datetime
) -> tuple[PlannedAction, ...]:
    """Decide which licences move, in the order of programming.

    Args:
        wish: what is asked for.
        licenses: the ticket's licences and those asked for by id.
        target: the container.
        now: for expiry.

    Raises:
        LicensingError: one licence cannot be moved as asked; the error names it. All or nothing.
    """
    known = {license_.license_id: license_ for license_ in licenses}
    planned = [_deactivation(license_id, known, wish, target) for license_id in wish.deactivate]
    if wish.activate is None:
        planned += [
            PlannedAction(license=license_, action=LicenseAction.ACTIVATE)
            for license_ in licenses
            if license_.ticket == wish.ticket and _why_not(license_, target, now) is None
        ]
        if not any(action.action is LicenseAction.ACTIVATE for action in planned):
            raise _nothing_left(wish, licenses, target, now)
    else:
        planned += [
            _activation(license_id, known, wish, target=target, now=now) for license_id in wish.activate
        ]
    _check_planned(planned)
    return tuple(sorted(planned, key=lambda each: (_ORDER[each.action], each.license.license_id)))


def check_number(licenses: int) -> None:
    """Refuse more licences than one transfer can move.

    Raises:
        InputInvalid: more than 100.
    """
    if licenses > ACTIONS_MAX:
        raise InputInvalid(
            f"One transfer moves at most {ACTIONS_MAX} licences; name the first ones by id.",
            field="license_ids",
        )


def check_size(steps: int, json_bytes: int) -> None:
    """Refuse an update that its container could not read any more.

    Args:
        steps: programmings in the update; more than one when earlier updates are included again.
        json_bytes: the size of all of them.

    Raises:
        InputInvalid: more than 130,000 bytes.
    """
    if json_bytes > STEPS_MAX_BYTES:
        raise InputInvalid(
            "The update would be too large for its container. Name fewer licences."
            if steps == 1
            else f"The container lacks {steps - 1} earlier updates, and one with all of them would be too large. Apply"
            " those first (auto_update gives the newest), then try again with a new context.",
            field="license_ids",
        )


def _check_planned(planned: Sequence[PlannedAction]) -> None:
    if not planned:
        raise InputInvalid("Name at least one licence.", field="license_ids")
    check_number(len(planned))
    if len({each.license.license_id for each in planned}) != len(planned):
        raise InputInvalid("A licence is named twice.", field="license_ids")


def _activation(
    license_id: LicenseId, known: Mapping[LicenseId, License], wish: Wish, *, target: Target, now: datetime
) -> PlannedAction:
    license_ = known.get(license_id)
    if license_ is None or license_.ticket != wish.ticket:
        raise LicenseNotOnTicket(f"Licence {license_id} is not on this ticket.", license_id=license_id)
    refusal = _why_not(license_, target, now)
    if refusal is not None:
        raise refusal
    return PlannedAction(license=license_, action=LicenseAction.ACTIVATE)


def _why_not(license_: License, target: Target, now: datetime) -> LicensingError | None:
    name = license_.license_id
    if license_.pending_transfer is not None:
        return LicensePending(
            f"Licence {name} is being moved by another transfer; try again shortly.", license_id=name
        )
    if license_.state not in FREE_STATES:
        return LicenseNotAvailable(_taken(license_, target), license_id=name, state=str(license_.state))
    if license_.options.has_expired(now):
        return LicenseExpired(
            f"Licence {name} has expired and cannot be collected any more.", license_id=name
        )
    if license_.container_types and target.container_type not in license_.container_types:
        return ContainerTypeNotAllowed(
            f"Licence {name} may be collected only into: {', '.join(license_.container_types)}.",
            license_id=name,
            container_types=list(license_.container_types),
        )
    return None


def _taken(license_: License, target: Target) -> str:
    if license_.container == target.serial:
        where = "this container already"
    else:
        where = "another container; return it there first"
    if license_.state is LicenseState.RETURNED:
        return f"Licence {license_.license_id} was returned, but the receipt is missing. Confirm the return first."
    return f"Licence {license_.license_id} is in {where}."


def _nothing_left(wish: Wish, licenses: Sequence[License], target: Target, now: datetime) -> LicensingError:
    reasons = [_why_not(license_, target, now) for license_ in licenses if license_.ticket == wish.ticket]
    if len(reasons) == 1 and reasons[0] is not None:
        return reasons[0]
    return NothingToActivate("The ticket has no licence that could be collected into this container now.")


def _deactivation(
    license_id: LicenseId, known: Mapping[LicenseId, License], wish: Wish, target: Target
) -> PlannedAction:
    license_ = known.get(license_id)
    if license_ is None or (wish.ticket is not None and license_.ticket != wish.ticket):
        raise LicenseNotOnTicket(f"Licence {license_id} is not on this ticket.", license_id=license_id)
    if license_.pending_transfer is not None:
        raise LicensePending(
            f"Licence {license_id} is being moved by another transfer; try again shortly.",
            license_id=license_id,
        )
    if license_.container != target.serial or license_.state not in (
        LicenseState.COLLECTED,
        LicenseState.CONFIRMED_COLLECTED,
    ):
        raise LicenseNotOnContainer(
            f"Licence {license_id} is not in container {target.serial}.", license_id=license_id
        )
    if license_.state is LicenseState.COLLECTED:
        raise LicenseNotConfirmed(
            f"The collection of licence {license_id} is not confirmed yet. Apply its update, make a new"
            f" context and try again.",
            license_id=license_id,
        )
    if not license_.returnable:
        raise ItemNotReturnable(
            f"Licences of item {license_.sku} cannot be returned.", license_id=license_id, sku=license_.sku
        )
    return PlannedAction(license=license_, action=LicenseAction.DEACTIVATE)
