"""For every route that changes something, a call that succeeds: what the test of the audit's completeness walks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import httpx2

from app.core.ids import new_id
from tests.api.lifecycle import approve_asked, approved
from tests.api.routes import NEEDS_SLOW_BOX, make_material
from tests.api.site import PUBLIC, Instance, Site, good
from tests.service.pki import issue, issue_for_host, make_authority, make_revocation_list

REASON: Final = "Ticket 4711: so gewünscht."


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A site, a fresh instance of it, and who may call."""

    site: Site
    instance: Instance

    def staff(
        self, method: str, path: str, json: Any = None, *, version: int | None = None, token: str = ""
    ) -> httpx2.Response:
        """A member of staff, with a reason."""
        headers = {"Authorization": f"Bearer {token or self.site.token}", "Wops-Reason": quote(REASON)}
        return self.site.call(
            method, f"/admin/v1{path}", json=json, headers=self._headers(version, **headers)
        )

    def of(self, method: str, path: str, json: Any = None, *, version: int | None = None) -> httpx2.Response:
        """A member of staff, about the instance."""
        return self.staff(method, f"/instances/{self.instance.instance_id}{path}", json, version=version)

    def client(
        self, method: str, path: str, json: Any = None, *, version: int | None = None
    ) -> httpx2.Response:
        """The customer's ERP."""
        return self.instance.call(method, path, json, headers=self._headers(version))

    def portal(
        self, method: str, path: str, json: Any = None, *, version: int | None = None
    ) -> httpx2.Response:
        """The customer in his portal."""
        return self.instance.portal(method, path, json, headers=self._headers(version))

    def holder(self, method: str, path: str, json: Any) -> httpx2.Response:
        """A ticket's holder."""
        return self.instance.gate(method, path, json, headers=self._headers(None))

    def _headers(self, version: int | None, **more: str) -> dict[str, str]:
        based_on = {} if version is None else {"If-Match": f'"{version}"'}
        return {"Idempotency-Key": new_id("key"), "Request-Id": new_id("req"), **based_on, **more}

    # What has to be there first.

    def new_client(self) -> str:
        """An API client's id."""
        body = {"name": f"c-{new_id('c')[-8:]}", "scopes": ["read"]}
        return str(good(self.of("POST", "/clients", body), 201)["client"]["client_id"])

    def version(self, path: str) -> int:
        """From the ETag of something staff can read."""
        answer = self.staff("GET", path)
        good(answer)
        return int(answer.headers["ETag"].strip('"'))

    @property
    def instance_version(self) -> int:
        return self.version(f"/instances/{self.instance.instance_id}")

    def certificate_id(self, client_id: str) -> str:
        found = good(self.of("POST", f"/clients/{client_id}/certificates", {"certificate": issue().pem}), 201)
        return str(found["certificate_id"])

    def new_token(self) -> str:
        body = {"name": "x", "person": f"{new_id('p')[-8:]}@wops.example", "role": "support"}
        return str(good(self.staff("POST", "/staff-tokens", body), 201)["token"]["token_id"])

    def server(self) -> dict[str, Any]:
        return {
            "name": f"s-{new_id('s')[-8:]}",
            "kind": "sqlite",
            "purpose": "shared",
            "site": "north",
            "country": "DE",
            "capacity": 3,
            "address": f"more/{new_id('s')[-8:]}",
        }

    def approval(self) -> dict[str, Any]:
        """A request that somebody else has made."""
        other = self.site.new_token("operator", person=f"{new_id('p')[-8:]}@wops.example")
        path = f"/instances/{self.instance.instance_id}/firm-key:install"
        return dict(good(self.staff("POST", path, {"reason": "a new box"}, token=other), 202))

    def frozen(self) -> int:
        """Freeze the instance; its version then."""
        good(self.of("POST", ":freeze", version=self.instance_version))
        return self.instance_version

    def future_contract(self) -> str:
        """A contract row that begins tomorrow; its id."""
        begins = (self.site.clock.now() + timedelta(days=1)).isoformat()
        body = {"edition": "dedicated", "effective_from": begins}
        return str(good(self.of("POST", "/contracts", body), 201)["contract_id"])

    @property
    def tomorrow(self) -> str:
        return (self.site.clock.now() + timedelta(days=1)).isoformat()

    def support_access(self) -> str:
        body = {"instance_id": self.instance.instance_id, "reason": "ticket 4711", "hours": 24}
        return str(good(self.staff("POST", "/support-accesses", body), 201)["access_id"])

    def counted(self) -> list[str]:
        make_material(self.instance)
        return [row["effect_id"] for row in self.instance.ledger("activations") if row["phase"] == "counted"]


