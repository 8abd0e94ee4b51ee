"""Who a member of staff is, and how his name is forgotten.

Each person has a key of his own. Audit chains hold his name under that key only: erasing the key makes the name
unreadable wherever it stands, and every hash still holds.

**Source:** operations reference §7; AES-256-GCM with 96-bit random nonces (NIST SP 800-38D §8.2.2).
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.db import Database, Reader, Tx
from app.core.errors import InputInvalid
from app.core.ids import OperationId, new_id
from app.core.json import JsonObject
from tenancy.credential import CredentialKey
from tenancy.record import check_limit
from tenancy.staff import repository
from tenancy.staff.errors import PersonErased, PersonLocal
from tenancy.staff.record import LOCAL_PERSON, Person

ERASED_NAME: Final = "erased person"
"""What is shown in place of a name that nobody can read any more."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.!#$%&'*+/=?^_`{|}~@-]{1,119}")
"""ASCII only, so that no two names look alike. **Source:** atoms of RFC 5322 §3.2.3, and `@`."""
_NONCE_BYTES: Final = 12
_KEY_BITS: Final = 256


def check_person(text: str) -> str:
    """The one way in which a person is named: small letters, nothing around them.

    Raises:
        PersonLocal: the name of the local operator, who needs no token.
        InputInvalid: not 2 to 120 visible ASCII characters as in an e-mail address.
    """
    name = text.strip().lower()
    if name == LOCAL_PERSON:
        raise PersonLocal("The local operator is whoever may open the control socket; name a person.")
    if _NAME.fullmatch(name) is None:
        raise InputInvalid("A person is named like an e-mail address, in ASCII characters.", field="person")
    return name


class PersonKeys:
    """Makes, wraps and uses the keys of people. Immutable, thread-safe."""

    __slots__ = ("_wrapping",)

    def __init__(self, key: CredentialKey) -> None:
        self._wrapping = AESGCM(key.derive("subject-keys"))

    def make(self, person_id: str, name: str) -> tuple[str, str]:
        """A new key, wrapped, and the name under it."""
        fresh = AESGCM.generate_key(_KEY_BITS)
        wrapped = _seal(self._wrapping, fresh, about=f"subject-key:{person_id}")
        return wrapped, _seal(AESGCM(fresh), name.encode(), about=f"name:{person_id}")

    def open_name(self, person_id: str, sealed_name: str, wrapped_key: str | None) -> str | None:
        """The name that was sealed; None if its key is gone or another one."""
        if wrapped_key is None:
            return None
        key = _open(self._wrapping, wrapped_key, about=f"subject-key:{person_id}")
        if key is None:
            return None
        name = _open(AESGCM(key), sealed_name, about=f"name:{person_id}")
        return None if name is None else name.decode()


class PersonService:
    """People of the staff in the platform database. Thread-safe, blocking."""

    def __init__(self, db: Database, *, key: CredentialKey) -> None:
        self._db = db
        self._keys = PersonKeys(key)

    def get_person(self, person_id: str) -> Person:
        """Read one person, erased or not.

        Raises:
            PersonNotFound: there is none of that id.
        """
        return self._db.read(lambda reader: repository.get_person(reader, person_id))

    def list_people(self, *, after: str = "", limit: int = 25) -> list[Person]:
        """People with an id above `after`, oldest first, the erased ones too.

        Raises:
            LimitUnfit: not 1 to 100.
        """
        check_limit(limit)
        return self._db.read(lambda reader: repository.list_people(reader, after=after, limit=limit))

    def read_name(self, person_id: str, sealed_name: str) -> str:
        """The name in an entry of an audit chain, or `erased person`."""
        if person_id == LOCAL_PERSON:
            return LOCAL_PERSON
        wrapped = self._db.read(lambda reader: repository.find_wrapped_key(reader, person_id))
        return self._keys.open_name(person_id, sealed_name, wrapped) or ERASED_NAME


def person_maker(keys: PersonKeys, text: str) -> Callable[[Tx], str]:
    """Finds or makes the person of that name, inside a transaction; returns the id.

    Raises:
        InputInvalid, PersonLocal: no name of a person; raised at once.
    """
    name = check_person(text)
    person_id = new_id("per")
    wrapped, sealed = keys.make(person_id, name)

    def make(tx: Tx) -> str:
        person = Person(person_id=person_id, name=name, sealed_name=sealed, created_at=tx.now, erased_at=None)
        if repository.add_person(tx, person, wrapped_key=wrapped):
            tx.emit("person.added", subject=person_id, data={})
            return person_id
        found = repository.find_person_by_name(tx, name)
        if found is None:
            raise RuntimeError("a person whose name is taken is missing")
        return found.person_id

    return make


def check_erasable(reader: Reader, person_id: str, _parameters: JsonObject) -> None:
    """Whether there is somebody of that id who can be erased.

    Raises:
        PersonLocal, PersonNotFound, PersonErased: there is not.
    """
    if person_id == LOCAL_PERSON:
        raise PersonLocal("The local operator is nobody in particular and cannot be erased.")
    if repository.get_person(reader, person_id).erased_at is not None:
        raise PersonErased("This person has been erased already.")


def revoke_tokens(tx: Tx, person_id: str) -> int:
    """End all tokens of a person; returns how many held until now. May be repeated."""
    living = repository.list_living_tokens(tx, person_id)
    for token_id in living:
        if repository.revoke_token(tx, token_id):
            tx.emit(
                "staff_token.revoked",
                subject=token_id,
                data={"state": "revoked"},
                before={"state": "active"},
            )
    return len(living)


def erase_name(tx: Tx, person_id: str, *, operation_id: OperationId) -> None:
    """Forget a person's name and key. May be repeated."""
    if repository.erase_person(tx, person_id, token_name=ERASED_NAME):
        data: JsonObject = {"state": "erased", "operation_id": operation_id}
        tx.emit("person.erased", subject=person_id, data=data, before={"state": "known"})


def _seal(key: AESGCM, text: bytes, *, about: str) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return urlsafe_b64encode(nonce + key.encrypt(nonce, text, about.encode())).decode()


def _open(key: AESGCM, sealed: str, *, about: str) -> bytes | None:
    try:
        found = urlsafe_b64decode(sealed.encode())
        return key.decrypt(found[:_NONCE_BYTES], found[_NONCE_BYTES:], about.encode())
    except (InvalidTag, ValueError):
        return None
