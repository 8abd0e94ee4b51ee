"""`wops admin`: what staff do from a terminal, through the admin API."""

from __future__ import annotations

import typer

from app.command import (
    admin_access,
    admin_box,
    admin_client,
    admin_contract,
    admin_customer,
    admin_denied,
    admin_firm_key,
    admin_front,
    admin_host,
    admin_instance,
    admin_line,
    admin_operation,
    admin_probe,
    admin_quota,
    admin_reconcile,
    admin_revocation,
    admin_rule,
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
    "line": admin_line.commands,
    "access": admin_access.commands,
    "rule": admin_rule.commands,
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
    "host": admin_host.commands,
    "revocation": admin_revocation.commands,
    "denied": admin_denied.commands,
    "reconcile": admin_reconcile.commands,
    "front": admin_front.commands,
    "probe": admin_probe.commands,
}.items():
    commands.add_typer(_group, name=_name)