def _sent(name: str, how: str, method: str, path: str) -> Callable[[Stage], httpx2.Response]:
    """One of the routes that `tests.api.routes` has a body for."""

    def send(stage: Stage) -> httpx2.Response:
        material = make_material(stage.instance)
        if "restore" in path:
            good(stage.client("POST", f"/containers/{material.device.serial}:block", {"reason": "stolen"}))
        at = path.format(sku=material.sku, serial=material.device.serial, transfer_id=material.transfer_id)
        version = 1 if method == "PUT" else None
        if how == "holder":
            return stage.holder(method, at, material.bodies[name])
        answer: httpx2.Response = getattr(stage, how)(method, at, material.bodies[name], version=version)
        return answer

    return send


def _access(stage: Stage, ask: Callable[..., httpx2.Response]) -> httpx2.Response:
    version = int(stage.of("GET", "/access").headers["ETag"].strip('"'))
    return ask("PUT", "/access", {"mode": "all", "methods": ["basic"]}, version=version)


def _client(
    method: str, path: str = "", json: Any = None, *, disabled: bool = False
) -> Callable[[Stage, Callable[..., httpx2.Response]], httpx2.Response]:
    """A call about an API client, by staff or by the customer."""

    def send(stage: Stage, ask: Callable[..., httpx2.Response]) -> httpx2.Response:
        client_id = stage.new_client()
        if disabled:
            good(stage.of("POST", f"/clients/{client_id}:disable"))
        version = stage.version(f"/instances/{stage.instance.instance_id}/clients/{client_id}")
        given = {"certificate": issue().pem} if json == "certificate" else json
        return ask(
            method, f"/clients/{client_id}{path}", given, version=version if method == "PATCH" else None
        )

    return send


def _certificate_removed(stage: Stage, ask: Callable[..., httpx2.Response]) -> httpx2.Response:
    client_id = stage.new_client()
    return ask("DELETE", f"/clients/{client_id}/certificates/{stage.certificate_id(client_id)}")


def _host_body(host: str = "") -> dict[str, Any]:
    host = host or f"{new_id('h')[-12:]}.example.com"
    issued = issue_for_host(host, issuer=PUBLIC)
    return {"host": host, "certificate": issued.pem, "key": issued.key_pem}


def _renewed_host(stage: Stage, ask: Callable[..., httpx2.Response]) -> httpx2.Response:
    host = good(stage.of("POST", "/hosts", _host_body()), 201)
    body = _host_body(host["host"])
    del body["host"]
    return ask("PUT", f"/hosts/{host['host_id']}/certificate", body, version=1)


def _removed_host(stage: Stage, ask: Callable[..., httpx2.Response]) -> httpx2.Response:
    host = good(stage.of("POST", "/hosts", _host_body()), 201)
    return ask("DELETE", f"/hosts/{host['host_id']}", version=1)


