"""The command `wops`."""

from __future__ import annotations

import asyncio
import errno
import importlib
import socket
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from app.command.output import JsonFlag, failing_clearly
from app.command.session import DataDirOption, TokenFileOption, UrlOption, settings_for
from app.core.errors import InputInvalid

# Each command imports what it needs: `wops container` must not wait for the server's modules.

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="wops hosts CodeMeter License Central instances: orders, activations, Firm Security Boxes, exact quotas.",
)


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Set up four demo instances, one of each edition.")
    ] = False,
    walk: Annotated[
        bool, typer.Option("--walk", help="Set up the demo, walk through its story once, go on serving.")
    ] = False,
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on (WOPS_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 takes a free one (WOPS_PORT).")
    ] = None,
    operation_time_ms: Annotated[
        int | None, typer.Option(help="Milliseconds a new software box takes per operation.")
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            help="Where boxes work: embedded, processes, or a gateway's unix:/path or https://host:port (WOPS_BOXES)."
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error (default: warning with --demo).")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the whole platform in one process: SQLite, software boxes, lines and control."""
    import gc

    # What a start makes stays: looking through it for garbage, again and again, is a fifth of the time until ready.
    gc.disable()
    from app.command.up import Up
    from app.core.logging import configure_logging

    settings = settings_for(
        data_dir,
        host=host,
        port=port,
        operation_time_ms=operation_time_ms,
        boxes=boxes,
        log_level=log_level,
    )
    quiet = (demo or walk) and log_level is None
    configure_logging("WARNING" if quiet else settings.log_level.upper(), stream=sys.stderr)
    with failing_clearly():
        try:
            asyncio.run(Up(settings, demo=demo, walk=walk, as_json=as_json).run())
        except OSError as error:
            if not _is_about_listening(error):
                raise
            where = f"{settings.host}:{settings.port}"
            way_out = " Choose another port with --port." if error.errno == errno.EADDRINUSE else ""
            raise InputInvalid(
                f"Cannot listen on {where}: {error.strerror}.{way_out}", field="port"
            ) from error


_NOT_LISTENING: Final = frozenset(
    {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT}
)
"""Why an address cannot be listened on. **Source:** bind(2), socket(2)."""


def _is_about_listening(error: OSError) -> bool:
    """Errors of files name their file, those of sockets name none."""
    return error.filename is None and (isinstance(error, socket.gaierror) or error.errno in _NOT_LISTENING)


@app.command()
def demo(url: UrlOption = None, token_file: TokenFileOption = None, data_dir: DataDirOption = None) -> None:
    """Walk through the whole story against a running platform, each step with what happened and why."""
    from app.command.session import admin_session, served_address
    from app.command.story import Story

    with failing_clearly(), admin_session(url, token_file, data_dir) as api:
        authority = settings_for(data_dir).authority
        Story(api, base_url=served_address(url, data_dir), authority=authority).walk()


@app.command()
def migrate(
    everything: Annotated[
        bool, typer.Option("--all", help="Every instance; so it is without this, unless --instance is given.")
    ] = False,
    instance: Annotated[
        list[str] | None,
        typer.Option(help="Only this instance, by name or id; may be given several times.", metavar="NAME"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Instances at a time.", min=1, max=32)] = 4,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the platform's database and those of all instances to the newest schema, while they serve or not.

    Status 0: all are there. 1: refused, nothing was done. 2: instances are left, named in the report; run it again.
    """
    from app.command.migrate import run_migration
    from app.operations.migration.run import RunOrder

    with failing_clearly():
        if everything and instance:
            raise InputInvalid("Either --all or --instance.", field="instance")
        order = RunOrder(names=frozenset(instance) if instance else None, jobs=jobs, is_dry=dry_run)
        status = run_migration(settings_for(data_dir), order, as_json=as_json)
    raise typer.Exit(status)


@app.command()
def line(
    directory: Annotated[Path, typer.Argument(help="The line's own, with what control has written for it.")],
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Run one line as a process of its own; SIGTERM drains it. Control starts and looks after lines by itself."""
    import gc

    # As for `wops up`: what a start makes stays.
    gc.disable()
    from app.command.line import serve_line
    from app.core.logging import configure_logging

    level = settings_for(log_level=log_level).log_level
    configure_logging(level.upper(), stream=sys.stderr)
    with failing_clearly():
        serve_line(directory)


_GROUPS: Final = ("container", "admin", "audit", "fsb", "pair", "cluster")
_ALONE: Final = ("line",)
"""Commands that know of no group: a line starts in half the time without them."""


def _add_groups(named: str) -> None:
    """Add the group that is named, or all: a box's process starts in half the time without what staff need."""
    if named in _ALONE:
        return
    for name in (named,) if named in _GROUPS else _GROUPS:
        app.add_typer(importlib.import_module(f"app.command.{name}").commands, name=name)


def main() -> None:
    """Entry point of the console script."""
    _add_groups(sys.argv[1] if len(sys.argv) > 1 else "")
    app()


if __name__ == "__main__":
    main()
