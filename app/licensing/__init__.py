"""License Central of one instance: items, orders, tickets, licences, containers, transfers, events."""

from app.licensing.container.container_rule import Container, ContainerState
from app.licensing.container.service import ContainerService, ContainerView, Decision
from app.licensing.errors import LicensingError
from app.licensing.item.item import Item, ItemDraft
from app.licensing.item.service import ItemService
from app.licensing.license.license import License, LicenseAction, LicenseState
from app.licensing.license.repository import LicenseFilter
from app.licensing.order.order import Order, OrderDraft, Ticket
from app.licensing.order.order_rule import OrderedPosition
from app.licensing.order.service import OrderService
from app.licensing.order.ticket_code import parse_ticket
from app.licensing.product_item import ContainerType, ProductOptions, options_from_json, options_to_json
from app.licensing.transfer.job import InstanceIdentity
from app.licensing.transfer.programmer import Programmer
from app.licensing.transfer.reservation import Deadlines, TransferRequest
from app.licensing.transfer.service import Shown, TransferService
from app.licensing.transfer.standing import Standing
from app.licensing.transfer.sweep import has_open_transfers
from app.licensing.transfer.transfer_plan import Started, Transfer, TransferAction, TransferState, Wish

__all__ = [
    "Container",
    "ContainerService",
    "ContainerState",
    "ContainerType",
    "ContainerView",
    "Deadlines",
    "Decision",
    "InstanceIdentity",
    "Item",
    "ItemDraft",
    "ItemService",
    "License",
    "LicenseAction",
    "LicenseFilter",
    "LicenseState",
    "LicensingError",
    "Order",
    "OrderDraft",
    "OrderService",
    "OrderedPosition",
    "ProductOptions",
    "Programmer",
    "Shown",
    "Standing",
    "Started",
    "Ticket",
    "Transfer",
    "TransferAction",
    "TransferRequest",
    "TransferService",
    "TransferState",
    "Wish",
    "has_open_transfers",
    "options_from_json",
    "options_to_json",
    "parse_ticket",
]