def _revocation_list(
    stage: Stage, ask: Callable[..., httpx2.Response], *, removed: bool = False
) -> httpx2.Response:
    authority = make_authority(f"CN={new_id('ca')[-12:]}")
    pin = {"certificate": authority.pem, "subject": "CN=erp"}
    good(stage.of("POST", f"/clients/{stage.new_client()}/certificates", pin), 201)
    kept = good(stage.of("PUT", "/revocation-lists", {"list": make_revocation_list(authority)}))
    if removed:
        return ask("DELETE", f"/revocation-lists/{kept['authority']}")
    return ask("PUT", "/revocation-lists", {"list": make_revocation_list(authority, number=2)})


def _denied(stage: Stage) -> httpx2.Response:
    return stage.staff("POST", "/denied-networks", {"network": "198.51.100.0/24", "reason": "a flood"})


def _server_changed(stage: Stage, method: str, json: Any) -> httpx2.Response:
    server_id = good(stage.staff("POST", "/servers", stage.server()), 201)["server_id"]
    return stage.staff(method, f"/servers/{server_id}", json, version=stage.version(f"/servers/{server_id}"))


def _person_erased(stage: Stage) -> httpx2.Response:
    person = f"{new_id('p')[-8:]}@wops.example"
    stage.site.new_token("support", person=person)
    people = stage.site.listed("/people")
    (person_id,) = [each["person_id"] for each in people if each["name"] == person]
    return stage.staff("POST", f"/people/{person_id}:erase", {"reason": "has left"})


def _reinstated(stage: Stage) -> httpx2.Response:
    approved(stage.instance, "end", {"reason": "contract ended", "retention_days": 30})
    return stage.of("POST", ":reinstate", {}, version=stage.instance_version)


def _erased(stage: Stage) -> httpx2.Response:
    approved(stage.instance, "end", {"reason": "contract ended", "retention_days": 0})
    return stage.of("POST", ":erase", {"reason": "retention is over"})


def _support(decision: str) -> Callable[[Stage], httpx2.Response]:
    def send(stage: Stage) -> httpx2.Response:
        path = f"/support-access/{stage.support_access()}"
        if decision == "revoke":
            good(stage.portal("POST", f"{path}:approve", version=1))
            return stage.portal("POST", f"{path}:revoke")
        return stage.portal("POST", f"{path}:{decision}", version=1)

    return send


def _own_box(stage: Stage) -> str:
    """A box of an instance of its own, so that no other test misses it; it has company."""
    name = f"p-{new_id('p')[-8:]}"
    owner = stage.site.add_instance("high_availability", name, customer=stage.instance.customer_id)
    return f"{owner.name}-box-1"


def _box(verb: str, json: Any = None, *, reads: bool = False) -> Callable[[Stage], httpx2.Response]:
    """A call about a box; one that `reads` the version first."""

    def send(stage: Stage) -> httpx2.Response:
        box = _own_box(stage)
        if verb == ":resume":
            good(stage.staff("POST", f"/boxes/{box}:drain", version=1))
        version = stage.version(f"/boxes/{box}") if reads else None
        if verb == ":load":
            good(stage.staff("PATCH", f"/boxes/{box}", {"transactions": "standard"}, version=1))
        method = "POST" if verb else "PATCH"
        return stage.staff(method, f"/boxes/{box}{verb}", json, version=version)

    return send


def _returned(stage: Stage) -> httpx2.Response:
    box = _own_box(stage)
    asked = good(
        stage.staff("POST", f"/boxes/{box}:lend", {"to": "shared", "hours": 1, "reason": "help"}), 202
    )
    approve_asked(stage.site, asked)
    return stage.staff("POST", f"/boxes/{box}:return")


def _own_lines(stage: Stage) -> str:
    """Where the lines are of an instance of its own."""
    pool = _own_box(stage).removesuffix("-box-1")
    (read,) = [each for each in stage.site.listed("/instances") if each["name"] == pool]
    return f"/instances/{read['instance_id']}/lines"


