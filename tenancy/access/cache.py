"""Who is let in, from memory: one instance's policy and clients as a line holds them.

A check costs microseconds. The copy is at most one second old; before anybody is refused the database is
asked again, at most ten times a second however many are refused, so that a new secret works at once and a
flood of wrong ones costs nothing.
"""

from __future__ import annotations

import secrets
import threading
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from app.core.clock import Clock, to_us
from app.core.db import Database, Reader, Tx
from app.core.errors import DomainError
from app.core.ids import ApiClientId, new_id
from app.core.json import JsonObject
from tenancy import errors
from tenancy.access import repository
from tenancy.access.decision import Admitted, BasicCredentials, Decision, DenialKind, Denied, decide
from tenancy.access.policy import AccessSnapshot, Address, InstanceProfile
from tenancy.credential import CredentialKey

OLDEST: Final = timedelta(seconds=1)
"""A disabled client is out, a closed network shut, after this long at every line."""
_LOOKS: Final = 10
"""Looks into the database before refusals: at most so many at once, and so many a second."""
_MOST_REMEMBERED: Final = 1000
"""Admitted callers kept in memory per instance; they are forgotten with every change of policy or clients."""
_FLUSH_USE: Final = timedelta(seconds=60)
"""How exactly `last_used_at` is kept. Our own decision: it tells a forgotten client from one in use."""


