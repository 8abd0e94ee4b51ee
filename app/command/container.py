"""`wops container`: a CmContainer in software, as an end user has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app import cmcontainer
from app.command.output import JsonFlag, failing_clearly, line, out, show
from app.core.clock import SystemClock
from app.core.errors import InputInvalid
from app.core.json import JsonObject

commands = typer.Typer(
    no_args_is_help=True, help="A CmContainer in software: make contexts, apply updates, make receipts."
)

FileArgument = Annotated[Path, typer.Argument(help="The container's file.", metavar="FILE")]
FirmCodeOption = Annotated[
    int | None, typer.Option("--firm-code", help="Whose drawer; not needed while there is only one.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="Write to this file instead of standard output.")
]


@commands.command()
def create(
    file: FileArgument,
    template: Annotated[
        Path,
        typer.Option(
            "--template",
            help="The vendor's template, from /{instance}/gateways/v1/template ('-': standard input).",
        ),
    ],
    serial: Annotated[str | None, typer.Option(help="Take this serial instead of a random one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a new container with fresh keys, or open a further vendor's drawer in one that exists."""
    with failing_clearly():
        read = cmcontainer.read_template(_read(template))
        if file.exists() and serial is None:
            summary = cmcontainer.add_template(file, read)
        else:
            summary = cmcontainer.create_container(file, read, serial=serial)
        show(_summary(summary), as_json=as_json)


@commands.command()
def context(file: FileArgument, firm_code: FirmCodeOption = None, to: OutOption = None) -> None:
    """Make a context: the licence request that is sent to the vendor."""
    with failing_clearly():
        _write(to, cmcontainer.make_context(file, _firm_code(file, firm_code), clock=SystemClock()))


@commands.command()
def receipt(file: FileArgument, firm_code: FirmCodeOption = None, to: OutOption = None) -> None:
    """Make a receipt: tells the vendor what has been applied."""
    with failing_clearly():
        _write(to, cmcontainer.make_receipt(file, _firm_code(file, firm_code), clock=SystemClock()))


@commands.command()
def apply(
    file: FileArgument,
    update: Annotated[Path, typer.Argument(help="The update file ('-': standard input).", metavar="UPDATE")],
    as_json: JsonFlag = False,
) -> None:
    """Apply an update: only one for this container, only at the right counter, only once."""
    with failing_clearly():
        done = cmcontainer.apply_to_file(file, _read(update), clock=SystemClock())
        shown: JsonObject = {
            "serial": done.serial,
            "firm_code": done.firm_code,
            "fuc_before": done.fuc_before,
            "fuc_after": done.fuc_after,
            "added": [item.license_id for item in done.added],
            "deleted": list(done.deleted),
            "skipped_steps": done.skipped_steps,
        }
        show(shown, as_json=as_json)


@commands.command()
def verify(
    file: FileArgument,
    update: Annotated[Path, typer.Argument(help="The update file ('-': standard input).", metavar="UPDATE")],
    as_json: JsonFlag = False,
) -> None:
    """Check an update offline, up to the platform's root, without applying it."""
    with failing_clearly():
        read = cmcontainer.verify_for_file(file, _read(update), clock=SystemClock())
        shown: JsonObject = {
            "valid": True,
            "instance": read.signer.instance_id,
            "serial": read.container_serial,
            "firm_code": read.firm_code,
            "transfer": read.job_id,
            "base_fuc": read.base_fuc,
            "fuc": read.seq,
        }
        show(shown, as_json=as_json)


@commands.command("show")
def show_command(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Show what a container holds; never its keys."""
    with failing_clearly():
        show(_summary(cmcontainer.show_container(file)), as_json=as_json)


def _firm_code(file: Path, given: int | None) -> int:
    if given is not None:
        return given
    present = [item.template.firm_code for item in cmcontainer.show_container(file).firm_items]
    if len(present) != 1:
        raise InputInvalid(
            f"The container has several drawers; choose one with --firm-code: {present}", field="firm_code"
        )
    return present[0]


def _summary(summary: cmcontainer.ContainerSummary) -> JsonObject:
    return {
        "serial": summary.serial,
        "firm_items": [
            {
                "firm_code": item.template.firm_code,
                "instance": item.template.instance,
                "fuc": item.fuc,
                "licenses": [
                    {"license_id": held.license_id, "product": dict(held.product)} for held in item.items
                ],
            }
            for item in summary.firm_items
        ],
    }


def _read(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read()
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{path} cannot be read.", field="file") from error


def _write(path: Path | None, text: str) -> None:
    if path is None:
        sys.stdout.write(text)
        return
    path.write_text(text, "utf-8")
    out.print(line(f"written to {path}"))
