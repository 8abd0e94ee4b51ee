"""The port behind which a Firm Security Box keeps its keys and signs, and what a box is.

A firm key in a box: made or brought in under a key id (`generate`, `import_key`), signing once it has its
certificates (`use`), destroyed (`forget`). It leaves a box only wrapped to another box's transport key (`export`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from fsb_gateway.error import BoxSpecInvalid
from fsb_gateway.job import Algorithm, check_name

DriverName = Literal["software", "pkcs11"]
TransactionModel = Literal["unlimited", "standard", "pay_per_use"]

# A minute per operation is far beyond any dongle; more is a unit mistaken for another.
_OPERATION_TIME_MAX = timedelta(minutes=1)
_TRANSACTIONS_MAX = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often a software box fails on purpose, per job (0–1 each, together at most 1).

    Attributes:
        busy: it refuses at once.
        timeout: it does not answer.
        wrong_answer: it signs something else.
        lost_power: it goes away, before or after the journal has the record.
    """

    busy: float = 0.0
    timeout: float = 0.0
    wrong_answer: float = 0.0
    lost_power: float = 0.0

    @property
    def total(self) -> float:
        """How often anything goes wrong."""
        return self.busy + self.timeout + self.wrong_answer + self.lost_power


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpec:
    """Where a PKCS#11 box keeps its keys.

    Attributes:
        module: path of the PKCS#11 library.
        label: of the token.
        pin_file: holds the user PIN, mode 0600; the PIN itself is in no specification.
    """

    module: str
    label: str
    pin_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSpec:
    """What a box is and whom it serves: desired state, put as often as one likes.

    Attributes:
        pool: the pool it belongs to; a pool comes into being with its first box.
        owner: the instance whose own the pool is; None for a shared pool. The same for all boxes of a pool.
        operation_time: how long one programming operation takes; the software driver keeps to it.
        jitter: how much the time of an operation varies, as a share of `operation_time` to either side (0–1).
        faults: software boxes only.
        token: PKCS#11 boxes only.
        drained: takes no more work, but finishes what it has.
        lent_to: the pool that it works for instead of its own, until `lent_until`.
        transactions: what is deducted: nothing; one per new container; one per programming operation.
        transactions_loaded: all that were ever loaded; what is left is this less what the journal has spent.
        version: control's own; reported as it was put last, so that control sees when something old was put late.
    """

    name: str
    pool: str
    owner: str | None = None
    driver: DriverName = "software"
    operation_time: timedelta = timedelta(0)
    jitter: float = 0.0
    faults: Faults = field(default_factory=Faults)
    token: TokenSpec | None = None
    drained: bool = False
    lent_to: str | None = None
    lent_until: datetime | None = None
    transactions: TransactionModel = "unlimited"
    transactions_loaded: int = 0
    version: int = 0

    def pool_at(self, now: datetime) -> str:
        """The pool whose jobs it takes at this moment."""
        if self.lent_to is not None and self.lent_until is not None and now < self.lent_until:
            return self.lent_to
        return self.pool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBinding:
    """Whose a key is. The caller chooses the id, so that a repeated step makes no second key."""

    key_id: str
    firm_code: int
    instance_id: str
    algorithm: Algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySlot:
    """A firm key in use in a box, bound to the one instance that may use it.

    Attributes:
        key_id: of the key that signs now; older ones of the firm code may still be there, unused.
        header: protected header of everything this key signs, as a base64url segment.
        public_key: SubjectPublicKeyInfo, DER: what is signed is checked with it before it leaves.
    """

    firm_code: int
    key_id: str
    instance_id: str
    algorithm: Algorithm
    header: str
    public_key: bytes