def _line(method: str, verb: str, json: Any = None) -> Callable[[Stage], httpx2.Response]:
    """A call about one of two lines."""

    def send(stage: Stage) -> httpx2.Response:
        path = _own_lines(stage)
        line = f"{path}/{good(stage.staff('GET', path))[0]['line_id']}"
        if verb == ":restore":
            good(stage.staff("POST", f"{line}:drain", version=1))
        return stage.staff(method, f"{line}{verb}", json, version=stage.version(line))

    return send


def _line_removed(stage: Stage) -> httpx2.Response:
    path = _own_lines(stage)
    asked = good(stage.staff("POST", path, {"ends_at": stage.tomorrow, "reason": "a peak"}), 202)
    approve_asked(stage.site, asked)
    line = f"{path}/{good(stage.staff('GET', path))[2]['line_id']}"
    return stage.staff("DELETE", line, version=stage.version(line))


def _firm_key(verb: str, **json: str) -> Callable[[Stage], httpx2.Response]:
    """A call about the firm key of an instance with two boxes of its own."""

    def send(stage: Stage) -> httpx2.Response:
        pool = _own_box(stage).removesuffix("-box-1")
        (key,) = [each for each in good(stage.staff("GET", "/firm-keys")) if f"{pool}-box-1" in each["boxes"]]
        body = {name: value.format(pool=pool) for name, value in json.items()}
        if verb == "retire":
            (read,) = [each for each in stage.site.listed("/instances") if each["name"] == pool]
            ended = Instance(
                site=stage.site,
                edition="high_availability",
                name=pool,
                instance_id=read["instance_id"],
                customer_id=read["customer_id"],
                firm_code=read["firm_code"],
            )
            approved(ended, "end", {"reason": "contract ended", "retention_days": 30})
        if verb == "copy":
            # Both boxes have it: the one it is copied into loses it first.
            moved = {"from": body["to"], "to": f"{pool}-box-1"}
            path = f"/firm-keys/{key['firm_code']}:move"
            approve_asked(stage.site, good(stage.staff("POST", path, {"reason": "x", **moved}), 202))
        return stage.staff("POST", f"/firm-keys/{key['firm_code']}:{verb}", {"reason": "a test", **body})

    return send


def _asked_by(
    how: str, call: Callable[[Stage, Callable[..., httpx2.Response]], httpx2.Response]
) -> Callable[[Stage], httpx2.Response]:
    """The same call by staff (`of`) or by the customer (`portal`)."""
    return lambda stage: call(stage, getattr(stage, how))


def _ruled(stage: Stage, ask: Callable[..., httpx2.Response], *, undone: bool = False) -> httpx2.Response:
    rule = {"name": "pause", "action": {"kind": "maintenance"}}
    changed = ask("PUT", "/rules", {"rules": [rule]}, version=1)
    return ask("POST", "/rules:undo", version=2) if undone else changed


_CLIENT_CALLS: Final[Mapping[str, Callable[[Stage, Callable[..., httpx2.Response]], httpx2.Response]]] = {
    "create{}Client": lambda stage, ask: ask("POST", "/clients", {"name": "another", "scopes": ["read"]}),
    "change{}Client": _client("PATCH", json={"name": "other-name"}),
    "remove{}Client": _client("DELETE"),
    "rotate{}Client": _client("POST", ":rotate"),
    "disable{}Client": _client("POST", ":disable"),
    "enable{}Client": _client("POST", ":enable", disabled=True),
    "add{}ClientCertificate": _client("POST", "/certificates", "certificate"),
    "remove{}ClientCertificate": _certificate_removed,
    "put{}AccessPolicy": _access,
    "add{}Host": lambda stage, ask: ask("POST", "/hosts", _host_body()),
    "renew{}Host": _renewed_host,
    "remove{}Host": _removed_host,
    "put{}RevocationList": _revocation_list,
    "remove{}RevocationList": partial(_revocation_list, removed=True),
    "request{}Export": lambda stage, ask: ask("POST", "/exports"),
    "put{}Rules": _ruled,
    "undo{}Rules": lambda stage, ask: _ruled(stage, ask, undone=True),
}

