"""`wops fsb`: a gateway in a process of its own, its boxes, and the certificates with which machines reach it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from app.command.fsb_box import run_box
from app.command.output import JsonFlag, err, failing_clearly, line, out, show
from app.command.session import DataDirOption, settings_for
from app.core.errors import InputInvalid

# Each command imports what it needs: a box's process must not wait for what a table looks like.

commands = typer.Typer(no_args_is_help=True, help="Firm Security Boxes in processes of their own.")
commands.command("box")(run_box)


@commands.command("serve")
def serve(
    data_dir: DataDirOption = None,
    embedded_boxes: Annotated[
        bool, typer.Option("--embedded-boxes", help="Boxes work in this process instead of their own.")
    ] = False,
    listen: Annotated[
        str | None, typer.Option(help="Also serve lines at this address, by mutual TLS.", metavar="HOST:PORT")
    ] = None,
    control_listen: Annotated[
        str | None, typer.Option(help="Also serve control there.", metavar="HOST:PORT")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM certificate of this gateway.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file with its private key.")] = None,
    lines_ca: Annotated[Path | None, typer.Option(help="PEM: whose certificates lines have.")] = None,
    control_ca: Annotated[Path | None, typer.Option(help="PEM: whose certificates control has.")] = None,
    supervisor: Annotated[
        int | None, typer.Option(hidden=True, help="End when this process ends, which started this one.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the gateway of a data directory's boxes, and a process for each box, until Ctrl-C or SIGTERM.

    It listens on two sockets below the data directory: boxes/gateway.sock for control, boxes/jobs.sock for lines.
    """
    import sys

    import uvloop

    from app.command.fsb_serve import Addresses, Serve
    from app.core.logging import configure_logging

    settings = settings_for(data_dir, log_level=log_level)
    configure_logging(settings.log_level.upper(), stream=sys.stderr)
    with failing_clearly():
        addresses = Addresses.of(
            (listen, lines_ca), (control_listen, control_ca), certificate=certificate, key=key
        )
        running = Serve(settings, addresses, is_embedded=embedded_boxes, supervisor=supervisor)

        def tell() -> None:
            if supervisor is not None:
                # Standard output is the supervisor's own.
                return
            if as_json:
                show(running.described(), as_json=True)
            else:
                out.print(line(("ready", "green"), f"  {running.where()}"))
            sys.stdout.flush()

        uvloop.run(running.run(tell))


@commands.command("status")
def status(data_dir: DataDirOption = None, as_json: JsonFlag = False) -> None:
    """Show pools, boxes and queues of the gateway that serves a data directory."""
    from app.command.fsb_status import show_status

    with failing_clearly():
        show_status(settings_for(data_dir).box_dir, as_json=as_json)


@commands.command("certificate")
def make_certificate(
    name: Annotated[str, typer.Option(help="Of the machine; a gateway's host name or address.")],
    role: Annotated[str, typer.Option(help="line, control or gateway.")],
    to: Annotated[Path, typer.Option("--out", help="Directory to write to.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is valid.")] = 397,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a certificate for mutual TLS, and write it with its private key and what it has to trust.

    Its authority is kept with the gateway's keys: run this where the gateway runs, and carry the files.
    """
    from app.command.fsb_certificate import write_certificate
    from fsb_gateway.carrier.machine_certificate import ROLES

    found = next((each for each in ROLES if each == role), None)
    with failing_clearly():
        if found is None:
            raise InputInvalid("A role is line, control or gateway.", field="role")
        written = write_certificate(settings_for(data_dir), name, found, to=to, lifetime=timedelta(days=days))
        if as_json:
            show(written, as_json=True)
            return
        for what, path in written.items():
            out.print(line((f"{what:<12}", "dim"), str(path)))
        err.print(line(("the private key is in clear: keep it on that machine only", "yellow")))
