"""Who is let in, from memory: one instance's policy and clients as a line holds them.

A check costs microseconds. The copy is at most one second old; before anybody is refused the database is
asked again, at most ten times a second however many are refused, so that a new secret works at once and a
flood of wrong ones costs nothing.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from app.core.clock import Clock, to_us
from app.core.db import MOST_AT_ONCE, Database, Reader, Tx
from app.core.errors import DatabaseUnavailable, DomainError
from app.core.ids import new_id
from app.core.json import JsonObject
from tenancy import errors
from tenancy.access import errors as access_errors
from tenancy.access import repository
from tenancy.access.client import repository as clients
from tenancy.access.client.certificate import read_certificate
from tenancy.access.decision import (
    Admitted,
    BasicCredentials,
    CallerCredentials,
    Decision,
    DenialKind,
    Denied,
    Use,
    decide,
)
from tenancy.access.failure import repository as failures
from tenancy.access.failure.log import FailureKey, FailureLog
from tenancy.access.failure.throttle import UNKNOWN, FailureGate, Suspect, network_of
from tenancy.access.policy import Address, InstanceProfile
from tenancy.access.rate import RateBuckets, RateState
from tenancy.access.revocation.verification import Verification
from tenancy.access.rule import AccessRules, AccessSnapshot
from tenancy.credential import CredentialKey

OLDEST: Final = timedelta(seconds=1)
"""A disabled client is out, a closed network shut, after this long at every line."""
_LOOKS: Final = 10
"""Looks into the database before refusals: at most so many at once, and so many a second."""
_LONGEST_WAIT_SECONDS: Final = 3.0
"""For what another thread is looking up, as for a connection; its own deadline is longer. Our own decision."""
_MOST_REMEMBERED: Final = 1000
"""Admitted callers kept in memory per instance; they are forgotten with every change of policy or clients."""
_FLUSH_USE: Final = timedelta(seconds=60)
"""How exactly `last_used_at` and failures are kept. Our own decision: it tells a forgotten client from one in use."""
_GUESSES: Final[frozenset[DenialKind]] = frozenset(
    {
        "credentials_invalid",
        "instance_not_found",
        "certificate_outdated",
        "certificate_not_for_clients",
        "certificate_of_closed_client",
        "certificate_of_other_client",
        "certificate_revoked",
        "certificate_not_verified",
    }
)
"""Refusals of what was sent; only these slow a caller down. Sending nothing, or from elsewhere, costs nobody."""


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
        # As many threads as may wait for the database itself: one that hangs must not hold all of a process's threads.
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._held: AccessSnapshot | None = None
        self._digest_key = secrets.token_bytes(32)
        self._admitted: tuple[AccessSnapshot | None, dict[bytes, Admitted]] = (None, {})
        self._seen_at = float("-inf")
        self._looks: float = _LOOKS
        self._looks_at = clock.monotonic()
        self._using = threading.Lock()
        self._used: dict[Use, int] = {}
        self._gate = FailureGate()
        self._failures = FailureLog()
        self._buckets = RateBuckets()
        self._flushed_at = clock.monotonic()

    def check(
        self,
        *,
        peer: Address,
        basic: BasicCredentials | None,
        certificate: bytes | None = None,
        verification: Verification = "good",
        counted: bool = True,
    ) -> Admitted:
        """Let a caller in or refuse him. May ask the database: call it in a worker thread.

        Args:
            certificate: the client certificate (DER) that the trusted front has checked.
            verification: what it found.
            counted: false for our own probe, which is neither slowed down nor noted, and takes no look from anybody.

        Raises:
            AccessDenied: with the reason.
            TooManyFailures: the credentials of a client of this instance are not looked at for a while.
            InstanceNotFound: the user name or the certificate is unknown here.
            InstanceNotReady: the instance has not been configured yet.
            DatabaseUnavailable: the copy is too old and the database does not answer, or too many wait for it.
        """
        call = CallerCredentials(peer=peer, basic=basic, certificate=certificate, verification=verification)
        self._refresh()
        held = self._snapshot()
        suspect = self._suspect(held.rules, call) if counted else None
        self._refuse_suspect(suspect)
        decision = self._decide(held, call)
        if isinstance(decision, Denied) and counted:
            fresh = self._look_again(held)
            decision = decision if fresh is held else self._decide(fresh, call)
        if isinstance(decision, Denied):
            if counted:
                self._note_failure(decision, call, suspect)
            raise refusal(decision)
        if suspect is not None:
            self._gate.note_success(suspect)
        return decision

    def check_held(
        self,
        *,
        peer: Address,
        basic: BasicCredentials | None,
        certificate: bytes | None = None,
        verification: Verification = "good",
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
        call = CallerCredentials(peer=peer, basic=basic, certificate=certificate, verification=verification)
        caller = self._digest(call)
        known = admitted.get(caller)
        if known is not None and not self._lasts(known):
            known = None
        if known is not None and not self._gate:
            self._note_use(known)
            return known
        suspect = self._suspect(held.rules, call)
        self._refuse_suspect(suspect)
        decision = known or self._decide(held, call)
        if not isinstance(decision, Admitted):
            return None
        self._note_use(decision)
        admitted[caller] = decision
        if suspect is not None:
            self._gate.note_success(suspect)
        return decision

    def take_token(self, admitted: Admitted) -> RateState:
        """Let a principal call once more at this line. Never blocks; for the thread of the event loop.

        Raises:
            RateLimited: he calls faster than he may.
        """
        return self._buckets.take(admitted.principal.name, admitted.rate, self._clock.monotonic())

    def profile(self) -> InstanceProfile:
        """What a line knows of its instance, at most one second old. May ask the database.

        Raises:
            InstanceNotReady: the instance has not been configured yet.
        """
        self._refresh()
        return self._snapshot().profile

    def held_profile(self) -> InstanceProfile | None:
        """As `profile`, from memory; None if the database has to be asked. Never blocks."""
        return None if self._held is None or self._is_old() else self._held.profile

    def held_web_services(self) -> bool:
        """Whether web services are contracted, as far as is known here; after `check`, at most a second old."""
        return self._held is not None and self._held.profile.web_services

    def fingerprints(self) -> Mapping[str, tuple[str, ...]]:
        """Fingerprints of the certificates that clients are known by, by user name; at most a second old.

        May ask the database.

        Raises:
            InstanceNotReady: the instance has not been configured yet.
            DatabaseUnavailable: the copy is too old and the database does not answer.
        """
        self._refresh()
        found: dict[str, tuple[str, ...]] = {}
        for fingerprint, pinned in self._snapshot().rules.by_fingerprint.items():
            username = pinned.known.client.username
            found[username] = (*found.get(username, ()), fingerprint)
        return found

    def flush_due(self) -> bool:
        """Whether it is time to call `flush_use`."""
        noted = self._used or self._failures or self._gate
        return bool(noted) and self._clock.monotonic() - self._flushed_at >= _FLUSH_USE.total_seconds()

    def flush_use(self) -> None:
        """Write down who has been let in and who refused since the last time, in one transaction.

        What could not be written is kept, and tried again a minute later.
        """
        with self._using:
            used, self._used = self._used, {}
            self._flushed_at = self._clock.monotonic()
        refused = self._failures.take()
        self._gate.forget_old(self._clock.monotonic())
        if not used and not refused:
            return

        def body(tx: Tx) -> JsonObject:
            clients.record_use(tx, _last_use(used))
            failures.add_failures(tx, refused)
            return {}

        try:
            self._db.run_tx(new_id("use"), body)
        except BaseException:
            self._failures.put_back(refused)
            with self._using:
                self._used = {**used, **self._used}
            raise

    def _snapshot(self) -> AccessSnapshot:
        if self._held is None:
            raise errors.InstanceNotReady("The instance is still being set up.")
        return self._held

    def _digest(self, call: CallerCredentials) -> bytes:
        """A caller's name in memory, under a key of this process; neither it nor its look-up tells of his secret."""
        user, secret = (part.encode(errors="surrogatepass") for part in call.basic or ("", ""))
        shown, found = call.certificate or b"", call.verification.encode()
        named = b"%d:%d:%d:%d:%b:" % (call.basic is not None, len(user), len(secret), len(shown), found)
        digest = blake2b(named, key=self._digest_key, digest_size=16)
        digest.update(user + secret + shown + call.peer.packed)
        return digest.digest()

    def _decide(self, held: AccessSnapshot, call: CallerCredentials) -> Decision:
        decision = decide(held.rules, call, key=self._key, now=self._clock.now())
        if isinstance(decision, Admitted):
            self._note_use(decision)
        return decision

    def _lasts(self, known: Admitted) -> bool:
        return known.valid_until is None or self._clock.now() < known.valid_until

    def _note_use(self, admitted: Admitted) -> None:
        """Remember what was used; the first time since the last write-down stands for all of them."""
        use = admitted.use
        if use is not None and use not in self._used:
            with self._using:
                self._used[use] = to_us(self._clock.now())

    def _suspect(self, rules: AccessRules, call: CallerCredentials) -> Suspect | None:
        """Who is slowed down if this call fails; None if it carries nothing that could be wrong."""
        if call.basic is not None:
            name = call.basic[0]
            return Suspect(name if name in rules.clients else UNKNOWN, network_of(call.peer))
        if call.certificate is None or "certificate" not in rules.policy.methods:
            return None
        try:
            claimed = rules.find_claimed(read_certificate(call.certificate))
        except access_errors.CertificateMalformed:
            claimed = None
        name = UNKNOWN if claimed is None else claimed.known.client.username
        return Suspect(name, network_of(call.peer))

    def _refuse_suspect(self, suspect: Suspect | None) -> None:
        if suspect is None or not self._gate:
            return
        pause = self._gate.pause(suspect, self._clock.monotonic())
        if pause > 0:
            if suspect.client == UNKNOWN:
                # What nobody here knows looks as if there were no such instance, however often it comes.
                self._failures.note(FailureKey(*suspect, "instance_not_found"), self._clock.now())
                raise refusal(Denied(kind="instance_not_found"))
            kind = access_errors.TooManyFailures
            self._failures.note(FailureKey(*suspect, kind.code), self._clock.now())
            raise kind(
                "Too many wrong credentials came from your network; none are looked at for a while.",
                expected_wait_seconds=math.ceil(pause),
            )

    def _note_failure(self, denied: Denied, call: CallerCredentials, suspect: Suspect | None) -> None:
        client = UNKNOWN if suspect is None else suspect.client
        self._failures.note(FailureKey(client, network_of(call.peer), denied.kind), self._clock.now())
        if suspect is not None and denied.kind in _GUESSES:
            self._gate.note_failure(suspect, self._clock.monotonic())

    def _is_old(self) -> bool:
        return self._clock.monotonic() - self._seen_at > OLDEST.total_seconds()

    def _refresh(self) -> None:
        """Make the copy no older than `OLDEST`; one thread looks, the others wait for what it finds."""
        if self._is_old():
            with self._turn_to_look() as turn:
                if self._is_old():
                    if not turn:
                        raise DatabaseUnavailable("The database is slow to answer; try again shortly.")
                    self._load()

    def _look_again(self, held: AccessSnapshot) -> AccessSnapshot:
        """Before somebody is refused by this copy: a newer one, if there is one and looking is not too dear."""
        with self._turn_to_look() as turn:
            if turn and self._held is held and self._take_look():
                self._load()
            return self._snapshot()

    @contextmanager
    def _turn_to_look(self) -> Iterator[bool]:
        """Waits until nobody else looks; false if that takes too long, or too many wait already."""
        if not self._places.acquire(blocking=False):
            yield False
            return
        try:
            turn = self._loading.acquire(timeout=_LONGEST_WAIT_SECONDS)
            try:
                yield turn
            finally:
                if turn:
                    self._loading.release()
        finally:
            self._places.release()

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


