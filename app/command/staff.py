"""`wops admin token|person|approval|support`: who of the staff may do what, and what needs two of them."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command.call import Call, InstanceArgument, Reason, changes, reads
from app.command.session import id_of
from app.core.errors import InputInvalid
from app.core.json import JsonObject

token = typer.Typer(no_args_is_help=True, help="Staff tokens.")
person = typer.Typer(no_args_is_help=True, help="Members of staff.")
approval = typer.Typer(no_args_is_help=True, help="What waits for a second person.")
support = typer.Typer(no_args_is_help=True, help="Support access to instances, as their customers allow it.")

ApprovalArgument = Annotated[str, typer.Argument(help="Id of the request.", metavar="APPROVAL")]


@token.command("add")
@changes
def add_token(
    call: Call,
    name: str,
    person: Annotated[str, typer.Option(help="Whose it is, like an e-mail address.")],
    role: Annotated[str, typer.Option(help="operator, support, auditor or admin.")] = "operator",
    days: Annotated[int, typer.Option(help="Until it expires.")] = 90,
) -> None:
    """Make a staff token; it is shown once."""
    body: JsonObject = {"name": name, "person": person, "role": role, "expires_in_days": days}
    call.show_secret(call.api.post("/admin/v1/staff-tokens", body).object(), "token")


@token.command("list")
@reads
def list_tokens(
    call: Call,
) -> None:
    """List staff tokens; never their secrets."""
    rows = call.api.get_all("/admin/v1/staff-tokens")
    columns = ("token_id", "name", "role", "person_id", "expires_at", "revoked_at")
    call.show_table(rows, columns)


@token.command("rotate")
@changes
def rotate_token(
    call: Call,
    token_id: str,
    overlap_hours: Annotated[int, typer.Option(help="How long the old secret holds on.")] = 24,
) -> None:
    """Give a staff token a new secret, shown once; the old one holds on for some hours."""
    made = call.api.post(f"/admin/v1/staff-tokens/{token_id}:rotate", {"overlap_hours": overlap_hours})
    call.show_secret(made.object(), "token")


@token.command("revoke")
@changes
def revoke_token(
    call: Call,
    token_id: str,
) -> None:
    """End a staff token at once."""
    call.show(call.api.post(f"/admin/v1/staff-tokens/{token_id}:revoke", {}).object())


@person.command("list")
@reads
def list_people(
    call: Call,
) -> None:
    """List members of staff."""
    rows = call.api.get_all("/admin/v1/people")
    call.show_table(rows, ("person_id", "name", "created_at", "erased_at"))


@person.command("erase")
@changes
def erase_person(
    call: Call,
    person_id: str,
    reason: Reason,
) -> None:
    """Ask to forget a member of staff; a second person has to approve it."""
    asked = call.api.post(f"/admin/v1/people/{person_id}:erase", {"reason": reason})
    call.show_asked(asked.object())


@approval.command("list")
@reads
def list_approvals(
    call: Call,
    all_of_them: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
) -> None:
    """List what waits for a second person."""
    rows = call.api.get_all("/admin/v1/approvals", waiting="false" if all_of_them else "true")
    columns = ("approval_id", "action", "object_id", "state", "requested_by", "reason", "expires_at")
    call.show_table(rows, columns)


@approval.command("approve")
@changes
def approve(
    call: Call,
    approval_id: ApprovalArgument,
    version: Annotated[
        int | None,
        typer.Option(help="Of the request as you have read it; without it you are shown and asked."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; others read it.")] = "",
) -> None:
    """Approve what somebody else asks for: it starts at once."""
    path = f"/admin/v1/approvals/{approval_id}"
    if version is None:
        version = _shown_and_asked(call, call.api.get(path).object())
    done = call.api.post(f"{path}:approve", {"reason": reason}, if_match=f'"{version}"')
    call.show(done.object())


@approval.command("reject")
@changes
def reject(
    call: Call,
    approval_id: ApprovalArgument,
    reason: Reason,
) -> None:
    """Close a request without doing anything."""
    call.show(call.api.post(f"/admin/v1/approvals/{approval_id}:reject", {"reason": reason}).object())


@support.command("ask")
@changes
def ask_support(
    call: Call,
    instance: InstanceArgument,
    reason: Reason,
    hours: Annotated[int, typer.Option(help="3 to 168, from the customer's approval.")] = 24,
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
) -> None:
    """Ask an instance's customer to be let in."""
    body: JsonObject = {
        "instance_id": id_of(call.api, "instance", instance),
        "reason": reason,
        "hours": hours,
        "scope": scope,
    }
    call.show(call.api.post("/admin/v1/support-accesses", body).object())


@support.command("list")
@reads
def list_support(
    call: Call,
) -> None:
    """List support accesses and what has become of them."""
    rows = call.api.get_all("/admin/v1/support-accesses")
    columns = ("access_id", "instance_id", "person_id", "scope", "hours", "state", "expires_at")
    call.show_table(rows, columns)


def _shown_and_asked(call: Call, request: JsonObject) -> int:
    """The version of a request that the person before the terminal has read and agreed to.

    One that waits no longer is asked about no longer: the platform says why it refuses.

    Raises:
        InputInvalid: a script is before the terminal; it has to say which version it has read.
    """
    if call.as_json:
        raise InputInvalid("With --json say which --version you have read.", field="version")
    call.show(request)
    if request["state"] == "requested":
        typer.confirm("Let this happen?", abort=True)
    return int(str(request["version"]))
