"""Everything the gateway, its client and the file formats can refuse or fail with.

    FsbError
    ├── FsbUnavailable              nothing is decided: send the same job id again later
    │   ├── PoolWithoutBox          no box of the pool is working
    │   ├── BoxDisconnected         a box's process does not answer; what it was doing is not known
    │   ├── BoxJournalDamaged       a box refuses work: its journal is damaged before its end
    │   ├── BoxJournalUnwritable    a box refuses work: its journal cannot be written (disk full)
    │   └── BoxFailed               the box itself did not do what it was asked
    │       ├── BoxOccupied · BoxTimedOut · BoxAnswerWrong · BoxPowerLost
    │       ├── TokenAbsent
    │       │   └── TokenLibraryUnusable
    │       ├── TokenPinWrong
    │       │   └── TokenPinUnreadable · TokenPinExposed
    │       └── TokenKeyLost · TransactionsExhausted
    ├── FsbRejected                 the gateway said no; nothing was programmed
    │   ├── JobMalformed · JobIdReused · JobDeadlinePassed · JobUnknown · UpdateTooLarge
    │   ├── JobCancelled · JobRunning
    │   ├── PoolUnknown · PoolDrained · PoolForeign · BoxUnknown · BoxSpecInvalid · BoxQueueFull · BoxBusy · BoxLast
    │   ├── TokenTaken
    │   └── FirmCodeNotOwned · FirmKeyMissing · FirmKeyConflict · FirmKeyUnfit
    ├── FsbProtocolError            the answer was not understood
    ├── FileFormatError
    │   ├── FileMalformed           not one of our files, or damaged in transport
    │   ├── ContextUntrusted        a context or receipt whose own signature does not hold
    │   ├── UpdateTampered          an update that was changed after it was made
    │   ├── UpdateUntrusted         an update whose signer does not lead to the expected root and firm code
    │   └── UpdateForOtherContainer an update encrypted to another container
    └── KeystoreError
        ├── KeyEncryptionKeyExposed · KeyEncryptionKeyMissing
        └── KeyDamaged

The client raises the same classes that the gateway raised: they travel by their `code`.
"""

from __future__ import annotations

from app.core.errors import DomainError


class FsbError(DomainError):
    """Root of this package's errors."""

    code = "fsb_error"


class FsbUnavailable(FsbError):
    """The gateway or the box cannot work now. Sending the same job id again later is safe."""

    code = "fsb_unavailable"


class PoolWithoutBox(FsbUnavailable):
    """The pool exists, and none of its boxes is taking work."""

    code = "pool_without_box"


class BoxJournalDamaged(FsbUnavailable):
    """The box cannot tell any more which jobs it has done, so it does none."""

    code = "box_journal_damaged"


class BoxJournalUnwritable(FsbUnavailable):
    """The box cannot record what it does, so it hands nothing out."""

    code = "box_journal_unwritable"


class BoxDisconnected(FsbUnavailable):
    """The process of the box does not answer. A job that it was doing may be done or not: it is asked again."""

    code = "box_disconnected"


class BoxFailed(FsbUnavailable):
    """The box did not do what it was asked. Nothing was handed out; it may be tried again, there or elsewhere."""

    code = "box_failed"


class BoxOccupied(BoxFailed):
    """The box is busy with something else; CodeMeter's error 64. **Source:** reference/domain.md §6."""

    code = "box_occupied"


class BoxTimedOut(BoxFailed):
    """The box did not answer in time."""

    code = "box_timed_out"


class BoxAnswerWrong(BoxFailed):
    """What the box signed does not verify with its own public key; it is thrown away."""

    code = "box_answer_wrong"


class BoxPowerLost(BoxFailed):
    """The box went away while it worked; whether it had finished is not known before it is back."""

    code = "box_power_lost"


class TokenAbsent(BoxFailed):
    """The token is not in its slot."""

    code = "token_absent"


class TokenLibraryUnusable(TokenAbsent):
    """The PKCS#11 library of the token does not exist, or does not start."""

    code = "token_library_unusable"


class TokenPinWrong(BoxFailed):
    """The token refused the PIN, or has only one try left; it is not tried again before its file has changed."""

    code = "token_pin_wrong"


class TokenPinUnreadable(TokenPinWrong):
    """The file with the token's PIN is not there, cannot be read, or is empty; the token was not asked."""

    code = "token_pin_unreadable"


class TokenPinExposed(TokenPinWrong):
    """Others than its owner can read the file with the token's PIN; it is not used, and the token was not asked."""

    code = "token_pin_exposed"


