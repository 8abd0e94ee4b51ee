"""What a container lets an update change: only itself, only from its own vendor, only at its own counter. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from app.cmcontainer.container import Container, FirmItem, ProductItem, firm_item
from app.cmcontainer.errors import FirmCodeUnknown, UpdateAlreadyApplied, UpdateTooNew, UpdateTooOld
from fsb_gateway import ProgrammingStep, Update, UpdateForOtherContainer, UpdateUntrusted, read_update

# Enough to tell "again" from "too old" for a person with a folder of files; older ones count as too old.
APPLIED_REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedUpdate:
    """What an update changed.

    Attributes:
        fuc_before: counter before the first applied step.
        fuc_after: counter now.
        added: licences written, those that replaced an older generation included.
        deleted: licences that were there and are gone.
        skipped_steps: steps that the container had applied before.
    """

    serial: str
    firm_code: int
    job_id: str
    fuc_before: int
    fuc_after: int
    added: tuple[ProductItem, ...]
    deleted: tuple[str, ...]
    skipped_steps: int


def verify_update(container: Container, text: str, *, at: datetime) -> Update:
    """Decrypt an update and check it, offline, up to the root that came with the vendor's template.

    Whether it fits the container's counter is not looked at.

    Raises:
        FileMalformed, UpdateTampered: not an update, or changed.
        UpdateForOtherContainer: not for this container.
        UpdateUntrusted: not signed by this firm code's vendor under the root of his template.
        FirmCodeUnknown: the container has no drawer for the update's firm code.
    """
    root, update = _read_under_known_roots(container, text, at)
    if update.container_serial != container.serial:
        raise UpdateForOtherContainer("this update was made for another container")
    template = firm_item(container, update.firm_code).template
    if (update.signer.instance_id, root) != (template.instance, template.root_certificate):
        raise UpdateUntrusted(f"this update does not come from the vendor of firm code {update.firm_code}")
    return update


def apply_update(container: Container, text: str, *, at: datetime) -> tuple[Container, AppliedUpdate]:
    """Carry out the steps that this container has not carried out yet.

    Raises:
        UpdateAlreadyApplied, UpdateTooOld, UpdateTooNew: it does not fit the counter.
        DomainError: as for `verify_update`.
    """
    update = verify_update(container, text, at=at)
    before = firm_item(container, update.firm_code)
    steps = _steps_to_apply(update, before)
    after = replace(
        before,
        fuc=update.seq,
        items=_carry_out(steps, before.items),
        applied=(*before.applied, update.job_id)[-APPLIED_REMEMBERED:],
    )
    changed = replace(container, firm_items={**container.firm_items, update.firm_code: after})
    return changed, _report(update, before, after, skipped=len(update.steps) - len(steps))


def _read_under_known_roots(container: Container, text: str, at: datetime) -> tuple[str, Update]:
    """A container may serve vendors of several platforms; which one it is stands inside the update."""
    failure: UpdateUntrusted | None = None
    for root in dict.fromkeys(item.template.root_certificate for item in container.firm_items.values()):
        certificate = x509.load_pem_x509_certificate(root.encode("ascii"))
        try:
            return root, read_update(text, container.encryption_key, root=certificate, at=at)
        except UpdateUntrusted as error:
            failure = error
    raise failure or FirmCodeUnknown("this container has no firm item yet: import a template first")


def _steps_to_apply(update: Update, item: FirmItem) -> tuple[ProgrammingStep, ...]:
    facts = {"firm_code": update.firm_code, "fuc": item.fuc, "base_fuc": update.base_fuc, "seq": update.seq}
    if update.job_id in item.applied:
        raise UpdateAlreadyApplied("this container has applied this update before", **facts)
    if update.seq <= item.fuc:
        raise UpdateTooOld(
            f"the update ends at counter {update.seq}, the container is at {item.fuc}", **facts
        )
    if update.base_fuc > item.fuc:
        raise UpdateTooNew(
            f"the update starts at counter {update.base_fuc}, the container is at {item.fuc}", **facts
        )
    return tuple(step for step in update.steps if step.fuc > item.fuc)


def _carry_out(steps: tuple[ProgrammingStep, ...], items: tuple[ProductItem, ...]) -> tuple[ProductItem, ...]:
    held = {item.license_id: item for item in items}
    for operation in (operation for step in steps for operation in step.operations):
        held.pop(operation.license_id, None)
        if operation.op == "add_product_item":
            held[operation.license_id] = ProductItem(
                license_id=operation.license_id, generation=operation.generation, product=operation.product
            )
    return tuple(held.values())


def _report(update: Update, before: FirmItem, after: FirmItem, *, skipped: int) -> AppliedUpdate:
    kept = {item.license_id for item in after.items}
    return AppliedUpdate(
        serial=update.container_serial,
        firm_code=update.firm_code,
        job_id=update.job_id,
        fuc_before=before.fuc,
        fuc_after=after.fuc,
        added=tuple(item for item in after.items if item not in before.items),
        deleted=tuple(item.license_id for item in before.items if item.license_id not in kept),
        skipped_steps=skipped,
    )
