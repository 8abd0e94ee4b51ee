"""`wops admin firm-key`: the firm keys, where they are, and what two people have done to them."""

from __future__ import annotations

from typing import Annotated, Final, cast

import typer

from app.command.call import Call, Reason, changes, reads
from app.command.output import out, printable
from app.core.errors import InputInvalid
from app.core.json import JsonObject
from app.core.language import Language
from app.operations.ceremony.layout import to_text
from app.operations.ceremony.record import CeremonyRecord

commands = typer.Typer(no_args_is_help=True, help="Firm keys in the boxes.")

FirmCodeArgument = Annotated[int, typer.Argument(help="Like 6000100.", metavar="FIRM_CODE", min=1)]
OwnerArgument = Annotated[
    str,
    typer.Argument(help="Name or id of the instance whose key it is, not its firm code.", metavar="INSTANCE"),
]
ToOption = Annotated[str, typer.Option("--to", help="Name of the box that gets it.")]

_COLUMNS: Final = ("firm_code", "instance_id", "algorithm", "state", "key_id", "boxes", "expires_at")


@commands.command("list")
@reads
def list_firm_keys(call: Call) -> None:
    """List firm keys and the boxes that hold them."""
    call.show_table(call.api.get("/admin/v1/firm-keys").list(), _COLUMNS)


@commands.command("show")
@reads
def show_firm_key(call: Call, firm_code: FirmCodeArgument) -> None:
    """Show one firm key, and those that were rotated away."""
    call.show(call.api.get(_path(firm_code)).object())


@commands.command("certificate")
@reads
def print_certificate(call: Call, firm_code: FirmCodeArgument) -> None:
    """Print a firm key's certificate and that of its instance's authority, as PEM."""
    found = call.api.get(_path(firm_code)).object()
    if call.as_json:
        call.show({"certificate": found["certificate"]})
    else:
        _print(str(found["certificate"]))


@commands.command("install")
@changes
def install_firm_key(call: Call, instance: OwnerArgument, reason: Reason) -> None:
    """Ask to install an instance's key again, in all boxes of its pool; a second person has to approve it."""
    path = f"{call.instance(instance)}/firm-key:install"
    call.show_asked(call.api.post(path, {"reason": reason}).object())


@commands.command("copy")
@changes
def copy_firm_key(call: Call, firm_code: FirmCodeArgument, to: ToOption, reason: Reason) -> None:
    """Ask to copy it, wrapped, into one more box; a second person has to approve it."""
    call.show_asked(call.api.post(f"{_path(firm_code)}:copy", {"to": to, "reason": reason}).object())


@commands.command("move")
@changes
def move_firm_key(
    call: Call,
    firm_code: FirmCodeArgument,
    source: Annotated[str, typer.Option("--from", help="Name of the box that gives it.")],
    to: ToOption,
    reason: Reason,
) -> None:
    """Ask to move it, wrapped, from one box into another; a second person has to approve it."""
    body: JsonObject = {"from": source, "to": to, "reason": reason}
    call.show_asked(call.api.post(f"{_path(firm_code)}:move", body).object())


@commands.command("rotate")
@changes
def rotate_firm_key(call: Call, firm_code: FirmCodeArgument, reason: Reason) -> None:
    """Ask to put a new key in its place; what it has signed still verifies. A second person has to approve it."""
    call.show_asked(call.api.post(f"{_path(firm_code)}:rotate", {"reason": reason}).object())


@commands.command("retire")
@changes
def retire_firm_key(call: Call, firm_code: FirmCodeArgument, reason: Reason) -> None:
    """Ask to destroy it everywhere, once its instance has ended; a second person has to approve it."""
    call.show_asked(call.api.post(f"{_path(firm_code)}:retire", {"reason": reason}).object())


@commands.command("ceremony")
@reads
def print_ceremony(
    call: Call,
    operation_id: Annotated[str, typer.Argument(help="Id of the operation.", metavar="OPERATION")],
    lang: Annotated[str, typer.Option(help="de or en.")] = "en",
) -> None:
    """Print the record of what an operation has done to firm keys, to be signed and kept."""
    if lang not in ("de", "en"):
        raise InputInvalid("The record is printed in de or en.", field="lang")
    found = call.api.get(f"/admin/v1/operations/{operation_id}/ceremony").object()
    if call.as_json:
        call.show(found)
        return
    people = cast(dict[str, str], found["people"])
    record = CeremonyRecord(document=cast(JsonObject, found["document"]), people=people)
    _print(to_text(record, cast(Language, lang)))


def _print(text: str) -> None:
    for each in text.splitlines():
        out.print(printable(each))


def _path(firm_code: int) -> str:
    return f"/admin/v1/firm-keys/{firm_code}"
