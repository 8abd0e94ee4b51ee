"""`wops admin token|person|approval|support`: who of the staff may do what, and what needs two of them."""

from __future__ import annotations

from typing import Annotated

import typer

from app.command.output import JsonFlag, failing_clearly, show, show_secret, show_table
from app.command.session import DataDirOption, TokenOption, UrlOption, admin_session, instance_id_of
from app.core.errors import InputInvalid
from app.core.json import JsonObject

token = typer.Typer(no_args_is_help=True, help="Staff tokens.")
person = typer.Typer(no_args_is_help=True, help="Members of staff.")
approval = typer.Typer(no_args_is_help=True, help="What waits for a second person.")
support = typer.Typer(no_args_is_help=True, help="Support access to instances, as their customers allow it.")

Reason = Annotated[str, typer.Option(help="Why; others read it.")]
ApprovalArgument = Annotated[str, typer.Argument(help="Id of the request.", metavar="APPROVAL")]


@token.command("add")
def add_token(
    name: str,
    person: Annotated[str, typer.Option(help="Whose it is, like an e-mail address.")],
    role: Annotated[str, typer.Option(help="operator, support, auditor or admin.")] = "operator",
    days: Annotated[int, typer.Option(help="Until it expires.")] = 90,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a staff token; it is shown once."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {"name": name, "person": person, "role": role, "expires_in_days": days}
        show_secret(api.post("/admin/v1/staff-tokens", body).object(), "token", as_json=as_json)


@token.command("list")
def list_tokens(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List staff tokens; never their secrets."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get_all("/admin/v1/staff-tokens")
        columns = ("token_id", "name", "role", "person_id", "expires_at", "revoked_at")
        show_table(rows, columns, as_json=as_json)


@token.command("rotate")
def rotate_token(
    token_id: str,
    overlap_hours: Annotated[int, typer.Option(help="How long the old secret holds on.")] = 24,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Give a staff token a new secret, shown once; the old one holds on for some hours."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        made = api.post(f"/admin/v1/staff-tokens/{token_id}:rotate", {"overlap_hours": overlap_hours})
        show_secret(made.object(), "token", as_json=as_json)


@token.command("revoke")
def revoke_token(
    token_id: str,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """End a staff token at once."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(api.post(f"/admin/v1/staff-tokens/{token_id}:revoke", {}).object(), as_json=as_json)


@person.command("list")
def list_people(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List members of staff."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get_all("/admin/v1/people")
        show_table(rows, ("person_id", "name", "created_at", "erased_at"), as_json=as_json)


@person.command("erase")
def erase_person(
    person_id: str,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask to forget a member of staff; a second person has to approve it."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        asked = api.post(f"/admin/v1/people/{person_id}:erase", {"reason": reason})
        show(asked.object(), as_json=as_json)


@approval.command("list")
def list_approvals(
    all_of_them: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List what waits for a second person."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        # Asked for whole and chosen here: how many requests there ever were stays small.
        rows = api.get_all("/admin/v1/approvals")
        chosen = [row for row in rows if all_of_them or row["state"] == "requested"]
        columns = ("approval_id", "action", "object_id", "state", "requested_by", "reason", "expires_at")
        show_table(chosen, columns, as_json=as_json)


@approval.command("approve")
def approve(
    approval_id: ApprovalArgument,
    version: Annotated[
        int | None,
        typer.Option(help="Of the request as you have read it; without it you are shown and asked."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; others read it.")] = "",
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Approve what somebody else asks for: it starts at once."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        path = f"/admin/v1/approvals/{approval_id}"
        if version is None:
            version = _shown_and_asked(api.get(path).object(), as_json=as_json)
        done = api.post(f"{path}:approve", {"reason": reason}, if_match=f'"{version}"')
        show(done.object(), as_json=as_json)


@approval.command("reject")
def reject(
    approval_id: ApprovalArgument,
    reason: Reason,
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Close a request without doing anything."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        show(
            api.post(f"/admin/v1/approvals/{approval_id}:reject", {"reason": reason}).object(),
            as_json=as_json,
        )


@support.command("ask")
def ask_support(
    instance: Annotated[str, typer.Argument(help="Name or id of the instance.", metavar="INSTANCE")],
    reason: Reason,
    hours: Annotated[int, typer.Option(help="3 to 168, from the customer's approval.")] = 24,
    scope: Annotated[str, typer.Option(help="read or write.")] = "read",
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Ask an instance's customer to be let in."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        body: JsonObject = {
            "instance_id": instance_id_of(api, instance),
            "reason": reason,
            "hours": hours,
            "scope": scope,
        }
        show(api.post("/admin/v1/support-accesses", body).object(), as_json=as_json)


@support.command("list")
def list_support(
    url: UrlOption = None,
    token: TokenOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List support accesses and what has become of them."""
    with failing_clearly(), admin_session(url, token, data_dir) as api:
        rows = api.get_all("/admin/v1/support-accesses")
        columns = ("access_id", "instance_id", "person_id", "scope", "hours", "state", "expires_at")
        show_table(rows, columns, as_json=as_json)


def _shown_and_asked(request: JsonObject, *, as_json: bool) -> int:
    """The version of a request that the person before the terminal has read and agreed to.

    Raises:
        InputInvalid: a script is before the terminal; it has to say which version it has read.
    """
    if as_json:
        raise InputInvalid("With --json say which --version you have read.", field="version")
    show(request, as_json=False)
    typer.confirm("Let this happen?", abort=True)
    return int(str(request["version"]))
