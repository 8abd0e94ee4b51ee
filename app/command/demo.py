"""The demo customer: four instances, one of each edition, each with an API client and an access policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.command.output import line, out
from app.command.session import version_in
from app.command.wait import wait_for_operation
from app.core.json import JsonObject
from app.core.net import ApiSession

CUSTOMER: Final = "demo"
CLIENT: Final = "erp"
_MADE_BEFORE: Final = "(made before; `wops admin client rotate` makes a new secret)"
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class DemoInstance:
    """One instance of the demo customer."""

    name: str
    edition: str


INSTANCES: Final = (
    DemoInstance("demo-datacenter", "datacenter"),
    DemoInstance("demo-dedicated", "dedicated"),
    DemoInstance("demo-performance", "high_performance"),
    DemoInstance("demo-availability", "high_availability"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccess:
    """How to reach one demo instance.

    Attributes:
        secret: shown when the client was made, which is once; None afterwards.
    """

    name: str
    edition: str
    username: str
    secret: str | None


def set_up_demo(api: ApiSession, *, tell: Callable[[str], None]) -> list[DemoAccess]:
    """Make what is missing of the demo; run again, it changes nothing.

    Args:
        api: a session as staff.
        tell: gets a line before each step that takes a while.
    """
    present = {str(each["name"]): each for each in api.get_all("/admin/v1/instances")}
    missing = [each for each in INSTANCES if each.name not in present]
    for each in INSTANCES:
        found = present.get(each.name)
        # Whoever asked for it before was interrupted.
        if found is not None and found["state"] == "provisioning":
            tell(f"waiting for {each.name}")
            _wait_until_made(api, str(found["instance_id"]))
    if missing:
        customer_id = _customer_id(api)
        ordered = []
        for each in missing:
            tell(f"creating {each.name} ({each.edition})")
            body: JsonObject = {"customer_id": customer_id, "edition": each.edition, "name": each.name}
            ordered.append(str(api.post("/admin/v1/instances", body).object()["operation_id"]))
        for operation_id in ordered:
            wait_for_operation(api, operation_id, quiet=True)
        present = {str(each["name"]): each for each in api.get_all("/admin/v1/instances")}
    return [_access(api, each, str(present[each.name]["instance_id"])) for each in INSTANCES]


def _wait_until_made(api: ApiSession, instance_id: str) -> None:
    for operation in api.get_all("/admin/v1/operations", object_id=instance_id):
        wait_for_operation(api, str(operation["operation_id"]), quiet=True)


def _customer_id(api: ApiSession) -> str:
    for each in api.get_all("/admin/v1/customers"):
        if each["name"] == CUSTOMER:
            return str(each["customer_id"])
    body: JsonObject = {"name": CUSTOMER, "display_name": "Demo Software GmbH"}
    return str(api.post("/admin/v1/customers", body).object()["customer_id"])


def _access(api: ApiSession, instance: DemoInstance, instance_id: str) -> DemoAccess:
    path = f"/admin/v1/instances/{instance_id}"
    policy = api.get(f"{path}/access")
    if not policy.object()["methods"]:
        body: JsonObject = {"mode": "all", "methods": ["network", "basic"], "networks": list(LOOPBACK)}
        api.put(f"{path}/access", body, if_match=version_in(policy))
    for client in api.get(f"{path}/clients").list():
        if client["name"] == CLIENT:
            return DemoAccess(
                name=instance.name, edition=instance.edition, username=str(client["username"]), secret=None
            )
    made = api.post(
        f"{path}/clients", {"name": CLIENT, "scopes": ["read", "orders", "licenses", "admin"]}
    ).object()
    described = made["client"]
    username = described["username"] if isinstance(described, dict) else ""
    return DemoAccess(
        name=instance.name, edition=instance.edition, username=str(username), secret=str(made["secret"])
    )


def print_access(address: str, access: list[DemoAccess]) -> None:
    """Print how to reach the demo instances."""
    out.print("\nDemo instances, with API clients for their web services; a secret is shown this once:")
    for each in access:
        out.print(line("  ", (each.name, "bold"), f" ({each.edition})  {address}/{each.name}"))
        out.print(line(f"    {each.username}  ", (each.secret or _MADE_BEFORE, "yellow")))
