"""What staff say about self-healing: what it leaves alone, and that they have seen to a part."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from app.core.clock import to_text
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.json import JsonObject
from app.operations.reconcile import repository
from app.operations.reconcile.errors import PartNotFrozen, PauseNotFound
from app.operations.reconcile.observation import WHOLE_SCOPES
from app.operations.reconcile.record import Entry, Lease, Pause, check_end, check_scope
from tenancy.transaction import carry_out


class ReconcileService:
    """In the platform database; each change with its event. Thread-safe, blocking.

    Args:
        db: the platform database.
        known_scopes: parts and groups that can be paused. Blocking.
    """

    def __init__(self, db: Database, *, known_scopes: Callable[[], Collection[str]] = frozenset) -> None:
        self._db = db
        self.known_scopes = known_scopes

    def list_pauses(self) -> list[Pause]:
        """Pauses in force, by scope."""
        now = self._db.clock.now()
        return [each for each in self._db.read(repository.list_pauses) if each.is_in_force(now)]

    def list_alarms(self) -> list[Entry]:
        """What persons were called about and nobody has released yet, oldest first."""
        return self._db.read(repository.list_alarms)

    def find_lease(self) -> Lease | None:
        """Who acts, or did last."""
        return self._db.read(repository.find_lease)

    def list_entries(self, *, before: str, limit: int, part: str | None = None) -> list[Entry]:
        """The journal, newest first.

        Args:
            before: an entry's id, or empty.
            part: key of the part whose lines are wanted; None: of all.
        """
        return self._db.read(
            lambda reader: repository.list_entries(reader, before=before, limit=limit, part=part)
        )

    def pause(
        self, scope: str, *, reason: str, until: datetime | None, command: Command | None = None
    ) -> Done[Pause]:
        """Have something left alone, in place of an earlier pause of the same.

        Raises:
            PauseScopeUnfit, PauseEndUnfit: nothing can be paused like that.
        """
        known = {*WHOLE_SCOPES, *self.known_scopes()}

        def body(tx: Tx) -> JsonObject:
            check_scope(scope, known=known)
            check_end(until, now=tx.now)
            actor = tx.origin.actor.actor_id
            wanted = Pause(scope=scope, reason=reason, paused_by=actor, until=until, created_at=tx.now)
            before = repository.find_pause(tx, scope)
            repository.put_pause(tx, wanted)
            tx.emit("reconcile.paused", subject=scope, data=_told(wanted), before=_told(before))
            return _to_answer(wanted)

        answer = carry_out(self._db, command, body)
        # Not read again: somebody may have ended it meanwhile.
        return Done(value=_from_answer(scope, answer.value), replayed=answer.replayed)

    def resume(self, scope: str, *, command: Command | None = None) -> None:
        """Have it looked after again.

        Raises:
            PauseNotFound: it is not paused.
        """

        def body(tx: Tx) -> JsonObject:
            before = repository.find_pause(tx, scope)
            if before is None:
                raise PauseNotFound("Nothing is paused like that.", scope=scope[:100])
            repository.remove_pauses(tx, [scope])
            tx.emit("reconcile.resumed", subject=scope, data=_told(None), before=_told(before))
            return {}

        carry_out(self._db, command, body)

    def release(self, part: str, *, command: Command | None = None) -> bool:
        """Say that a person has seen to a part about which he was called: it is healed again. Whether it is a repeat.

        Raises:
            PartNotFrozen: nobody was called, or somebody has released it.
        """

        def body(tx: Tx) -> JsonObject:
            if not repository.release_part(tx, part, by=tx.origin.actor.actor_id):
                raise PartNotFrozen("Nobody was called about this part.", part=part[:100])
            tx.emit("reconcile.released", subject=part, data={})
            return {}

        return carry_out(self._db, command, body).replayed


def _to_answer(pause: Pause) -> JsonObject:
    return {
        "reason": pause.reason,
        "paused_by": pause.paused_by,
        "until": None if pause.until is None else to_text(pause.until),
        "created_at": to_text(pause.created_at),
    }


def _from_answer(scope: str, answer: JsonObject) -> Pause:
    until = answer["until"]
    return Pause(
        scope=scope,
        reason=str(answer["reason"]),
        paused_by=str(answer["paused_by"]),
        until=None if until is None else datetime.fromisoformat(str(until)),
        created_at=datetime.fromisoformat(str(answer["created_at"])),
    )


def _told(pause: Pause | None) -> JsonObject:
    """A pause, or that there is none, for whoever reads the audit."""
    if pause is None:
        return {"paused": False}
    until = None if pause.until is None else pause.until.isoformat()
    return {"paused": True, "until": until, "reason": pause.reason}