class BoxDriver(Protocol):
    """One box's keys. Used by one thread only, except `slots` and `unreadable`, which any thread may read."""

    @property
    def slots(self) -> Mapping[int, KeySlot]:
        """The keys in use, by firm code."""
        ...

    @property
    def unreadable(self) -> frozenset[int]:
        """Firm codes whose key is there and cannot be opened; they have no slot until somebody mends it."""
        ...

    def reload(self) -> None:
        """Look for keys that were mended since; log in again.

        Raises:
            BoxFailed: the token is absent, or refuses.
        """
        ...

    def has_new_pin(self) -> bool:
        """Whether the file with the PIN has changed since it was last used or refused: `reload` is worth a try.

        Asks the token nothing.
        """
        ...

    def generate(self, binding: KeyBinding) -> bytes:
        """Make a key that is not in use yet; the same id again gives the same key. Its public half, SPKI DER.

        Raises:
            FirmCodeNotOwned, FirmKeyConflict: the firm code or the id is there for something else.
            BoxFailed: the box cannot.
        """
        ...

    def use(self, binding: KeyBinding, chain: tuple[bytes, bytes]) -> None:
        """Sign with this key from now on; safe to repeat.

        Args:
            chain: DER of the firm key's certificate, then of the instance CA's.

        Raises:
            FirmKeyMissing: no such key here.
            FirmKeyUnfit: the certificate is for another key.
        """
        ...

    def forget(self, firm_code: int, *, key_id: str | None = None, but: str | None = None) -> None:
        """Destroy keys of a firm code: the one of that id, or all, `but` perhaps one; nothing happens without any."""
        ...

    def transport_key(self) -> bytes:
        """The public RSA key to which others wrap keys for this box, SPKI DER; made when it is first asked for."""
        ...

    def export(self, firm_code: int, key_id: str, *, to: bytes) -> bytes:
        """A key wrapped to a transport key: as PKCS#11's CKM_RSA_AES_KEY_WRAP makes it, whatever the driver.

        Raises:
            FirmKeyMissing: no such key here.
        """
        ...

    def import_key(self, binding: KeyBinding, wrapped: bytes, public_key: bytes) -> None:
        """Take in a key that was wrapped to this box; it is not in use yet. Safe to repeat.

        Args:
            public_key: SPKI DER; what is in the wrapping must be its private half.

        Raises:
            FirmKeyUnfit: it cannot be opened here, or is another key.
            FirmCodeNotOwned, FirmKeyConflict: the firm code or the id is there for something else.
        """
        ...

    def sign(self, slot: KeySlot, message: bytes) -> bytes:
        """Sign with the slot's key: r‖s for ES256, 64 bytes for Ed25519.

        Raises:
            BoxFailed: the box could not.
        """
        ...

    def close(self) -> None:
        """Forget the keys in memory."""
        ...


def check_spec(spec: BoxSpec) -> None:
    """Refuse a box that cannot be set up.

    Raises:
        JobMalformed: the name, pool or owner is not a name.
        BoxSpecInvalid: a number is out of range, or the parts do not belong together.
    """
    check_name("name", spec.name)
    check_name("pool", spec.pool)
    if spec.owner is not None:
        check_name("owner", spec.owner)
    if spec.lent_to is not None:
        check_name("lent_to", spec.lent_to)
    if not timedelta(0) <= spec.operation_time <= _OPERATION_TIME_MAX:
        raise BoxSpecInvalid("the time per operation is out of range", field="operation_time_seconds")
    if not 0 <= spec.jitter <= 1:
        raise BoxSpecInvalid("the jitter is not within 0 and 1", field="jitter")
    if not 0 <= spec.transactions_loaded <= _TRANSACTIONS_MAX:
        raise BoxSpecInvalid("the number of transactions is out of range", field="transactions_loaded")
    _check_driver(spec)
    _check_loan(spec)


def _check_driver(spec: BoxSpec) -> None:
    faults = spec.faults
    shares = (faults.busy, faults.timeout, faults.wrong_answer, faults.lost_power)
    if not all(share >= 0 for share in shares) or not faults.total <= 1:
        raise BoxSpecInvalid("the shares of faults are not within 0 and 1 together", field="faults")
    if (spec.driver == "pkcs11") != (spec.token is not None):
        raise BoxSpecInvalid("a PKCS#11 box has a token, a software box has none", field="token")
    if spec.driver != "software" and faults.total:
        raise BoxSpecInvalid("only software boxes fail on purpose", field="faults")


def _check_loan(spec: BoxSpec) -> None:
    if (spec.lent_to is None) != (spec.lent_until is None):
        raise BoxSpecInvalid("a loan has a pool and an end", field="lent_until")
    if spec.lent_until is not None and spec.lent_until.tzinfo is None:
        raise BoxSpecInvalid("the end of the loan has no time zone", field="lent_until")
    if spec.lent_to == spec.pool:
        raise BoxSpecInvalid("a box is lent to another pool than its own", field="lent_to")
