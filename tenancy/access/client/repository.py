"""SQL of API clients, their secrets and their certificates. Call `tenancy.access.repository.touch` before a change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.elements import BindParameter

from app.core.clock import from_us, to_us
from app.core.db import Reader, Row, Tx
from app.core.ids import ApiClientId
from app.core.json import dump_json, load_json
from tenancy.access import tables
from tenancy.access.client.record import ApiClient, CertificatePin, ClientSecret, KnownClient, PinKind
from tenancy.access.errors import CertificateNotFound, ClientVersionConflict
from tenancy.access.policy import Scope
from tenancy.errors import ClientNotFound

_client = tables.api_client
_secret = tables.client_secret
_pin = tables.client_certificate

_OF_CLIENT: Final[BindParameter[str]] = bindparam("b_client")
_CLIENTS = select(_client).order_by(_client.c.name)
_CLIENT = select(_client).where(_client.c.client_id == _OF_CLIENT)
_COUNT = select(func.count().label("n")).select_from(_client)
_NAMED = select(_client.c.client_id).where(_client.c.name == bindparam("b_name"))
_ADD_CLIENT = insert(_client)
_CHANGE = (
    update(_client)
    .where(_client.c.client_id == _OF_CLIENT, _client.c.version == bindparam("b_expected"))
    .values(
        name=bindparam("b_name"),
        scopes=bindparam("b_scopes"),
        expires_at_us=bindparam("b_expires"),
        rate_per_second=bindparam("b_rate"),
        burst=bindparam("b_burst"),
        version=_client.c.version + 1,
    )
)
_DISABLE = (
    update(_client)
    .where(_client.c.client_id == _OF_CLIENT, _client.c.disabled_at_us.is_(None))
    .values(disabled_at_us=bindparam("b_now"), version=_client.c.version + 1)
)
_ENABLE = (
    update(_client)
    .where(_client.c.client_id == _OF_CLIENT, _client.c.disabled_at_us.is_not(None))
    .values(disabled_at_us=None, version=_client.c.version + 1)
)
_REMOVE_CLIENT = delete(_client).where(_client.c.client_id == _OF_CLIENT)
_NEWEST_HASH = (
    update(_client)
    .where(_client.c.client_id == _OF_CLIENT)
    .values(secret_hash=bindparam("b_secret_hash"), version=_client.c.version + 1)
)

_SECRETS = select(_secret).order_by(_secret.c.created_at_us.desc(), _secret.c.secret_id.desc())
_SECRETS_OF = _SECRETS.where(_secret.c.client_id == _OF_CLIENT)
_ADD_SECRET = insert(_secret)
_REMOVE_SECRETS = delete(_secret).where(_secret.c.client_id == _OF_CLIENT)

_PINS = select(_pin).order_by(_pin.c.created_at_us, _pin.c.certificate_id)
_PINS_OF = _PINS.where(_pin.c.client_id == _OF_CLIENT)
_ADD_PIN = insert(_pin)
_REMOVE_PIN = delete(_pin).where(_pin.c.client_id == _OF_CLIENT, _pin.c.certificate_id == bindparam("b_pin"))
_REMOVE_PINS = delete(_pin).where(_pin.c.client_id == _OF_CLIENT)


def _used(table: Any, id_column: Any) -> ClauseElement:
    return (
        update(table)
        .where(
            id_column == bindparam("b_id"),
            (table.c.last_used_us.is_(None)) | (table.c.last_used_us < bindparam("b_used")),
        )
        .values(last_used_us=bindparam("b_used"))
    )


_CLIENT_USED = _used(_client, _client.c.client_id)
_SECRET_USED = _used(_secret, _secret.c.secret_id)
_PIN_USED = _used(_pin, _pin.c.certificate_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """An API client to be stored, with its first secret."""

    client_id: ApiClientId
    name: str
    username: str
    secret_id: str
    secret_hash: str
    scopes: frozenset[Scope]
    expires_at: datetime | None = None
    rate_per_second: int | None = None
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUse:
    """When clients, secrets and certificates were used last: ids and microseconds since 1970."""

    clients: dict[str, int]
    secrets: dict[str, int]
    certificates: dict[str, int]


def add_client(tx: Tx, new: NewClient) -> bool:
    """Store an API client. False if the user name is taken."""
    added = tx.insert_if_absent(
        _ADD_CLIENT,
        {
            "client_id": new.client_id,
            "name": new.name,
            "username": new.username,
            "secret_hash": new.secret_hash,
            "scopes": dump_json(sorted(new.scopes)),
            "created_at_us": to_us(tx.now),
            "disabled_at_us": None,
            "last_used_us": None,
            "expires_at_us": _us(new.expires_at),
            "rate_per_second": new.rate_per_second,
            "burst": new.burst,
            "version": 1,
        },
    )
    if added:
        first = ClientSecret(secret_id=new.secret_id, created_at=tx.now)
        _insert_secret(tx, new.client_id, first, secret_hash=new.secret_hash)
    return added


def count_clients(reader: Reader) -> int:
    """How many API clients there are."""
    return cast(int, reader.scalar(_COUNT))


def find_named(reader: Reader, name: str) -> ApiClientId | None:
    """The client of that name."""
    found = reader.scalar(_NAMED, {"b_name": name})
    return None if found is None else ApiClientId(str(found))


def get_client(reader: Reader, client_id: ApiClientId) -> ApiClient:
    """Read one API client.

    Raises:
        ClientNotFound: the instance has none of that id.
    """
    return get_known(reader, client_id).client


def get_known(reader: Reader, client_id: ApiClientId) -> KnownClient:
    """Read one API client with the hashes of its secrets.

    Raises:
        ClientNotFound: the instance has none of that id.
    """
    of_client = {"b_client": client_id}
    row = reader.first(_CLIENT, of_client)
    if row is None:
        raise ClientNotFound("There is no such API client.")
    return _to_known(row, reader.all(_SECRETS_OF, of_client), reader.all(_PINS_OF, of_client))


def list_known(reader: Reader) -> list[KnownClient]:
    """All API clients by name, the disabled ones too, with the hashes of their secrets."""
    secrets, pins = _by_client(reader.all(_SECRETS)), _by_client(reader.all(_PINS))
    return [_to_known(row, secrets[row.client_id], pins[row.client_id]) for row in reader.all(_CLIENTS)]


def change_client(tx: Tx, client: ApiClient, *, expected_version: int) -> None:
    """Replace what a customer can change of a client.

    Raises:
        ClientVersionConflict: somebody else has changed it.
    """
    changed = tx.write(
        _CHANGE,
        {
            "b_client": client.client_id,
            "b_expected": expected_version,
            "b_name": client.name,
            "b_scopes": dump_json(sorted(client.scopes)),
            "b_expires": _us(client.expires_at),
            "b_rate": client.rate_per_second,
            "b_burst": client.burst,
        },
    )
    if changed != 1:
        raise ClientVersionConflict(
            "The API client has been changed since you read it; read it again.", expected=expected_version
        )


def disable_client(tx: Tx, client_id: ApiClientId) -> bool:
    """Shut an API client out. False if it was shut out before."""
    return tx.write(_DISABLE, {"b_client": client_id, "b_now": to_us(tx.now)}) == 1


def enable_client(tx: Tx, client_id: ApiClientId) -> bool:
    """Let an API client in again. False if it was not shut out."""
    return tx.write(_ENABLE, {"b_client": client_id}) == 1


def remove_client(tx: Tx, client_id: ApiClientId) -> None:
    """Remove an API client with everything it proves itself with."""
    for statement in (_REMOVE_SECRETS, _REMOVE_PINS, _REMOVE_CLIENT):
        tx.write(statement, {"b_client": client_id})


def rotate_secret(
    tx: Tx, known: KnownClient, *, secret_id: str, secret_hash: str, old_ends: datetime
) -> None:
    """Give a client a new secret; of the others the newest and the oldest that lives go on until they end.

    If the answer to the last rotation was lost, nobody has its secret, and the oldest is the one in use; if it was
    not, the newest may be. What lies between them ends now.

    Args:
        known: as `get_known` has just read it in this transaction.
        old_ends: none of the others lives longer; not in the future: all of them end now.
    """
    client_id = known.client.client_id
    ending = [
        (replace(each, ends_at=old_ends if each.ends_at is None else min(old_ends, each.ends_at)), stored)
        for each, stored in zip(known.client.secrets, known.hashes, strict=True)
    ]
    living = [(each, stored) for each, stored in ending if each.is_live(tx.now)]
    # All of them go, those too that an older wops has left behind when it gave the client a new one.
    tx.write(_REMOVE_SECRETS, {"b_client": client_id})
    for each, stored in living if len(living) <= 2 else (living[0], living[-1]):
        _insert_secret(tx, client_id, each, secret_hash=stored)
    new = ClientSecret(secret_id=secret_id, created_at=tx.now)
    _insert_secret(tx, client_id, new, secret_hash=secret_hash)
    # Lines of an older wops know this column alone.
    tx.write(_NEWEST_HASH, {"b_client": client_id, "b_secret_hash": secret_hash})


def _insert_secret(tx: Tx, client_id: ApiClientId, secret: ClientSecret, *, secret_hash: str) -> None:
    tx.write(
        _ADD_SECRET,
        {
            "secret_id": secret.secret_id,
            "client_id": client_id,
            "secret_hash": secret_hash,
            "created_at_us": to_us(secret.created_at),
            "ends_at_us": _us(secret.ends_at),
            "last_used_us": _us(secret.last_used_at),
        },
    )


def add_pin(tx: Tx, pin: CertificatePin) -> None:
    """Store by which certificates a client is known."""
    tx.write(
        _ADD_PIN,
        {
            "certificate_id": pin.certificate_id,
            "client_id": pin.client_id,
            "kind": pin.kind,
            "fingerprint": pin.fingerprint,
            "issuer": pin.issuer,
            "subject": pin.subject,
            "not_after_us": to_us(pin.not_after),
            "created_at_us": to_us(pin.created_at),
            "last_used_us": None,
        },
    )


def remove_pin(tx: Tx, client_id: ApiClientId, certificate_id: str) -> None:
    """Forget a certificate of a client.

    Raises:
        CertificateNotFound: the client has none of that id.
    """
    if tx.write(_REMOVE_PIN, {"b_client": client_id, "b_pin": certificate_id}) != 1:
        raise CertificateNotFound("The API client has no such certificate.")


def record_use(tx: Tx, used: LastUse) -> None:
    """Store what was last used when; never goes back."""
    for statement, times in (
        (_CLIENT_USED, used.clients),
        (_SECRET_USED, used.secrets),
        (_PIN_USED, used.certificates),
    ):
        tx.write_many(statement, [{"b_id": each, "b_used": at} for each, at in sorted(times.items())])


def _by_client(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.client_id].append(row)
    return found


def _to_known(row: Row, secrets: Sequence[Row], pins: Sequence[Row]) -> KnownClient:
    if row.secret_hash in {each.secret_hash for each in secrets}:
        shown = tuple(_to_secret(each) for each in secrets)
        stored = tuple(str(each.secret_hash) for each in secrets)
    else:
        # An older wops, which knows one secret, has made the client or given it a new one: only that one is right.
        created = from_us(row.created_at_us)
        shown = (ClientSecret(secret_id=f"sec_{row.client_id[4:]}", created_at=created),)
        stored = (str(row.secret_hash),)
    client = ApiClient(
        client_id=ApiClientId(row.client_id),
        name=row.name,
        username=row.username,
        scopes=frozenset(cast(list[Scope], load_json(row.scopes))),
        created_at=from_us(row.created_at_us),
        disabled_at=_time(row.disabled_at_us),
        last_used_at=_time(row.last_used_us),
        expires_at=_time(row.expires_at_us),
        rate_per_second=row.rate_per_second,
        burst=row.burst,
        version=row.version,
        secrets=shown,
        certificates=tuple(_to_pin(each) for each in pins),
    )
    return KnownClient(client=client, hashes=stored, rate=client.rate)


def _to_secret(row: Row) -> ClientSecret:
    return ClientSecret(
        secret_id=row.secret_id,
        created_at=from_us(row.created_at_us),
        ends_at=_time(row.ends_at_us),
        last_used_at=_time(row.last_used_us),
    )


def _to_pin(row: Row) -> CertificatePin:
    return CertificatePin(
        certificate_id=row.certificate_id,
        client_id=ApiClientId(row.client_id),
        kind=cast(PinKind, row.kind),
        fingerprint=row.fingerprint,
        issuer=row.issuer,
        subject=row.subject or "",
        not_after=from_us(row.not_after_us),
        created_at=from_us(row.created_at_us),
        last_used_at=_time(row.last_used_us),
    )


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)
