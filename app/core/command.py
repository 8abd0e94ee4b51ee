"""Who asks for a change: the operation id it runs under, and what it costs the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from app.core.ids import new_id
from app.core.origin import UNNAMED, Origin

if TYPE_CHECKING:
    from app.core.db import Tx

T = TypeVar("T")


def free_of_charge(_tx: Tx) -> None:
    """A change that no meter counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The circumstances of one change.

    Attributes:
        op_id: the same id carries the change out once.
        fingerprint: digest of the request, so that an id cannot be used for two different ones.
        charge: counts the call in the transaction of its effect; may refuse. Not called when nothing new happens.
        origin: who asks, by which action and why; stands in the audit chain.
    """

    op_id: str = field(default_factory=lambda: new_id("op"))
    fingerprint: str = ""
    charge: Callable[[Tx], None] = free_of_charge
    origin: Origin = UNNAMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """What came of a change.

    Attributes:
        replayed: the same thing had been done before; nothing changed and nothing was counted.
        created: something came into being that was not there before.
    """

    value: T
    replayed: bool
    created: bool = False
