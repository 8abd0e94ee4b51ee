"""What staff do about networks from which nobody is answered."""

from __future__ import annotations

from datetime import datetime

from app.core.clock import from_us, to_us
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.ids import new_id
from app.core.json import JsonObject
from tenancy.access.policy import parse_network
from tenancy.front import repository
from tenancy.front.denied import (
    LONGEST_REASON,
    MOST_DENIED,
    Denial,
    DeniedId,
    DeniedNetwork,
    check_until,
    read_denied,
)
from tenancy.front.errors import DeniedNetworkNotFound, DeniedNetworksTooMany, DeniedNetworkTaken
from tenancy.record import check_limit
from tenancy.transaction import carry_out


class DeniedNetworkService:
    """Denied networks in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def deny_network(
        self,
        network: str,
        *,
        reason: str,
        until: datetime | None = None,
        wide_confirmed: bool = False,
        command: Command | None = None,
    ) -> Done[DeniedNetwork]:
        """Answer nobody from a network, at every load balancer and line within a second.

        Raises:
            NetworkInvalid, NetworkTooWide: what is wrong with it.
            DeniedNetworkPast: it would have ended already.
            DeniedNetworkTaken: it is denied already.
            DeniedNetworksTooMany: as many are denied as can be.
        """
        read = read_denied(network, wide_confirmed=wide_confirmed)
        denied_id = DeniedId(new_id("dny"))

        def body(tx: Tx) -> JsonObject:
            check_until(until, now=tx.now)
            # Two at once conflict at the newest event of the chain: the later one runs again and counts the other.
            if repository.count_denied(tx, tx.now) >= MOST_DENIED:
                raise DeniedNetworksTooMany(f"At most {MOST_DENIED} networks are denied.", most=MOST_DENIED)
            denied = DeniedNetwork(
                denied_id=denied_id,
                network=read,
                reason=reason[:LONGEST_REASON],
                until=until,
                created_at=tx.now,
            )
            if not repository.add_denied(tx, denied):
                raise DeniedNetworkTaken("That network is denied already.", network=str(read))
            tx.emit("denied_network.added", subject=denied_id, data=_describe(denied))
            return {**_describe(denied), "denied_id": denied_id, "created_at_us": to_us(tx.now)}

        answer = carry_out(self._db, command, body)
        # Not looked up: a repeat gets the first answer, though the network may be denied no longer.
        return Done(value=_answered(answer.value), replayed=answer.replayed, created=not answer.replayed)

    def get_network(self, denied_id: DeniedId) -> DeniedNetwork:
        """Read one denied network.

        Raises:
            DeniedNetworkNotFound: there is none of that id.
        """
        found = self._db.read(lambda reader: repository.find_denied(reader, denied_id))
        if found is None:
            raise DeniedNetworkNotFound("There is no such denied network.")
        return found

    def list_networks(self, *, after: str = "", limit: int = 25) -> list[DeniedNetwork]:
        """Denied networks with an id above `after`, oldest first; also those that have ended.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_denied(reader, after=after, limit=limit))

    def list_in_force(self) -> list[DeniedNetwork]:
        """Networks that are denied now."""
        now = self._db.clock.now()
        return self._db.read(lambda reader: repository.list_in_force(reader, now))

    def list_denials(self) -> tuple[Denial, ...]:
        """What lines have to know of them, in the same order whenever it is the same."""
        return tuple(Denial(network=each.network, until=each.until) for each in self.list_in_force())

    def allow_network(self, denied_id: DeniedId, *, command: Command | None = None) -> Done[None]:
        """Answer a network again.

        Raises:
            DeniedNetworkNotFound: there is none of that id.
        """

        def body(tx: Tx) -> JsonObject:
            old = repository.find_denied(tx, denied_id)
            if old is None or not repository.remove_denied(tx, denied_id):
                raise DeniedNetworkNotFound("There is no such denied network.")
            tx.emit("denied_network.removed", subject=denied_id, data={}, before=_describe(old))
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=None, replayed=answer.replayed)


def _answered(value: JsonObject) -> DeniedNetwork:
    until = value["until"]
    return DeniedNetwork(
        denied_id=DeniedId(str(value["denied_id"])),
        network=parse_network(str(value["network"])),
        reason=str(value["reason"]),
        until=None if until is None else datetime.fromisoformat(str(until)),
        created_at=from_us(int(str(value["created_at_us"]))),
    )


def _describe(denied: DeniedNetwork) -> JsonObject:
    return {
        "network": str(denied.network),
        "reason": denied.reason,
        "until": None if denied.until is None else denied.until.isoformat(),
    }