def _last_use(used: dict[Use, int]) -> clients.LastUse:
    found = clients.LastUse(clients={}, secrets={}, certificates={})
    for (client_id, secret_id, certificate_id), at in used.items():
        for ids, each in (
            (found.clients, client_id),
            (found.secrets, secret_id),
            (found.certificates, certificate_id),
        ):
            if each:
                ids[each] = max(at, ids.get(each, 0))
    return found


_REFUSAL_TEXT: Final[dict[DenialKind, tuple[type[errors.TenancyError], str]]] = {
    "access_closed": (errors.AccessClosed, "Nobody is let in until the customer has chosen who may call."),
    "network_not_allowed": (
        errors.NetworkNotAllowed,
        "Your address is in none of the networks that may call.",
    ),
    "certificate_missing": (errors.CertificateMissing, "A client certificate is needed."),
    "certificate_outdated": (
        access_errors.CertificateOutdated,
        "Your certificate, or that of its CA, is not valid now.",
    ),
    "certificate_not_for_clients": (
        access_errors.CertificateNotForClients,
        "Your certificate is not for clients: its extended key usage lacks clientAuth.",
    ),
    "certificate_of_closed_client": (
        access_errors.CertificateOfClosedClient,
        "The API client of your certificate is disabled or has expired.",
    ),
    "certificate_of_other_client": (
        access_errors.CertificateOfOtherClient,
        "Certificate and user name belong to different API clients.",
    ),
    "certificate_revoked": (
        access_errors.CertificateRevoked,
        "Your certificate has been revoked by the authority that issued it.",
    ),
    "revocation_list_outdated": (
        access_errors.RevocationListOutdated,
        "The revocation list of your certificate's authority has run out.",
    ),
    "certificate_not_verified": (
        access_errors.CertificateNotVerified,
        "Your certificate could not be verified.",
    ),
    "credentials_missing": (errors.CredentialsMissing, "Send the user name and secret of an API client."),
    "credentials_invalid": (
        errors.CredentialsInvalid,
        "The secret is wrong or has ended, or the API client is disabled or has expired.",
    ),
    "instance_not_found": (errors.InstanceNotFound, "There is no such instance."),
}
