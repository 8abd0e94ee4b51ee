"""What is done about revocation lists, by customers and by staff."""

from __future__ import annotations

from collections.abc import Iterator

from app.core.command import Command, Done
from app.core.db import Tx
from app.core.ids import InstanceId
from app.core.json import JsonObject
from tenancy.access import repository as access
from tenancy.access.client.certificate import ClientCertificate, read_pem, read_stored
from tenancy.access.errors import RevocationListNotFound, RevocationListsTooMany
from tenancy.access.revocation import repository
from tenancy.access.revocation.revocation_list import (
    MOST_LISTS,
    RevocationList,
    check_newer,
    find_issuer,
    make_list,
    read_list,
)
from tenancy.instance import InstanceOpener
from tenancy.transaction import carry_out


class RevocationService:
    """Revocation lists of instances, each in its instance's own database. Thread-safe, blocking.

    Every method raises `InstanceNotFound` or `InstanceNotReady` for an instance that is not there.
    """

    def __init__(self, opener: InstanceOpener) -> None:
        self._opener = opener

    def put_list(
        self, instance_id: InstanceId, text: str, *, command: Command | None = None
    ) -> Done[RevocationList]:
        """Keep an authority's newest list; whose it is, its signature says. The same list again changes nothing.

        Certificates on it are refused at every line within a second. Once it has run out, so is every certificate
        of that authority, until there is a newer list or it is removed.

        Raises:
            RevocationListMalformed: it is none.
            RevocationListForeign: nobody is pinned to an authority that has signed it, nor is a list of it kept.
            RevocationListUnfit: it is not in force now, or no whole list.
            RevocationListOlder: a newer one is kept already.
            RevocationListsTooMany: the instance has as many as it can have.
        """
        revoked = read_list(text)
        _, db = self._opener.open_ready(instance_id)

        def body(tx: Tx) -> JsonObject:
            access.touch(tx)
            issuer = find_issuer(revoked, _authorities(tx))
            new = make_list(revoked, issuer, now=tx.now)
            _put(tx, new)
            return {"authority": new.authority}

        answer = carry_out(db, command, body)
        self._opener.note_access(instance_id)
        authority = str(answer.value["authority"])
        kept = db.read(lambda reader: repository.get_list(reader, authority))
        return Done(value=kept, replayed=answer.replayed, created=kept.version == 1 and not answer.replayed)

    def list_lists(self, instance_id: InstanceId) -> list[RevocationList]:
        """All lists of an instance."""
        _, db = self._opener.open_ready(instance_id)
        return db.read(repository.list_lists)

    def remove_list(
        self, instance_id: InstanceId, authority: str, *, command: Command | None = None
    ) -> Done[None]:
        """Ask for no list of that authority any more: what it has revoked comes in again.

        Raises:
            RevocationListNotFound: there is none.
        """
        _, db = self._opener.open_ready(instance_id)

        def body(tx: Tx) -> JsonObject:
            access.touch(tx)
            old = repository.find_list(tx, authority)
            if old is None:
                raise RevocationListNotFound("There is no revocation list of that authority.")
            repository.remove_list(tx, authority)
            tx.emit("access.revocation_list_removed", subject=authority, data={}, before=_describe(old))
            return {}

        answer = carry_out(db, command, body)
        self._opener.note_access(instance_id)
        return Done(value=None, replayed=answer.replayed)


def _put(tx: Tx, new: RevocationList) -> None:
    old = repository.find_list(tx, new.authority)
    if old is None:
        if repository.count_lists(tx) >= MOST_LISTS:
            raise RevocationListsTooMany(f"An instance has at most {MOST_LISTS} lists.", most=MOST_LISTS)
        repository.add_list(tx, new)
    elif old.is_same(new):
        return
    else:
        check_newer(new, old)
        repository.replace_list(tx, old, new)
    tx.emit(
        "access.revocation_list_put",
        subject=new.authority,
        data=_describe(new),
        before=None if old is None else _describe(old),
    )


def _authorities(tx: Tx) -> Iterator[ClientCertificate]:
    """The authorities that clients are pinned to, then those that were: a list of theirs holds until it is removed."""
    pins = (pin for known in access.load_rules(tx).clients.values() for pin in known.client.certificates)
    for fingerprint, issuer in {pin.fingerprint: pin.issuer for pin in pins if pin.issuer}.items():
        yield read_stored(str(issuer), fingerprint)
    for kept in repository.list_lists(tx):
        yield read_pem(kept.certificate)


def _describe(kept: RevocationList) -> JsonObject:
    return {
        "issuer": kept.issuer,
        "number": None if kept.number is None else str(kept.number),
        "entries": kept.entries,
        "this_update": kept.this_update.isoformat(),
        "next_update": kept.next_update.isoformat(),
    }