class TokenKeyLost(BoxFailed):
    """The token has no longer the key that it should sign with; the box holds it no more."""

    code = "token_key_lost"


class TransactionsExhausted(BoxFailed):
    """The box has no transactions left for what the job needs; the vendor has to buy more."""

    code = "transactions_exhausted"


class FsbRejected(FsbError):
    """The gateway refused. Nothing was programmed for this call; `detail["reason"]` holds a code unknown here."""

    code = "fsb_rejected"


class JobMalformed(FsbRejected):
    """The job contradicts itself, e.g. its steps are not consecutive."""

    code = "job_malformed"


class UpdateTooLarge(FsbRejected):
    """The job's update would be larger than a container reads; fewer licences at once make a smaller one."""

    code = "update_too_large"


class JobIdReused(FsbRejected):
    """The job id belongs to a job with other content."""

    code = "job_id_reused"


class JobDeadlinePassed(FsbRejected):
    """The job waited until its deadline; nothing was programmed."""

    code = "job_deadline_passed"


class JobUnknown(FsbRejected):
    """No queue and no journal knows the job id; sending the job again is safe."""

    code = "job_unknown"


class JobCancelled(FsbRejected):
    """The job was cancelled while it waited; nothing was programmed."""

    code = "job_cancelled"


class JobRunning(FsbRejected):
    """A box works on the job already, or may do so: it cannot be cancelled."""

    code = "job_running"


class PoolDrained(FsbRejected):
    """Staff have taken every box of the pool out of work; new jobs are not taken."""

    code = "pool_drained"


class PoolForeign(FsbRejected):
    """The pool is another instance's own, or the instance has a pool of its own."""

    code = "pool_foreign"


class PoolUnknown(FsbRejected):
    """There is no such pool."""

    code = "pool_unknown"


class BoxUnknown(FsbRejected):
    """There is no such box."""

    code = "box_unknown"


class BoxSpecInvalid(FsbRejected):
    """A box cannot be set up as asked, e.g. unknown driver, or its pool would change."""

    code = "box_spec_invalid"


class BoxBusy(FsbRejected):
    """A box that has work cannot be taken out of service."""

    code = "box_busy"


class BoxLast(FsbRejected):
    """The only box that holds a firm key, or works for a pool, is not taken away by itself."""

    code = "box_last"


class TokenTaken(FsbRejected):
    """A token has one box, and `detail["holder"]` is the one of this token: either would destroy the other's keys."""

    code = "token_taken"


class BoxQueueFull(FsbRejected):
    """The instance has too many jobs waiting; `detail["expected_wait_seconds"]` says when to come back."""

    code = "box_queue_full"


class FirmCodeNotOwned(FsbRejected):
    """The firm code's key slot is bound to another instance."""

    code = "firm_code_not_owned"


class FirmKeyMissing(FsbRejected):
    """No box of the pool holds a key for the firm code."""

    code = "firm_key_missing"


class FirmKeyConflict(FsbRejected):
    """The firm key exists already with another algorithm."""

    code = "firm_key_conflict"


class FirmKeyUnfit(FsbRejected):
    """A wrapped key cannot be opened by this box, or is not the key that it is said to be."""

    code = "firm_key_unfit"


class FsbProtocolError(FsbError):
    """The other side answered something that is not this protocol; `detail["excerpt"]` is bounded."""

    code = "fsb_protocol_error"


class FileFormatError(FsbError):
    """Root of what can be wrong with a context, update or receipt."""

    code = "file_format_error"


class FileMalformed(FileFormatError):
    """The text is not a file of the expected kind."""

    code = "file_malformed"


class ContextUntrusted(FileFormatError):
    """The context or receipt is well formed, but its own signature does not hold."""

    code = "context_untrusted"


class UpdateTampered(FileFormatError):
    """The update was changed after it was made."""

    code = "update_tampered"


class UpdateUntrusted(FileFormatError):
    """The update's signer is not the expected instance's firm key under the expected root."""

    code = "update_untrusted"


class UpdateForOtherContainer(FileFormatError):
    """The update is for another container."""

    code = "update_for_other_container"


class KeystoreError(FsbError):
    """Root of what can be wrong with the key directory."""

    code = "keystore_error"


class KeyEncryptionKeyExposed(KeystoreError):
    """The key-encryption key can be read by others than its owner; it is not used."""

    code = "key_encryption_key_exposed"


class KeyEncryptionKeyMissing(KeystoreError):
    """Wrapped keys exist, their key-encryption key does not; a new one would not open them."""

    code = "key_encryption_key_missing"


class KeyDamaged(KeystoreError):
    """A key file cannot be opened with this key-encryption key."""

    code = "key_damaged"
