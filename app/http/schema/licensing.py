"""Requests and answers of License Central."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, cast

from pydantic import Field, JsonValue, StrictBool, StrictInt

from app.core.clock import to_text
from app.core.json import JsonObject
from app.http.schema.model import AnswerModel, Moment, RequestModel
from app.licensing import (
    Container,
    ContainerType,
    ContainerView,
    Item,
    ItemDraft,
    License,
    LicenseState,
    Order,
    OrderDraft,
    OrderedPosition,
    ProductOptions,
    Ticket,
)
from app.licensing.order.order_rule import QUANTITY_MAX

Uint32 = Annotated[StrictInt, Field(ge=0, le=0xFFFF_FFFF)]


class OptionsOverride(RequestModel):
    """Product item options that an order changes; what is missing stays as the item has it."""

    feature_map: Uint32 | None = Field(default=None, description="32 switches.", examples=[5])
    license_quantity: Uint32 | None = Field(
        default=None, description="Seats in a network; 0: local use only.", examples=[3]
    )
    unit_counter: Uint32 | None = Field(default=None, description="Units the software uses up.")
    activation_time: Moment | None = Field(default=None, description="Not usable before.")
    expiration_time: Moment | None = Field(
        default=None, description="Not usable from then on.", examples=["2027-12-31T23:00:00Z"]
    )
    usage_period_seconds: Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)] | None = Field(
        default=None, description="Seconds of use from the first use on."
    )
    maintenance_start: Moment | None = Field(default=None, description="Releases from here on are covered …")
    maintenance_end: Moment | None = Field(default=None, description="… to here.")
    text: str | None = Field(default=None, max_length=256, description="Free text.")

    def to_json(self) -> JsonObject:
        """What is set, in the domain's stored form."""
        given = self.model_dump(exclude_none=True)
        return {name: to_text(each) if isinstance(each, datetime) else each for name, each in given.items()}


class OptionsBody(OptionsOverride):
    """Product item options of an item."""

    product_code: Annotated[StrictInt, Field(ge=1, le=0xFFFF_FFFF)] = Field(
        description="The entry's number within the firm item.", examples=[201]
    )

    def to_domain(self) -> ProductOptions:
        """The domain's value."""
        return ProductOptions(**self.model_dump())


class ItemBody(RequestModel):
    """What a vendor says about an item, except its SKU."""

    name: str = Field(min_length=1, max_length=150, examples=["Drawing Pro, floating"])
    options: OptionsBody
    container_types: list[ContainerType] = Field(
        default_factory=list, max_length=3, description="Where it may be collected to; empty: everywhere."
    )
    returnable: StrictBool = Field(default=True, description="Whether end users may give licences back.")

    def to_draft(self, sku: str) -> ItemDraft:
        """The domain's draft."""
        return ItemDraft(
            sku=sku,
            name=self.name,
            options=self.options.to_domain(),
            container_types=tuple(dict.fromkeys(self.container_types)),
            returnable=self.returnable,
        )


class ItemCreate(ItemBody):
    """A new item."""

    sku: str = Field(
        min_length=1, max_length=63, description="The ERP's own number; natural key.", examples=["DRAW-PRO"]
    )

    def draft(self) -> ItemDraft:
        """The domain's draft."""
        return self.to_draft(self.sku)


class OptionsRead(AnswerModel):
    """Product item options as they are programmed; unset ones are null."""

    product_code: int
    feature_map: int | None
    license_quantity: int | None
    unit_counter: int | None
    activation_time: datetime | None
    expiration_time: datetime | None
    usage_period_seconds: int | None
    maintenance_start: datetime | None
    maintenance_end: datetime | None
    text: str | None

    @classmethod
    def of(cls, options: ProductOptions) -> OptionsRead:
        """From the domain's value."""
        return cls(
            product_code=options.product_code,
            feature_map=options.feature_map,
            license_quantity=options.license_quantity,
            unit_counter=options.unit_counter,
            activation_time=options.activation_time,
            expiration_time=options.expiration_time,
            usage_period_seconds=options.usage_period_seconds,
            maintenance_start=options.maintenance_start,
            maintenance_end=options.maintenance_end,
            text=options.text,
        )