SCENES: Final[Mapping[str, Callable[[Stage], httpx2.Response]]] = {
    "createItem": _sent("createItem", "client", "POST", "/items"),
    "replaceItem": _sent("replaceItem", "client", "PUT", "/items/{sku}"),
    "placeOrder": _sent("placeOrder", "client", "POST", "/orders"),
    "blockContainer": _sent("blockContainer", "client", "POST", "/containers/{serial}:block"),
    "restoreContainer": _sent("restoreContainer", "client", "POST", "/containers/{serial}:restore"),
    "startTransfer": _sent("startTransfer", "client", "POST", "/transfers"),
    "confirmTransfer": _sent("confirmTransfer", "client", "POST", "/transfers/{transfer_id}:confirm"),
    "startHolderTransfer": _sent("startHolderTransfer", "holder", "POST", "/transfers"),
    "confirmHolderTransfer": _sent(
        "confirmHolderTransfer", "holder", "POST", "/transfers/{transfer_id}:confirm"
    ),
    "createItemForCustomer": _sent("createItemForCustomer", "of", "POST", "/items"),
    "placeOrderForCustomer": _sent("placeOrderForCustomer", "of", "POST", "/orders"),
    "restoreContainerForCustomer": _sent(
        "restoreContainerForCustomer", "of", "POST", "/containers/{serial}:restore"
    ),
    "createCustomer": lambda stage: stage.staff(
        "POST", "/customers", {"name": f"c-{new_id('c')[-8:]}", "display_name": "Somebody"}
    ),
    "changeCustomer": lambda stage: stage.staff(
        "PATCH",
        f"/customers/{stage.instance.customer_id}",
        {"display_name": "Another"},
        version=stage.version(f"/customers/{stage.instance.customer_id}"),
    ),
    "createInstance": lambda stage: stage.staff(
        "POST",
        "/instances",
        {
            "customer_id": stage.instance.customer_id,
            "edition": "datacenter",
            "name": f"n-{new_id('i')[-8:]}",
        },
    ),
    "withdrawContract": lambda stage: stage.of("DELETE", f"/contracts/{stage.future_contract()}"),
    "addContract": lambda stage: stage.of("POST", "/contracts", {"edition": "dedicated", "lines": 1}),
    "renameInstance": lambda stage: stage.of(
        "POST", ":rename", {"name": f"r-{new_id('i')[-8:]}"}, version=stage.instance_version
    ),
    "freezeInstance": lambda stage: stage.of("POST", ":freeze", version=stage.instance_version),
    "unfreezeInstance": lambda stage: stage.of("POST", ":unfreeze", version=stage.frozen()),
    "reinstateInstance": _reinstated,
    "endInstance": lambda stage: stage.of("POST", ":end", {"reason": "contract ended"}),
    "eraseInstance": _erased,
    "installFirmKey": lambda stage: stage.of("POST", "/firm-key:install", {"reason": "a new box"}),
    "addBox": lambda stage: stage.staff(
        "POST", "/boxes", {"name": f"b-{new_id('b')[-8:]}", "pool": "shared", "reason": "a new box"}
    ),
    "changeBox": _box("", {"operation_time_ms": 1}, reads=True),
    "drainBox": _box(":drain", reads=True),
    "resumeBox": _box(":resume", reads=True),
    "loadTransactions": _box(":load", {"number": 100}),
    "retryBox": _box(":retry"),
    "lendBox": _box(":lend", {"to": "shared", "hours": 1, "reason": "help"}),
    "returnBox": _returned,
    "removeBox": _box(":remove", {"reason": "worn out"}),
    "addLine": lambda stage: stage.staff(
        "POST", f"{_own_lines(stage)}", {"ends_at": stage.tomorrow, "reason": "a peak"}
    ),
    "changeLine": _line("PATCH", "", {"weight": 50}),
    "drainLine": _line("POST", ":drain"),
    "restoreLine": _line("POST", ":restore"),
    "removeLine": _line_removed,
    "copyFirmKey": _firm_key("copy", to="{pool}-box-2"),
    "moveFirmKey": _firm_key("move", **{"from": "{pool}-box-1", "to": "{pool}-box-2"}),
    "rotateFirmKey": _firm_key("rotate"),
    "retireFirmKey": _firm_key("retire"),
    "correctQuota": lambda stage: stage.of(
        "POST", "/quota:correct", {"month": "2026-03", "effect_ids": stage.counted()[:1], "reason": "a test"}
    ),
    "createServer": lambda stage: stage.staff("POST", "/servers", stage.server()),
    "changeServer": lambda stage: _server_changed(stage, "PATCH", {"capacity": 4}),
    "removeServer": lambda stage: _server_changed(stage, "DELETE", None),
    "createStaffToken": lambda stage: stage.staff(
        "POST", "/staff-tokens", {"name": "x", "person": "somebody@wops.example", "role": "support"}
    ),
    "rotateStaffToken": lambda stage: stage.staff("POST", f"/staff-tokens/{stage.new_token()}:rotate", {}),
    "revokeStaffToken": lambda stage: stage.staff("POST", f"/staff-tokens/{stage.new_token()}:revoke"),
    "erasePerson": _person_erased,
    "approveApproval": lambda stage: stage.staff(
        "POST", f"/approvals/{stage.approval()['approval_id']}:approve", {}, version=1
    ),
    "rejectApproval": lambda stage: stage.staff(
        "POST", f"/approvals/{stage.approval()['approval_id']}:reject", {"reason": "not now"}
    ),
    "requestSupportAccess": lambda stage: stage.staff(
        "POST",
        "/support-accesses",
        {"instance_id": stage.instance.instance_id, "reason": "ticket 4711", "hours": 24},
    ),
    "approveSupportAccess": _support("approve"),
    "refuseSupportAccess": _support("refuse"),
    "revokeSupportAccess": _support("revoke"),
    "addPlatformHost": lambda stage: stage.staff("POST", "/hosts", _host_body()),
    "renewPlatformHost": lambda stage: _renewed_host(stage, stage.staff),
    "removePlatformHost": lambda stage: _removed_host(stage, stage.staff),
    "denyNetwork": _denied,
    "allowNetwork": lambda stage: stage.staff(
        "DELETE", f"/denied-networks/{good(_denied(stage), 201)['denied_id']}"
    ),
    "pauseReconcile": lambda stage: stage.staff("PUT", "/reconcile/pauses/all", {"reason": "a test"}),
    "resumeReconcile": lambda stage: stage.staff("DELETE", "/reconcile/pauses/all"),
    "runIsolationProbe": lambda stage: stage.staff("POST", "/probes/isolation:run"),
    "startMigration": lambda stage: stage.staff("POST", "/migrations", {"instances": [stage.instance.name]}),
    **{name.format(""): _asked_by("of", call) for name, call in _CLIENT_CALLS.items()},
    **{name.format("Own"): _asked_by("portal", call) for name, call in _CLIENT_CALLS.items()},
}
"""By operationId."""

NO_CHANGE: Final = {"diagnoseAccess", "diagnoseOwnAccess", "planFront", "tryRules", "tryOwnRules"}
"""POST routes that only try something out."""
ELSEWHERE: Final = {
    "retryOperation",
    "skipOperationStep",
    "cancelOperation",
    "recoverOperation",
    "releaseReconcilePart",
    *NEEDS_SLOW_BOX,
}
"""Need an operation that has failed, a slow box, or a part that healing has given up: their entries are looked at in
`test_operation.py`, `test_cancel.py` and `test_reconcile.py`."""
