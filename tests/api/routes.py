"""Every route of both APIs, and a request for each that would succeed: nobody can add a route and forget its tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.core.ids import new_id
from app.main import create_control_app, create_instance_app, create_portal_app
from tests.api.device import Device
from tests.api.site import HERE, ITEM, PUBLIC, Instance, Site, good
from tests.service.pki import issue, issue_for_host, make_authority, make_revocation_list


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the API, as the application declares it."""

    name: str
    method: str
    path: str
    extra: dict[str, Any]

    @property
    def is_web_service(self) -> bool:
        return "/api/v1/" in self.path

    @property
    def reads(self) -> bool:
        return self.method == "GET"

    @property
    def scope(self) -> str:
        return str(self.extra["x-wops-scope"])


def operations(app: FastAPI) -> Iterator[Operation]:
    """Everything an application declares, except pages."""
    for route in _routes(app):
        if route.include_in_schema:
            for method in sorted(route.methods or ()):
                yield Operation(
                    name=str(route.operation_id),
                    method=method,
                    path=route.path_format,
                    extra=dict(route.openapi_extra or {}),
                )


def _routes(app: FastAPI) -> Iterator[APIRoute]:
    pending: list[Any] = list(app.router.routes)
    while pending:
        route = pending.pop(0)
        if isinstance(route, APIRoute):
            yield route
        else:
            pending += list(getattr(getattr(route, "original_router", route), "routes", []))


def instance_operations(site: Site) -> list[Operation]:
    """The instance API: web services and gateways."""
    return list(operations(create_instance_app(site.platform)))


def admin_operations(site: Site) -> list[Operation]:
    """The admin API."""
    found = operations(create_control_app(site.platform))
    return [each for each in found if each.path.startswith("/admin/")]


def portal_operations(site: Site) -> list[Operation]:
    """The portal API: what customers do about their own instance."""
    return list(operations(create_portal_app(site.platform)))


class _Known(dict[str, str]):
    """Ids by the names they have in paths."""

    def __missing__(self, name: str) -> str:
        return f"{name}_0"


@dataclass(frozen=True, kw_only=True)
class Material:
    """An instance in the middle of its life, and what its routes can be called with."""

    instance: Instance
    device: Device
    ticket: str
    sku: str
    order_number: str
    license_id: str
    transfer_id: str
    client_id: str
    certificate_id: str
    token_id: str
    operation_id: str
    host_id: str
    authority: str
    bodies: dict[str, Any] = field(default_factory=dict)

    def path(self, operation: Operation) -> str:
        """The operation's path with things that are there; what this material does not have is nowhere."""
        return operation.path.format_map(
            _Known(
                {
                    "instance": self.instance.name,
                    "instance_id": self.instance.instance_id,
                    "customer_id": self.instance.customer_id,
                    "serial": self.device.serial,
                    "ticket": self.ticket,
                    "sku": self.sku,
                    "order_number": self.order_number,
                    "order_number:path": self.order_number,
                    "license_id": self.license_id,
                    "transfer_id": self.transfer_id,
                    "client_id": self.client_id,
                    "certificate_id": self.certificate_id,
                    "token_id": self.token_id,
                    "operation_id": self.operation_id,
                    "host_id": self.host_id,
                    "authority": self.authority,
                    "version": "1",
                    "scope": "all",
                    "box": "shared-box-1",
                    "line": "shared-1"
                    if self.instance.edition == "datacenter"
                    else f"{self.instance.name}-1",
                    "pool": "shared",
                    "firm_code": str(self.instance.firm_code),
                }
            )
        )

    def request(self, operation: Operation) -> tuple[str, str, dict[str, Any]]:
        """Method, path and keyword arguments of a call that succeeds, given the rights."""
        more: dict[str, Any] = {"headers": {"Idempotency-Key": new_id("key")}}
        if operation.method in ("POST", "PUT", "PATCH"):
            more["json"] = self.bodies.get(operation.name, {})
        if operation.method in ("PUT", "PATCH"):
            more["headers"]["If-Match"] = '"1"'
        if operation.name == "listLedger":
            more["params"] = {"period": "2026-03", "meter": "activations"}
        return operation.method, self.path(operation), more

    def send(self, operation: Operation, *, source: str = HERE, **more: Any) -> httpx2.Response:
        """Call it, with what is given instead or in addition."""
        method, path, prepared = self.request(operation)
        headers = {**prepared.pop("headers"), **more.pop("headers", {})}
        return self.instance.site.call(method, path, source=source, headers=headers, **{**prepared, **more})