class ItemRead(AnswerModel):
    """An item."""

    item_id: str = Field(examples=["itm_019b0a3c5d7e7f018293a4b5c6d7e8f9"])
    sku: str
    name: str
    options: OptionsRead
    container_types: list[str]
    returnable: bool
    version: int = Field(description="Rises with every change; also the ETag.")
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, item: Item) -> ItemRead:
        """From the domain's value."""
        return cls(
            item_id=item.item_id,
            sku=item.sku,
            name=item.name,
            options=OptionsRead.of(item.options),
            container_types=[str(each) for each in item.container_types],
            returnable=item.returnable,
            version=item.version,
            created_at=item.created_at,
            changed_at=item.changed_at,
        )


class PositionBody(RequestModel):
    """One position of an order."""

    position: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Its number in the ERP's order; counted from 1 if left out.", examples=[10]
    )
    sku: str = Field(min_length=1, max_length=63, examples=["DRAW-PRO"])
    quantity: StrictInt = Field(
        description="Licences, 1 to 1000.",
        examples=[2],
        # The domain refuses other numbers, with a code that ERP systems know.
        json_schema_extra={"minimum": 1, "maximum": QUANTITY_MAX},
    )
    options: OptionsOverride = Field(default_factory=OptionsOverride)


class OrderCreate(RequestModel):
    """An order. The same again changes nothing; new positions under the same number extend the ticket."""

    order_number: str = Field(
        min_length=1, max_length=63, description="Natural key.", examples=["SO-2026-0815"]
    )
    customer_reference: str = Field(default="", max_length=100, examples=["D-40017"])
    positions: list[PositionBody] = Field(min_length=1, max_length=100)

    def to_draft(self) -> OrderDraft:
        """The domain's draft."""
        positions = tuple(
            OrderedPosition(
                position=number if each.position is None else each.position,
                sku=each.sku,
                quantity=each.quantity,
                options=each.options.to_json(),
            )
            for number, each in enumerate(self.positions, start=1)
        )
        return OrderDraft(
            order_number=self.order_number, customer_reference=self.customer_reference, positions=positions
        )


class PositionRead(AnswerModel):
    """One position of an order."""

    position: int
    sku: str
    quantity: int
    options: dict[str, JsonValue] = Field(description="Options that differ from the item's.")


class OrderRead(AnswerModel):
    """An order and the ticket it became."""

    order_id: str
    order_number: str
    ticket: str = Field(examples=["NFGSX-VWNYJ-T74CD-48H5B-7NEEJ"])
    customer_reference: str
    positions: list[PositionRead]
    license_count: int
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, order: Order) -> OrderRead:
        """From the domain's value."""
        return cls(
            order_id=order.order_id,
            order_number=order.order_number,
            ticket=order.ticket,
            customer_reference=order.customer_reference,
            positions=[
                PositionRead(
                    position=each.position,
                    sku=each.sku,
                    quantity=each.quantity,
                    options=cast(dict[str, JsonValue], each.options),
                )
                for each in order.positions
            ],
            license_count=order.license_count,
            created_at=order.created_at,
            changed_at=order.changed_at,
        )


class LicenseRead(AnswerModel):
    """A licence."""

    license_id: str
    ticket: str
    order_number: str
    position: int
    sku: str
    item_name: str
    options: OptionsRead
    returnable: bool
    container_types: list[str]
    state: LicenseState
    generation: int
    container: str | None = Field(description="Serial of the container it is in.")
    pending_transfer: str | None = Field(description="The transfer in the making that holds it.")
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, license_: License) -> LicenseRead:
        """From the domain's value."""
        return cls(
            license_id=license_.license_id,
            ticket=license_.ticket,
            order_number=license_.order_number,
            position=license_.position,
            sku=license_.sku,
            item_name=license_.item_name,
            options=OptionsRead.of(license_.options),
            returnable=license_.returnable,
            container_types=list(license_.container_types),
            state=license_.state,
            generation=license_.generation,
            container=license_.container,
            pending_transfer=license_.pending_transfer,
            created_at=license_.created_at,
            changed_at=license_.changed_at,
        )


