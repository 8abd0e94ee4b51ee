"""What is done about API clients, by their customer and by staff. One service serves both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from app.core.command import Command, Done
from app.core.db import Database, Reader, Tx, TxAnswer
from app.core.ids import ApiClientId, InstanceId, new_id
from app.core.json import JsonObject
from tenancy.access import repository as access
from tenancy.access.client import repository
from tenancy.access.client.lockout import CAREFUL, Insistence, check_lockout
from tenancy.access.client.record import (
    HIGHEST_RATE,
    LONGEST_OVERLAP,
    MOST_CLIENTS,
    OVERLAP,
    ApiClient,
)
from tenancy.access.errors import ClientExpiryPast, ClientsTooMany, OverlapUnfit, RateUnfit
from tenancy.access.policy import Scope
from tenancy.credential import CLIENT_SECRET_PREFIX, CredentialKey, make_secret
from tenancy.errors import NameTaken
from tenancy.instance import InstanceOpener
from tenancy.name import check_name, make_username
from tenancy.transaction import carry_out

_NOTICE: Final = timedelta(hours=24)
"""An expiry that is nearer than this counts as shutting out; a later one leaves time to notice. Our own decision."""


T = TypeVar("T")


class _Unchanged:
    """Stands for a field that is left as it is; None is a value there."""


UNCHANGED: Final = _Unchanged()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """An API client with its new secret.

    Attributes:
        secret: shown this once; None when the call was a repeat, because nobody keeps secrets. Rotate it if
            the first answer was lost.
    """

    client: ApiClient
    secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Until when a new API client may call, and how fast.

    Attributes:
        expires_at: None: for ever.
        rate_per_second, burst: None: the platform's own.
        highest: that whoever asks may give of both.
    """

    expires_at: datetime | None = None
    rate_per_second: int | None = None
    burst: int | None = None
    highest: int = HIGHEST_RATE


_NO_LIMITS: Final = ClientLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientChange:
    """What is to be changed of an API client.

    Attributes:
        expires_at: None: never.
        rate_per_second, burst: None: the platform's own.
        highest: that whoever asks may give of both.
    """

    name: str | _Unchanged = UNCHANGED
    scopes: frozenset[Scope] | _Unchanged = UNCHANGED
    expires_at: datetime | _Unchanged | None = UNCHANGED
    rate_per_second: int | _Unchanged | None = UNCHANGED
    burst: int | _Unchanged | None = UNCHANGED
    highest: int = HIGHEST_RATE


ClientEdit = Callable[[Tx, ApiClient], JsonObject]
"""A change of one client within a transaction; returns what the operation answers."""