def make_material(instance: Instance) -> Material:
    """Order, collect and apply; a second licence is still free, a second update not applied."""
    ask = instance.call if instance.has_web_services else instance.admin
    sku, order_number = new_id("sku")[-20:], new_id("so")[-20:]
    good(ask("POST", "/items", {"sku": sku, **ITEM}), 201)
    order = {"order_number": order_number, "positions": [{"position": 10, "sku": sku, "quantity": 2}]}
    ticket = good(ask("POST", "/orders", order), 201)["ticket"]
    licenses = [each["license_id"] for each in instance.licenses(ticket)]
    device = instance.device()
    body = {"action": "activate", "ticket": ticket, "license_ids": licenses[:1], "context": device.context()}
    transfer = good(instance.gate("POST", "/transfers", body), 201)
    device.apply(transfer["update"])
    client = good(
        instance.admin("POST", "/clients", {"name": f"c-{new_id('c')[-8:]}", "scopes": ["read"]}), 201
    )
    added = instance.admin(
        "POST", f"/clients/{client['client']['client_id']}/certificates", {"certificate": issue().pem}
    )
    kept = _pin_authority(instance, client["client"]["client_id"])
    host = _host_body()
    own_host = good(instance.admin("POST", "/hosts", host), 201)
    site = instance.site
    token = {"name": "x", "person": "x@wops.example", "role": "support"}
    return Material(
        instance=instance,
        device=device,
        ticket=ticket,
        sku=sku,
        order_number=order_number,
        license_id=licenses[0],
        transfer_id=transfer["transfer_id"],
        client_id=client["client"]["client_id"],
        certificate_id=good(added, 201)["certificate_id"],
        token_id=good(site.admin("POST", "/staff-tokens", token), 201)["token"]["token_id"],
        operation_id=good(site.admin("GET", "/operations"))["data"][0]["operation_id"],
        host_id=own_host["host_id"],
        authority=kept["authority"],
        bodies={
            **_bodies(instance, device, ticket, licenses[1], sku),
            **{f"renew{own}Host": {"certificate": host["certificate"], "key": host["key"]} for own in _OWNS},
            **{f"put{own}RevocationList": {"list": kept["pem"]} for own in ("", "Own")},
        },
    )


_OWNS: Final = ("", "Own", "Platform")


def _host_body() -> dict[str, Any]:
    """A host name that nobody has, with its certificate."""
    host = f"{new_id('h')[-12:]}.example.com"
    issued = issue_for_host(host, issuer=PUBLIC)
    return {"host": host, "certificate": issued.pem, "key": issued.key_pem}


def _pin_authority(instance: Instance, client_id: str) -> dict[str, Any]:
    """Pin an API client to an authority, and keep its revocation list."""
    authority = make_authority(f"CN={new_id('ca')[-12:]}")
    pin = {"certificate": authority.pem, "subject": "CN=erp"}
    good(instance.admin("POST", f"/clients/{client_id}/certificates", pin), 201)
    revoked = {"list": make_revocation_list(authority)}
    return {**good(instance.admin("PUT", "/revocation-lists", revoked)), "pem": revoked["list"]}


def _bodies(instance: Instance, device: Device, ticket: str, free: str, sku: str) -> dict[str, Any]:
    item = {"sku": new_id("sku")[-20:], **ITEM}
    order = {"order_number": new_id("so")[-20:], "positions": [{"sku": sku, "quantity": 1}]}
    confirm = {"receipt": device.receipt()}
    transfer = {"action": "activate", "ticket": ticket, "license_ids": [free], "context": device.context()}
    restore = {"decision": "keep_recorded", "reason": "found again"}
    lines = 2 if instance.edition == "high_availability" else 1
    return {
        "createItem": item,
        "createItemForCustomer": {**item, "sku": new_id("sku")[-20:]},
        "replaceItem": {**ITEM, "name": "Drawing Pro 2"},
        "placeOrder": order,
        "placeOrderForCustomer": {**order, "order_number": new_id("so")[-20:]},
        "startTransfer": transfer,
        "startHolderTransfer": transfer,
        "confirmTransfer": confirm,
        "confirmHolderTransfer": confirm,
        "cancelTransfer": None,
        "cancelHolderTransfer": {"ticket": ticket},
        "blockContainer": {"reason": "stolen"},
        "restoreContainer": restore,
        "restoreContainerForCustomer": restore,
        "createCustomer": {"name": f"c-{new_id('c')[-8:]}", "display_name": "Somebody"},
        "createInstance": {
            "customer_id": instance.customer_id,
            "edition": "datacenter",
            "name": f"n-{new_id('i')[-8:]}",
        },
        "addContract": {"edition": instance.edition, "lines": lines},
        "putAccessPolicy": {"methods": ["basic"]},
        "createClient": {"name": f"c-{new_id('c')[-8:]}", "scopes": ["read"]},
        "rotateClient": None,
        "disableClient": None,
        "enableClient": None,
        "changeClient": {"scopes": ["read", "orders"]},
        "diagnoseAccess": {"address": HERE},
        "addClientCertificate": {"certificate": issue().pem},
        "putOwnAccessPolicy": {"methods": ["basic"]},
        "createOwnClient": {"name": f"c-{new_id('c')[-8:]}", "scopes": ["read"]},
        "rotateOwnClient": None,
        "disableOwnClient": None,
        "enableOwnClient": None,
        "changeOwnClient": {"scopes": ["read", "orders"]},
        "diagnoseOwnAccess": {"address": HERE},
        "addOwnClientCertificate": {"certificate": issue().pem},
        "addHost": _host_body(),
        "addOwnHost": _host_body(),
        "addPlatformHost": _host_body(),
        "createStaffToken": {"name": "somebody", "person": "somebody@wops.example", "role": "support"},
        "revokeStaffToken": None,
        **_MORE_BODIES,
        "requestSupportAccess": {"instance_id": instance.instance_id, "reason": "a ticket", "hours": 3},
    }


