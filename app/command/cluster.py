"""`wops cluster`: the whole platform on this machine, in processes of their own."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import Annotated, Final

import typer

from app.command.output import JsonFlag, failing_clearly, show
from app.command.session import DataDirOption, settings_for

# Each command imports what it needs, as in app/cli.py.

commands = typer.Typer(
    no_args_is_help=True,
    help="The whole platform on this machine: database, gateway and boxes, control, lines, two load balancers.",
)
_ENDS_WITHIN: Final = timedelta(minutes=5)
"""Every part has a shorter time of its own."""


@commands.command("up")
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Set up four demo instances, one of each edition.")
    ] = False,
    data_dir: DataDirOption = None,
    fronts: Annotated[
        str | None,
        typer.Option(
            help="Where load balancers listen, remembered (default: lb1=127.0.0.11:8443; lb2=127.0.0.12:8443)."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, help="Port of control at 127.0.0.1, remembered (default: a free one)."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run it until Ctrl-C, SIGTERM or `wops cluster down`, with a live table; what runs already is taken over."""
    from app.cluster.mariadb import NEEDED
    from app.cluster.place import held, plan_place
    from app.cluster.program import require_programs
    from app.command.cluster_up import ClusterUp, close_to_others
    from app.core.logging import configure_logging

    settings = settings_for(data_dir, fronts=fronts, port=port, log_level=log_level)
    close_to_others()
    with failing_clearly():
        require_programs((*NEEDED, settings.haproxy))
    with failing_clearly(), held(settings.data_dir):
        place = plan_place(settings.data_dir, fronts=fronts, control_port=port, log_level=settings.log_level)
        with place.log_file("supervisor").open("a", encoding="utf-8") as log:
            configure_logging(settings.log_level.upper(), stream=log)
            asyncio.run(ClusterUp(place, demo=demo, as_json=as_json).run())


@commands.command("status")
def status(data_dir: DataDirOption = None, as_json: JsonFlag = False) -> None:
    """Show how every part is. Status 0: everything is as it should be; 1: something is not."""
    from app.cluster.place import open_place
    from app.cluster.status import cluster_status
    from app.command.cluster_table import described, print_table

    with failing_clearly():
        parts = cluster_status(open_place(settings_for(data_dir).data_dir))
    if as_json:
        show(described(parts), as_json=True)
    else:
        print_table(parts)
    raise typer.Exit(0 if all(each.is_fine for each in parts) else 1)


@commands.command("down")
def down(data_dir: DataDirOption = None) -> None:
    """End everything in order: nothing new is let in, what runs is finished. Safe to repeat."""
    from app.cluster.place import open_place
    from app.command.cluster_up import close_to_others, end_cluster, tell
    from app.core.logging import configure_logging

    close_to_others()
    with failing_clearly():
        place = open_place(settings_for(data_dir).data_dir)
        configure_logging("WARNING", stream=sys.stderr)
        asyncio.run(end_cluster(place, within=_ENDS_WITHIN, tell=tell))


@commands.command("control", hidden=True)
def control(
    data_dir: DataDirOption = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Control of a cluster; `wops cluster up` starts it."""
    import gc

    # As for `wops up`: what a start makes stays.
    gc.disable()
    from app.cluster.place import open_place
    from app.command.up import Up
    from app.core.logging import configure_logging

    with failing_clearly():
        settings = settings_for(data_dir, log_level=log_level)
        place = open_place(settings.data_dir, log_level=settings.log_level)
        configure_logging(settings.log_level.upper(), stream=sys.stderr)
        asyncio.run(Up(place.settings, demo=False, walk=False, as_json=False, is_part=True).run())