class ClientService:
    """API clients of instances. Each method is one transaction in the instance's database; thread-safe, blocking.

    The same command again changes nothing. Without a command, each call is an operation of its own. Every method
    raises `InstanceNotFound` or `InstanceNotReady` for an instance, and `ClientNotFound` for a client, that is not
    there; those that take an `insistence` raise `WouldLockOutCaller` and `WouldLockOutEverybody`.
    """

    def __init__(self, opener: InstanceOpener, *, key: CredentialKey) -> None:
        self._opener = opener
        self._key = key

    def add_client(
        self,
        instance_id: InstanceId,
        *,
        name: str,
        scopes: frozenset[Scope],
        limits: ClientLimits = _NO_LIMITS,
        command: Command | None = None,
    ) -> Done[ClientCredentials]:
        """Add an API client with a generated user name and secret.

        Raises:
            NameUnfit, NameTaken: the client's name.
            ClientsTooMany: the instance has as many as it can have.
            ClientExpiryPast, RateUnfit: of the limits.
            OperationIdReused: the command came before with another name or other scopes.
        """
        instance, db = self._opener.open_ready(instance_id)
        client_id, secret = ApiClientId(new_id("cli")), make_secret(CLIENT_SECRET_PREFIX)
        for field, value in (("rate_per_second", limits.rate_per_second), ("burst", limits.burst)):
            _check_rate(field, value, highest=limits.highest)
        new = repository.NewClient(
            client_id=client_id,
            name=check_name(name),
            username=make_username(instance.name, name),
            secret_id=new_id("sec"),
            secret_hash=self._key.hash_secret(secret, owner=client_id),
            scopes=scopes,
            expires_at=limits.expires_at,
            rate_per_second=limits.rate_per_second,
            burst=limits.burst,
        )

        def body(tx: Tx) -> JsonObject:
            access.touch(tx)
            _check_expiry(tx, limits.expires_at)
            if repository.count_clients(tx) >= MOST_CLIENTS:
                raise ClientsTooMany(
                    f"An instance has at most {MOST_CLIENTS} API clients.", most=MOST_CLIENTS
                )
            if repository.find_named(tx, name) is not None or not repository.add_client(tx, new):
                raise NameTaken("This instance has an API client of that name.", name=name)
            added = repository.get_client(tx, client_id)
            tx.emit("access.client_added", subject=client_id, data=describe_client(added))
            return {"client_id": client_id}

        answer = carry_out(db, command, body)
        return _show(db, str(answer.value["client_id"]), None if answer.replayed else secret)

    def rotate_client(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        *,
        overlap: timedelta = OVERLAP,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[ClientCredentials]:
        """Give an API client a new secret; the old one goes on beside it for a while.

        Rotated again meanwhile, e.g. because the first answer was lost, the client keeps the oldest secret that
        lives and the newest one, until they end: three at most, with the new one.

        Args:
            overlap: 0 to 168 hours; with 0 every older secret ends at once, at every line within a second.

        Raises:
            OverlapUnfit: see `overlap`.
        """
        _, db = self._opener.open_ready(instance_id)
        if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
            raise OverlapUnfit("The old secret goes on for 0 to 168 hours.", field="overlap_hours")
        secret, secret_id = make_secret(CLIENT_SECRET_PREFIX), new_id("sec")
        secret_hash = self._key.hash_secret(secret, owner=client_id)

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            known = repository.get_known(tx, client.client_id)
            old_ends = tx.now + overlap
            repository.rotate_secret(
                tx, known, secret_id=secret_id, secret_hash=secret_hash, old_ends=old_ends
            )
            kept = repository.get_client(tx, client.client_id)
            tx.emit(
                "access.client_rotated",
                subject=client.client_id,
                data=_describe_secrets(kept),
                before=_describe_secrets(client),
            )
            return {"client_id": client.client_id}

        answer = self._edit(db, client_id, edit, insistence=insistence, command=command)
        return _show(db, client_id, None if answer.replayed else secret)

    def change_client(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        change: ClientChange,
        *,
        expected_version: int,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[ApiClient]:
        """Rename an API client, or give it other scopes, another expiry or rate. Its user name stays.

        Raises:
            ClientVersionConflict: it has been changed since the caller read it.
            NameUnfit, NameTaken, ClientExpiryPast, RateUnfit: what cannot be had.
        """
        _, db = self._opener.open_ready(instance_id)

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            wanted = _apply(client, change)
            _check_change(tx, client, wanted, highest=change.highest)
            repository.change_client(tx, wanted, expected_version=expected_version)
            before, after = describe_client(client), describe_client(wanted)
            changed = [name for name in after if after[name] != before[name]]
            tx.emit(
                "access.client_changed",
                subject=client.client_id,
                data={name: after[name] for name in changed},
                before={name: before[name] for name in changed},
            )
            return {}

        at = None if isinstance(change.expires_at, _Unchanged) else change.expires_at
        answer = self._edit(db, client_id, edit, insistence=insistence, command=command, at=at)
        return _shown(db, client_id, answer)

    def disable_client(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        *,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[ApiClient]:
        """Shut an API client out, at every line within a second. Doing it twice changes nothing."""
        _, db = self._opener.open_ready(instance_id)

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            if repository.disable_client(tx, client.client_id):
                tx.emit(
                    "access.client_disabled",
                    subject=client.client_id,
                    data={"disabled": True},
                    before={"disabled": False},
                )
            return {}

        answer = self._edit(db, client_id, edit, insistence=insistence, command=command)
        return _shown(db, client_id, answer)

    def enable_client(
        self, instance_id: InstanceId, client_id: ApiClientId, *, command: Command | None = None
    ) -> Done[ApiClient]:
        """Let an API client in again that was shut out. Doing it twice changes nothing."""
        _, db = self._opener.open_ready(instance_id)

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            if repository.enable_client(tx, client.client_id):
                tx.emit(
                    "access.client_enabled",
                    subject=client.client_id,
                    data={"disabled": False},
                    before={"disabled": True},
                )
            return {}

        answer = self._edit(db, client_id, edit, insistence=CAREFUL, command=command)
        return _shown(db, client_id, answer)

    def remove_client(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        *,
        insistence: Insistence = CAREFUL,
        command: Command | None = None,
    ) -> Done[None]:
        """Remove an API client with its secrets and certificates. Its name may be given again."""

        def edit(tx: Tx, client: ApiClient) -> JsonObject:
            repository.remove_client(tx, client.client_id)
            tx.emit(
                "access.client_removed", subject=client.client_id, data={}, before=describe_client(client)
            )
            return {}

        _, answer = self.edit_client(instance_id, client_id, edit, insistence=insistence, command=command)
        return Done(value=None, replayed=answer.replayed)

    def get_client(self, instance_id: InstanceId, client_id: ApiClientId) -> ApiClient:
        """Read one API client."""
        _, db = self._opener.open_ready(instance_id)
        return db.read(lambda reader: repository.get_client(reader, client_id))

    def list_clients(self, instance_id: InstanceId) -> list[ApiClient]:
        """All API clients by name, the disabled ones too."""
        _, db = self._opener.open_ready(instance_id)
        return db.read(lambda reader: [each.client for each in repository.list_known(reader)])

    def edit_client(
        self,
        instance_id: InstanceId,
        client_id: ApiClientId,
        edit: ClientEdit,
        *,
        insistence: Insistence,
        command: Command | None,
    ) -> tuple[Database, TxAnswer]:
        """Change something of a client in one transaction, unless that would lock somebody out."""
        _, db = self._opener.open_ready(instance_id)
        answer = self._edit(db, client_id, edit, insistence=insistence, command=command)
        self._opener.note_access(instance_id)
        return db, answer

    def _edit(
        self,
        db: Database,
        client_id: ApiClientId,
        edit: ClientEdit,
        *,
        insistence: Insistence,
        command: Command | None,
        at: datetime | None = None,
    ) -> TxAnswer:
        """Touch, read, change, and look who can come in afterwards; all in one transaction.

        Args:
            at: an instant, if it is near, at which the change shuts out; now if left out.
        """

        def body(tx: Tx) -> JsonObject:
            access.touch(tx)
            before = access.load_rules(tx)
            answer = edit(tx, repository.get_client(tx, client_id))
            judged_at = at if at is not None and at - tx.now <= _NOTICE else tx.now
            check_lockout(before, access.load_rules(tx), insistence, key=self._key, now=judged_at)
            return answer

        return carry_out(db, command, body)


def describe_client(client: ApiClient) -> JsonObject:
    """What events say of a client."""
    return {
        "name": client.name,
        "scopes": sorted(client.scopes),
        "expires_at": None if client.expires_at is None else client.expires_at.isoformat(),
        "rate_per_second": client.rate_per_second,
        "burst": client.burst,
    }


def _describe_secrets(client: ApiClient) -> JsonObject:
    return {
        "secrets": [
            {
                "secret_id": each.secret_id,
                "ends_at": None if each.ends_at is None else each.ends_at.isoformat(),
            }
            for each in client.secrets
        ]
    }


def _apply(client: ApiClient, change: ClientChange) -> ApiClient:
    return replace(
        client,
        name=_changed(change.name, client.name),
        scopes=_changed(change.scopes, client.scopes),
        expires_at=_changed(change.expires_at, client.expires_at),
        rate_per_second=_changed(change.rate_per_second, client.rate_per_second),
        burst=_changed(change.burst, client.burst),
    )


def _changed(wanted: T | _Unchanged, now: T) -> T:
    return now if isinstance(wanted, _Unchanged) else wanted


def _check_change(tx: Tx, client: ApiClient, wanted: ApiClient, *, highest: int) -> None:
    if wanted.name != client.name:
        check_name(wanted.name)
        if repository.find_named(tx, wanted.name) is not None:
            raise NameTaken("This instance has an API client of that name.", name=wanted.name)
    if wanted.expires_at != client.expires_at:
        _check_expiry(tx, wanted.expires_at)
    if wanted.rate_per_second != client.rate_per_second:
        _check_rate("rate_per_second", wanted.rate_per_second, highest=highest)
    if wanted.burst != client.burst:
        _check_rate("burst", wanted.burst, highest=highest)


def _check_expiry(reader: Reader, expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= reader.now:
        raise ClientExpiryPast(
            "That time is over; disable the client to shut it out now.", field="expires_at"
        )


def _check_rate(field: str, value: int | None, *, highest: int) -> None:
    if value is not None and not 1 <= value <= highest:
        raise RateUnfit(f"{field} is 1 to {highest} requests.", field=field, highest=highest)


def _shown(db: Database, client_id: ApiClientId, answer: TxAnswer) -> Done[ApiClient]:
    client = db.read(lambda reader: repository.get_client(reader, client_id))
    return Done(value=client, replayed=answer.replayed)


def _show(db: Database, client_id: str, secret: str | None) -> Done[ClientCredentials]:
    client = db.read(lambda reader: repository.get_client(reader, ApiClientId(client_id)))
    credentials = ClientCredentials(client=client, secret=secret)
    return Done(value=credentials, replayed=secret is None, created=secret is not None)
