"""A CmContainer as a value, and what it says about itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from app.cmcontainer.errors import FirmCodeUnknown, TemplateConflict
from app.core.clock import from_us, to_us
from app.core.json import JsonValue
from fsb_gateway import ContextClaim, ContextKind, HeldItem, public_jwk, sign_message, write_context


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What a vendor hands out so that containers can be made for his firm code.

    Attributes:
        root_certificate: the platform root, PEM.
    """

    firm_code: int
    instance: str
    root_certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductItem:
    """A licence in the container, with its product item options as the box wrote them."""

    license_id: str
    generation: int
    product: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmItem:
    """One vendor's drawer in the container.

    Attributes:
        fuc: Firm Update Counter; 0 until the first update.
        items: by the order of their arrival.
        applied: ids of the updates applied last, newest last.
    """

    template: Template
    fuc: int
    items: tuple[ProductItem, ...]
    applied: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Everything a container is. The keys are its identity; whoever has them is the container.

    Attributes:
        last_context_us: the time in the newest context it has made, microseconds since 1970; the next one is
        later, even if the clock was set back.
    """

    serial: str
    signing_key: EllipticCurvePrivateKey
    encryption_key: EllipticCurvePrivateKey
    firm_items: Mapping[int, FirmItem]
    last_context_us: int = 0


def next_context(container: Container, *, now: datetime) -> tuple[Container, datetime]:
    """The container about to make a context, and the time to put into it: now, or just after the one before.

    A vendor's server takes a context that is not newer than the last for a stale file.
    """
    at_us = max(to_us(now), container.last_context_us + 1)
    return replace(container, last_context_us=at_us), from_us(at_us)


def add_firm_item(container: Container, template: Template) -> Container:
    """Open a drawer for a vendor; nothing happens if it is there.

    Raises:
        TemplateConflict: it is there, for another instance or under another root.
    """
    present = container.firm_items.get(template.firm_code)
    if present is None:
        item = FirmItem(template=template, fuc=0, items=(), applied=())
        return replace(container, firm_items={**container.firm_items, template.firm_code: item})
    if present.template != template:
        raise TemplateConflict(
            f"firm code {template.firm_code} is in this container already, from another instance or platform",
            firm_code=template.firm_code,
        )
    return container


def firm_item(container: Container, firm_code: int) -> FirmItem:
    """A vendor's drawer.

    Raises:
        FirmCodeUnknown: there is none.
    """
    item = container.firm_items.get(firm_code)
    if item is None:
        raise FirmCodeUnknown(f"this container has no item for firm code {firm_code}", firm_code=firm_code)
    return item


def describe(
    container: Container, firm_code: int, *, kind: ContextKind, context_id: str, at: datetime
) -> str:
    """The armoured context or receipt of one firm code.

    Raises:
        FirmCodeUnknown: the container has no drawer for it.
    """
    item = firm_item(container, firm_code)
    claim = ContextClaim(
        serial=container.serial,
        firm_code=firm_code,
        fuc=item.fuc,
        context_id=context_id,
        made_at=at,
        encryption_key=public_jwk(container.encryption_key),
        items=[HeldItem(license_id=held.license_id, product_code=_product_code(held)) for held in item.items],
    )
    signing_key = container.signing_key
    return write_context(
        kind,
        claim,
        signing_key=public_jwk(signing_key),
        sign=lambda message: sign_message(signing_key, message),
    )


def _product_code(held: ProductItem) -> int:
    code = held.product.get("product_code", 0)
    return code if isinstance(code, int) else 0
