"""Does a context fit what the books say about its container? Pure.

    confirmed ≤ context ≤ issued    fine; everything up to the context's counter is proven
    context > issued                impossible: nobody issued that programming
    context < confirmed             a stale file if the context is not newer than the last one seen,
                                    otherwise impossible: the container was set back or copied

**Source:** domain reference §§3.2–3.3; the pain of stale files: COPA-DATA knowledge base, "the license
transfer cannot be confirmed".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from app.core.json import JsonValue
from app.licensing.errors import (
    ContainerBlocked,
    ContainerUnexpectedState,
    ContextFromFuture,
    ContextOutdated,
    ContextReplayed,
    FucTooNew,
    FucTooOld,
    KeyMismatch,
    LicensingError,
)

MOST_AHEAD: Final = timedelta(days=1)
"""How far a container's clock may be ahead of ours: a wrong time zone passes, a wrong year does not. Our decision."""


class ContainerState(StrEnum):
    """How the platform sees a container."""

    OK = "ok"
    UNEXPECTED_STATE = "unexpected_state"
    BLOCKED = "blocked"


class UnexpectedReason(StrEnum):
    """Why a container is in an unexpected state."""

    FUC_TOO_OLD = "fuc_too_old"
    FUC_TOO_NEW = "fuc_too_new"
    KEY_MISMATCH = "container_key_mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the books have it.

    Attributes:
        key_thumbprint: RFC 7638 thumbprint of the key that signs its contexts.
        signing_key, encryption_key: public JWKs.
        fuc_confirmed: the highest firm update counter the container has proven.
        fuc_issued: the firm update counter after the last update that was issued for it.
        last_context_at: when the newest context seen so far was made, by the container's own strictly rising time.
    """

    serial: str
    container_type: str
    key_thumbprint: str
    signing_key: Mapping[str, str]
    encryption_key: Mapping[str, str]
    fuc_confirmed: int
    fuc_issued: int
    last_context_at: datetime
    state: ContainerState
    reason: UnexpectedReason | None
    reported: Mapping[str, JsonValue] | None
    version: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a context says about its container."""

    key_thumbprint: str
    fuc: int
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fits:
    """The context agrees with the books.

    Attributes:
        newly_proven: the counter rose, so issued transfers up to it are confirmed.
    """

    newly_proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The context is no use, but says nothing bad about the container."""

    error: LicensingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unexpected:
    """The context contradicts the books: nothing goes on until staff decides."""

    reason: UnexpectedReason


Judgement = Fits | Refused | Unexpected

_ERROR_OF_REASON: Mapping[UnexpectedReason, type[ContainerUnexpectedState]] = {
    UnexpectedReason.FUC_TOO_OLD: FucTooOld,
    UnexpectedReason.FUC_TOO_NEW: FucTooNew,
    UnexpectedReason.KEY_MISMATCH: KeyMismatch,
}
_TEXT_OF_REASON: Mapping[UnexpectedReason, str] = {
    UnexpectedReason.FUC_TOO_OLD: "it reports an older update counter than it has proven, so it was set back or copied",
    UnexpectedReason.FUC_TOO_NEW: "it reports an update counter that was never issued here",
    UnexpectedReason.KEY_MISMATCH: "its context is signed by another key than the registered one",
}


def check_made_at(serial: str, made_at: datetime, *, now: datetime) -> None:
    """Refuse a context or receipt of the future: once noted, every later one would be older, for ever.

    Raises:
        ContextFromFuture: made more than a day after now.
    """
    if made_at > now + MOST_AHEAD:
        raise ContextFromFuture(
            f"This file of container {serial} is dated {made_at:%Y-%m-%d %H:%M} UTC, in the future. Set the computer's"
            " clock and make a new one.",
            serial=serial,
        )


def judge(container: Container, report: Report) -> Judgement:
    """Compare a fresh report with the books. The order of the checks is the order of their weight."""
    if container.state is ContainerState.BLOCKED:
        return Refused(
            error=ContainerBlocked(
                f"Container {container.serial} is blocked by the vendor.", serial=container.serial
            )
        )
    if container.state is ContainerState.UNEXPECTED_STATE:
        return Refused(error=unexpected_state(container.serial, container.reason))
    if report.key_thumbprint != container.key_thumbprint:
        return Unexpected(reason=UnexpectedReason.KEY_MISMATCH)
    if report.fuc > container.fuc_issued:
        return Unexpected(reason=UnexpectedReason.FUC_TOO_NEW)
    if report.made_at == container.last_context_at:
        return Refused(
            error=ContextReplayed(
                "This context was used before. Make a new one and try again.", serial=container.serial
            )
        )
    if report.made_at < container.last_context_at:
        return Refused(
            error=ContextOutdated(
                "This context is older than one seen before. Make a new one and try again.",
                serial=container.serial,
            )
        )
    if report.fuc < container.fuc_confirmed:
        return Unexpected(reason=UnexpectedReason.FUC_TOO_OLD)
    return Fits(newly_proven=report.fuc > container.fuc_confirmed)


def unexpected_state(serial: str, reason: UnexpectedReason | None) -> ContainerUnexpectedState:
    """The error for a container in an unexpected state, with its reason in words."""
    known = reason or UnexpectedReason.KEY_MISMATCH
    kind = _ERROR_OF_REASON[known]
    return kind(
        f"Container {serial} is in an unexpected state: {_TEXT_OF_REASON[known]}. The vendor's staff has to"
        f" decide before anything"
        " else is programmed; nothing was changed on its licences.",
        serial=serial,
        reason=str(known),
    )
