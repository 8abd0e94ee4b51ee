"""Bearer tokens of staff."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, cast

from app.core.clock import Clock
from app.core.command import Command, Done
from app.core.db import Database, Tx
from app.core.errors import InputInvalid
from app.core.ids import new_id
from app.core.json import JsonObject
from tenancy.credential import STAFF_TOKEN_PREFIX, CredentialKey, make_secret
from tenancy.errors import ExpiryUnfit, RoleUnknown, StaffTokenInvalid
from tenancy.record import check_limit
from tenancy.staff import repository
from tenancy.staff.errors import OverlapUnfit, StaffTokenEnded
from tenancy.staff.person import PersonKeys, person_maker
from tenancy.staff.record import STAFF_ROLES, StaffCredentials, StaffPrincipal, StaffRole, StaffToken
from tenancy.transaction import carry_out

OVERLAP: Final = timedelta(hours=24)
"""How long the old secret holds after a rotation unless somebody says otherwise. Our own decision: a working day."""
LONGEST_OVERLAP: Final = timedelta(hours=168)
_OWNER: Final = "staff"
"""Tokens are found by their hash, so all hashes belong to one owner."""
_LONGEST_NAME: Final = 120
_LONGEST_TOKEN: Final = 256
_LONGEST_LIFE: Final = timedelta(days=366)
"""Our own decision: a token outlives nobody by more than a year."""


class StaffTokenService:
    """Staff tokens in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database, *, key: CredentialKey, clock: Clock) -> None:
        self._db = db
        self._key = key
        self._people = PersonKeys(key)
        self._clock = clock

    def add_token(
        self, name: str, role: str, *, person: str, expires_at: datetime, command: Command | None = None
    ) -> Done[StaffCredentials]:
        """Make a token; its secret is in this answer and nowhere else.

        Args:
            name: what the token is for.
            role: what it may do.
            person: whose it is, e.g. an e-mail address; made known to wops if he is new.

        Raises:
            RoleUnknown, ExpiryUnfit, InputInvalid, PersonLocal: what cannot be had.
        """
        self._check(name, role, expires_at)
        find_person = person_maker(self._people, person)
        token_id, secret = new_id("stk"), make_secret(STAFF_TOKEN_PREFIX)

        def body(tx: Tx) -> JsonObject:
            token = StaffToken(
                token_id=token_id,
                name=name,
                role=cast(StaffRole, role),
                created_at=tx.now,
                expires_at=expires_at,
                revoked_at=None,
                person_id=find_person(tx),
            )
            repository.add_token(tx, token, token_hash=self._key.hash_secret(secret, owner=_OWNER))
            tx.emit("staff_token.added", subject=token_id, data={"role": role, "person_id": token.person_id})
            return {"token_id": token_id}

        answer = carry_out(self._db, command, body)
        token = self.get_token(str(answer.value["token_id"]))
        credentials = StaffCredentials(token=token, secret=None if answer.replayed else secret)
        return Done(value=credentials, replayed=answer.replayed, created=not answer.replayed)

    def check(self, secret: str) -> StaffPrincipal:
        """Who holds this token.

        Raises:
            StaffTokenInvalid: nobody, or it has expired or been revoked.
        """
        found, now = None, self._clock.now()
        if secret.startswith(STAFF_TOKEN_PREFIX) and len(secret) <= _LONGEST_TOKEN:
            # Looked up by a keyed hash: how long that takes says nothing about secrets.
            digest = self._key.hash_secret(secret, owner=_OWNER)
            found = self._db.read(lambda reader: repository.find_by_hash(reader, digest, at=now))
        if found is None or not found[0].holds(now):
            raise StaffTokenInvalid("The staff token is unknown, expired or revoked.")
        token, sealed_name = found
        return StaffPrincipal(
            token_id=token.token_id, role=token.role, person_id=token.person_id, sealed_name=sealed_name
        )

    def rotate(
        self, token_id: str, *, overlap: timedelta = OVERLAP, command: Command | None = None
    ) -> Done[StaffCredentials]:
        """Give a token another secret; the one before holds until `overlap` is over.

        Rotated again meanwhile, e.g. because the answer was lost, the first one goes on holding until its own end and
        the one in between ends at once. With an overlap of 0 all older ones end at once.

        Raises:
            OverlapUnfit: not 0 to 168 hours.
            StaffTokenNotFound, StaffTokenEnded: there is nothing to rotate.
        """
        if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
            raise OverlapUnfit("The old secret holds for 0 to 168 hours.", field="overlap_hours")
        secret = make_secret(STAFF_TOKEN_PREFIX)
        digest = self._key.hash_secret(secret, owner=_OWNER)

        def body(tx: Tx) -> JsonObject:
            ends_at = tx.now + overlap
            if not repository.rotate_token(tx, token_id, token_hash=digest, previous_ends_at=ends_at):
                repository.get_token(tx, token_id)
                raise StaffTokenEnded("This token has expired or been revoked; have a new one made.")
            hours = overlap / timedelta(hours=1)
            tx.emit("staff_token.rotated", subject=token_id, data={"overlap_hours": hours})
            return {}

        answer = carry_out(self._db, command, body)
        credentials = StaffCredentials(
            token=self.get_token(token_id), secret=None if answer.replayed else secret
        )
        return Done(value=credentials, replayed=answer.replayed)

    def revoke(self, token_id: str, *, command: Command | None = None) -> Done[StaffToken]:
        """End a token at once. Doing it twice changes nothing.

        Raises:
            StaffTokenNotFound: there is none of that id.
        """

        def body(tx: Tx) -> JsonObject:
            if repository.revoke_token(tx, token_id):
                tx.emit(
                    "staff_token.revoked",
                    subject=token_id,
                    data={"state": "revoked"},
                    before={"state": "active"},
                )
            repository.get_token(tx, token_id)
            return {}

        answer = carry_out(self._db, command, body)
        return Done(value=self.get_token(token_id), replayed=answer.replayed)

    def get_token(self, token_id: str) -> StaffToken:
        """Read one token.

        Raises:
            StaffTokenNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_token(reader, token_id))

    def list_tokens(self, *, after: str = "", limit: int = 25) -> list[StaffToken]:
        """Tokens with an id above `after`, oldest first, those that ended too.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_tokens(reader, after=after, limit=limit))

    def _check(self, name: str, role: str, expires_at: datetime) -> None:
        if role not in STAFF_ROLES:
            raise RoleUnknown("There is no such staff role.", known=list(STAFF_ROLES))
        if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InputInvalid("A token's name has 1 to 120 printable characters.", field="name")
        life = expires_at - self._clock.now()
        if not timedelta(0) < life <= _LONGEST_LIFE:
            raise ExpiryUnfit("A token expires in the future, within 366 days.", field="expires_at")