_WHY: Final = {"reason": "because"}
_REQUEST: Final = {"method": "GET", "path": "/api/v1/items", "source": HERE}
_MORE_BODIES: Final[Mapping[str, Any]] = {
    "putRules": {"rules": []},
    "putOwnRules": {"rules": []},
    "undoRules": None,
    "undoOwnRules": None,
    "tryRules": _REQUEST,
    "tryOwnRules": _REQUEST,
    "approveApproval": {},
    "rejectApproval": _WHY,
    "changeCustomer": {"display_name": "Somebody else"},
    "removeClient": None,
    "denyNetwork": {"network": "203.0.113.0/24", **_WHY},
    "allowNetwork": None,
    "planFront": None,
    "pauseReconcile": _WHY,
    "resumeReconcile": None,
    "releaseReconcilePart": {"part": "line:acme-1"},
    "removeHost": None,
    "removeOwnHost": None,
    "removePlatformHost": None,
    "removeRevocationList": None,
    "removeOwnRevocationList": None,
    "removeClientCertificate": None,
    "removeOwnClient": None,
    "removeOwnClientCertificate": None,
    "requestExport": None,
    "withdrawContract": None,
    "requestOwnExport": None,
    "installFirmKey": _WHY,
    "addBox": {"name": "shared-box-9", "pool": "shared", **_WHY},
    "changeBox": {"jitter": 0.0},
    "drainBox": None,
    "resumeBox": None,
    "loadTransactions": {"number": 100},
    "retryBox": None,
    "addLine": {"ends_at": "2026-03-12T09:00:00Z", **_WHY},
    "changeLine": {"weight": 50},
    "drainLine": None,
    "restoreLine": None,
    "removeLine": None,
    "lendBox": {"to": "nobodys", "hours": 1, **_WHY},
    "returnBox": None,
    "removeBox": _WHY,
    "copyFirmKey": {"to": "shared-box-1", **_WHY},
    "moveFirmKey": {"from": "shared-box-1", "to": "shared-box-2", **_WHY},
    "rotateFirmKey": _WHY,
    "retireFirmKey": _WHY,
    "correctQuota": {"month": "2026-03", "effect_ids": ["trf_x"], **_WHY},
    "endInstance": _WHY,
    "eraseInstance": _WHY,
    "erasePerson": _WHY,
    "freezeInstance": None,
    "unfreezeInstance": None,
    "reinstateInstance": {},
    "renameInstance": {"name": "another-name"},
    "startMigration": {},
    "cancelOperation": _WHY,
    "skipOperationStep": _WHY,
    "recoverOperation": None,
    "retryOperation": None,
    "runIsolationProbe": None,
    "createServer": {
        "name": "files-2",
        "kind": "sqlite",
        "purpose": "shared",
        "site": "here",
        "country": "DE",
        "address": "instances/two",
    },
    "removeServer": None,
    "changeServer": {"capacity": 3},
    "rotateStaffToken": {},
    "approveSupportAccess": None,
    "refuseSupportAccess": None,
    "revokeSupportAccess": None,
}
NEEDS_SLOW_BOX: Final = frozenset({"cancelTransfer", "cancelHolderTransfer"})
"""Operations that succeed only while a box has not begun: `test_cancel.py` waits for a slow one."""
OPTIONAL_BODIES: Final = frozenset(
    {
        "approveApproval",
        "changeBox",
        "changeClient",
        "changeOwnClient",
        "changeServer",
        "reinstateInstance",
        "rotateStaffToken",
        "startMigration",
    }
)
"""Operations whose body may be an empty object."""
