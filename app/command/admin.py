"""`wops admin`: what staff do from a terminal, through the admin API."""

from __future__ import annotations

import typer

from app.command import (
    admin_access,
    admin_box,
    admin_client,
    admin_contract,
    admin_customer,
    admin_firm_key,
    admin_instance,
    admin_operation,
    admin_probe,
    admin_quota,
    admin_server,
    staff,
)

commands = typer.Typer(
    no_args_is_help=True, help="Customers, instances, boxes, API clients, contracts and staff tokens."
)
for _name, _group in {
    "customer": admin_customer.commands,
    "instance": admin_instance.commands,
    "client": admin_client.commands,
    "contract": admin_contract.commands,
    "access": admin_access.commands,
    "quota": admin_quota.quota,
    "box": admin_box.box,
    "pool": admin_box.pool,
    "firm-key": admin_firm_key.commands,
    "token": staff.token,
    "person": staff.person,
    "approval": staff.approval,
    "support": staff.support,
    "operation": admin_operation.commands,
    "server": admin_server.commands,
    "probe": admin_probe.commands,
}.items():
    commands.add_typer(_group, name=_name)