class TicketRead(AnswerModel):
    """A ticket and its licences."""

    ticket: str
    order_number: str
    created_at: datetime
    licenses: list[LicenseRead]

    @classmethod
    def of(cls, ticket: Ticket) -> TicketRead:
        """From the domain's value."""
        return cls(
            ticket=ticket.ticket,
            order_number=ticket.order_number,
            created_at=ticket.created_at,
            licenses=[LicenseRead.of(each) for each in ticket.licenses],
        )


class HolderLicenseRead(AnswerModel):
    """A licence as the ticket's holder sees it; nothing of the vendor's own books."""

    license_id: str
    sku: str
    item_name: str
    state: LicenseState
    container: str | None
    returnable: bool
    expiration_time: datetime | None

    @classmethod
    def of(cls, license_: License) -> HolderLicenseRead:
        """From the domain's value."""
        return cls(
            license_id=license_.license_id,
            sku=license_.sku,
            item_name=license_.item_name,
            state=license_.state,
            container=license_.container,
            returnable=license_.returnable,
            expiration_time=license_.options.expiration_time,
        )


class HolderTicketRead(AnswerModel):
    """A ticket as its holder sees it."""

    ticket: str
    licenses: list[HolderLicenseRead]

    @classmethod
    def of(cls, ticket: Ticket) -> HolderTicketRead:
        """From the domain's value."""
        return cls(ticket=ticket.ticket, licenses=[HolderLicenseRead.of(each) for each in ticket.licenses])


class ContainerRead(AnswerModel):
    """A container as the books have it, with its licences."""

    serial: str = Field(examples=["130-1029384756"])
    container_type: str
    state: Literal["ok", "unexpected_state", "blocked"]
    reason: str | None = Field(description="Why it is in an unexpected state.")
    fuc_confirmed: int = Field(description="Highest firm update counter it has proven.")
    fuc_issued: int = Field(description="Counter after the last update that was issued.")
    key_thumbprint: str
    reported_fuc: int | None = Field(description="What it reported when it came into an unexpected state.")
    open_transfer: str | None
    licenses: list[LicenseRead]
    last_context_at: datetime
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, view: ContainerView) -> ContainerRead:
        """From the domain's value."""
        container = view.container
        return cls(
            serial=container.serial,
            container_type=container.container_type,
            state=container.state.value,
            reason=container.reason,
            fuc_confirmed=container.fuc_confirmed,
            fuc_issued=container.fuc_issued,
            key_thumbprint=container.key_thumbprint,
            reported_fuc=_reported_fuc(container),
            open_transfer=view.open_transfer,
            licenses=[LicenseRead.of(each) for each in view.licenses],
            last_context_at=container.last_context_at,
            created_at=container.created_at,
            changed_at=container.changed_at,
        )


def _reported_fuc(container: Container) -> int | None:
    reported = None if container.reported is None else container.reported.get("fuc")
    return reported if isinstance(reported, int) else None


class ContainerBlock(RequestModel):
    """Why a container is blocked."""

    reason: str = Field(min_length=1, max_length=500, examples=["Reported stolen on 2026-11-20."])


class ContainerRestore(RequestModel):
    """How an unexpected state is settled."""

    decision: Literal["keep_recorded", "accept_reported"] = Field(
        description="keep_recorded: the books are right. accept_reported: the container is."
    )
    reason: str = Field(
        min_length=1, max_length=500, examples=["Restored from a backup after a disk failure."]
    )