class AccessCache:
    """Decides about calls to one instance. Thread-safe.

    Args:
        db: the instance's database.
        clock: ages the copy.
        key: checks secrets.
    """

    def __init__(self, db: Database, *, clock: Clock, key: CredentialKey) -> None:
        self._db = db
        self._clock = clock
        self._key = key
        self._loading = threading.Lock()
        self._held: AccessSnapshot | None = None
        self._digest_key = secrets.token_bytes(32)
        self._admitted: tuple[AccessSnapshot | None, dict[bytes, Admitted]] = (None, {})
        self._seen_at = float("-inf")
        self._looks: float = _LOOKS
        self._looks_at = clock.monotonic()
        self._using = threading.Lock()
        self._used: dict[ApiClientId, int] = {}
        self._flushed_at = clock.monotonic()

    def check(self, *, peer: Address, basic: BasicCredentials | None, certificate: None = None) -> Admitted:
        """Let a caller in or refuse him. May ask the database: call it in a worker thread.

        Raises:
            AccessDenied: with the reason.
            InstanceNotFound: the user name is unknown here.
            InstanceNotReady: the instance has not been configured yet.
            DatabaseUnavailable: the copy is too old and the database does not answer.
        """
        self._refresh()
        held = self._snapshot()
        decision = self._decide(held, peer, basic, certificate)
        if isinstance(decision, Denied):
            fresh = self._look_again(held)
            decision = decision if fresh is held else self._decide(fresh, peer, basic, certificate)
        if isinstance(decision, Denied):
            raise refusal(decision)
        return decision

    def check_held(
        self, *, peer: Address, basic: BasicCredentials | None, certificate: None = None
    ) -> Admitted | None:
        """Let a caller in from memory alone; None if the database has to be asked (then call `check`). Never blocks."""
        held = self._held
        if held is None or self._is_old():
            return None
        # An HMAC costs more than all the rest of a check, and the same caller comes again and again.
        snapshot, admitted = self._admitted
        if snapshot is not held or len(admitted) >= _MOST_REMEMBERED:
            admitted = {}
            self._admitted = (held, admitted)
        caller = self._digest(peer, basic)
        known = admitted.get(caller)
        if known is not None:
            self._note_use(known)
            return known
        decision = self._decide(held, peer, basic, certificate)
        if not isinstance(decision, Admitted):
            return None
        admitted[caller] = decision
        return decision

    def _digest(self, peer: Address, basic: BasicCredentials | None) -> bytes:
        """A caller's name in memory, under a key of this process; neither it nor its look-up tells of his secret."""
        user, secret = (part.encode(errors="surrogatepass") for part in basic or ("", ""))
        named = b"%d:%d:%d:" % (basic is not None, len(user), len(secret))
        return blake2b(named + user + secret + peer.packed, key=self._digest_key, digest_size=16).digest()

    def profile(self) -> InstanceProfile:
        """What a line knows of its instance, at most one second old. May ask the database.

        Raises:
            InstanceNotReady: the instance has not been configured yet.
        """
        self._refresh()
        return self._snapshot().profile

    def held_web_services(self) -> bool:
        """Whether web services are contracted, as far as is known here; after `check`, at most a second old."""
        return self._held is not None and self._held.profile.web_services

    def flush_due(self) -> bool:
        """Whether it is time to call `flush_use`."""
        return bool(self._used) and self._clock.monotonic() - self._flushed_at >= _FLUSH_USE.total_seconds()

    def flush_use(self) -> None:
        """Write down which clients have been let in since the last time, in one transaction."""
        with self._using:
            used, self._used = self._used, {}
            self._flushed_at = self._clock.monotonic()
        if not used:
            return

        def body(tx: Tx) -> JsonObject:
            repository.record_use(tx, used)
            return {}

        self._db.run_tx(new_id("use"), body)

    def _snapshot(self) -> AccessSnapshot:
        if self._held is None:
            raise errors.InstanceNotReady("The instance is still being set up.")
        return self._held

    def _decide(
        self, held: AccessSnapshot, peer: Address, basic: BasicCredentials | None, certificate: None
    ) -> Decision:
        decision = decide(
            held.policy, held.clients, peer=peer, basic=basic, key=self._key, certificate=certificate
        )
        if isinstance(decision, Admitted):
            self._note_use(decision)
        return decision

    def _note_use(self, admitted: Admitted) -> None:
        """Remember that a client was let in; the first time since the last write-down stands for all of them."""
        client_id = admitted.principal.client_id
        if client_id is not None and client_id not in self._used:
            with self._using:
                self._used[client_id] = to_us(self._clock.now())

    def _is_old(self) -> bool:
        return self._clock.monotonic() - self._seen_at > OLDEST.total_seconds()

    def _refresh(self) -> None:
        """Make the copy no older than `OLDEST`; one thread looks, the others wait for what it finds."""
        if self._is_old():
            with self._loading:
                if self._is_old():
                    self._load()

    def _look_again(self, held: AccessSnapshot) -> AccessSnapshot:
        """Before somebody is refused by this copy: a newer one, if there is one and looking is not too dear."""
        with self._loading:
            if self._held is held and self._take_look():
                self._load()
            return self._snapshot()

    def _take_look(self) -> bool:
        """Whether one of the looks before a refusal is left; they come back with time."""
        now = self._clock.monotonic()
        self._looks = min(_LOOKS, self._looks + (now - self._looks_at) * _LOOKS)
        self._looks_at = now
        if self._looks < 1:
            return False
        self._looks -= 1
        return True

    def _load(self) -> None:
        looked_at = self._clock.monotonic()
        self._held = self._db.read(self._load_if_changed)
        self._seen_at = looked_at

    def _load_if_changed(self, reader: Reader) -> AccessSnapshot:
        if self._held is not None and repository.find_revision(reader) == self._held.revision:
            return self._held
        return repository.load_access(reader)


def refusal(denied: Denied) -> DomainError:
    """The error that tells a caller why he is not let in."""
    kind, message = _REFUSAL_TEXT[denied.kind]
    return kind(message)


_REFUSAL_TEXT: Final[dict[DenialKind, tuple[type[errors.TenancyError], str]]] = {
    "access_closed": (errors.AccessClosed, "Nobody is let in until the customer has chosen who may call."),
    "network_not_allowed": (
        errors.NetworkNotAllowed,
        "Your address is in none of the networks that may call.",
    ),
    "certificate_missing": (errors.CertificateMissing, "A client certificate is needed."),
    "credentials_missing": (errors.CredentialsMissing, "Send the user name and secret of an API client."),
    "credentials_invalid": (errors.CredentialsInvalid, "The secret is wrong, or the API client is disabled."),
    "instance_not_found": (errors.InstanceNotFound, "There is no such instance."),
}
