"""Where a change comes from: who, by which action, why. Written into the audit chain with everything that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from app.core.json import JsonObject, dump_json

ActorKind = Literal["client", "network", "holder", "staff", "system"]
"""An API client, somebody let in by his network, a ticket holder, a member of staff, wops itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who changes something.

    Attributes:
        actor_id: stable and impersonal, e.g. `cli_…`, `stk_…`, `network:192.0.2.0/24`, `sweeper`.
        person: id of the natural person, if one is known.
        sealed_name: the person's name under his own key; unreadable once that key is erased.
    """

    kind: ActorKind
    actor_id: str
    person: str | None = None
    sealed_name: str | None = None

    def to_text(self) -> str:
        """The form in which it is stored and hashed."""
        value: JsonObject = {"kind": self.kind, "id": self.actor_id}
        if self.person is not None:
            value["person"] = self.person
        if self.sealed_name is not None:
            value["sealed_name"] = self.sealed_name
        return dump_json(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The circumstances of a change, as the audit chain keeps them.

    Attributes:
        action: the OpenAPI operationId, or what wops does by itself, e.g. `provisionInstance.createDatabase`.
        request_id: of the HTTP request; empty if there was none.
        reason: what the actor gave as his reason; empty if nothing.
    """

    actor: Actor
    action: str
    request_id: str = ""
    reason: str = ""


def system_origin(action: str) -> Origin:
    """The origin of what wops does by itself."""
    return Origin(actor=Actor(kind="system", actor_id="wops"), action=action)


UNNAMED: Final = system_origin("housekeeping")
"""Where nobody said who asked: work that wops does by itself."""
