"""Why metering refuses or fails.

EditionsError
├── QuotaExceeded               no more activations or calls this month; says what lifts it
├── EditionFeatureUnavailable   the edition does not have it; says which editions do
├── NoContractInForce           nothing is contracted at this time
├── ContractInvalid             a contract row contradicts the catalogue or itself
├── ContractAltered             a contract id came again with other content
├── EffectAlreadyRecorded       an effect was reserved, counted or released before
├── EffectNotReserved           an effect to be counted or released was never reserved in that month
├── EffectNotFound              the ledger of that month has no such effect
├── EffectNotCounted            an effect is reserved or was released: there is no count to take back
├── EffectNotVoidable           only activations and web-service calls are taken back
├── EffectAlreadyVoided         the count was taken back before, by another correction
└── LineSuperseded              another process has taken this line's lease over
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.core.errors import DomainError
from app.core.json import JsonValue

if TYPE_CHECKING:
    from editions.quota import QuotaState


class EditionsError(DomainError):
    """Root of what this package raises."""

    code = "editions_error"


class QuotaExceeded(EditionsError):
    """The limit in force leaves no room for what was asked; nothing was changed.

    Attributes:
        state: the quota as it stood before the refused request; for the RateLimit headers of the answer.
    """

    code = "quota_exceeded"

    def __init__(self, message: str, *, state: QuotaState, **detail: JsonValue) -> None:
        super().__init__(message, **detail)
        self.state = state


class EditionFeatureUnavailable(EditionsError):
    """The edition in force does not have the feature; `detail["editions"]` names those that do."""

    code = "edition_feature_unavailable"


class NoContractInForce(EditionsError):
    """No contract of the instance covers this time."""

    code = "no_contract_in_force"


class ContractInvalid(EditionsError):
    """A contract row cannot be; `detail["field"]` names the reason's place."""

    code = "contract_invalid"


class ContractAltered(EditionsError):
    """A contract with this id exists with other content; rows are never overwritten, write a new one."""

    code = "contract_altered"


class EffectAlreadyRecorded(EditionsError):
    """The ledger has this step of the effect already: a defect of the caller, never counted twice."""

    code = "effect_already_recorded"


class EffectNotReserved(EditionsError):
    """The ledger has no reservation of this effect in that month: a defect of the caller."""

    code = "effect_not_reserved"


class EffectNotFound(EditionsError):
    """The ledger of that month does not have the effect; `detail["effect_id"]` names it."""

    code = "effect_not_found"


class EffectNotCounted(EditionsError):
    """The effect is still reserved, or was given back: it counts for nothing; `detail["effect_id"]` names it."""

    code = "effect_not_counted"


class EffectNotVoidable(EditionsError):
    """Only activations and web-service calls can be taken back; `detail["kind"]` is something else."""

    code = "effect_not_voidable"


class EffectAlreadyVoided(EditionsError):
    """The count was taken back before; `detail["reference"]` names the correction."""

    code = "effect_already_voided"


class LineSuperseded(EditionsError):
    """A newer process serves under this line's name. What this one has answered is still counted."""

    code = "line_superseded"
