"""`wops pair`: two load balancers that share an address, set up and handed over on each of the two machines."""

from __future__ import annotations

import sys
from datetime import timedelta
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Annotated, Final

import typer

from app.command.output import JsonFlag, failing_clearly, show
from app.core.errors import InputInvalid
from lb.pair import Interface, PairNode, PairPlace, PairSettings, PairTimes, step_aside, step_back

commands = typer.Typer(no_args_is_help=True, help="Two load balancers that share addresses, by keepalived.")

_NODES: Final = 2
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
"""Rather than our own: the check needs nothing of ours, and everybody may run it."""
DirectoryArgument = Annotated[
    Path,
    typer.Argument(help="Where its files lie: root's, and so all folders above it.", metavar="DIRECTORY"),
]


@commands.command()
def write(
    directory: DirectoryArgument,
    name: Annotated[str, typer.Option(help="Which of the two this machine is.")],
    node: Annotated[
        list[str], typer.Option(help="Each of the two, the same on both.", metavar="NAME=ADDRESS")
    ],
    address: Annotated[
        list[str], typer.Option(help="What they share; may be given several times.", metavar="ADDRESS/LENGTH")
    ],
    interface: Annotated[str, typer.Option(help="The network card of this machine that has its address.")],
    runtime_socket: Annotated[Path, typer.Option(help="HAProxy's on this machine.")],
    router_id: Annotated[int, typer.Option(help="1 to 255, no other pair's in this network.")] = 51,
    user: Annotated[str, typer.Option(help="Who may open HAProxy's socket.")] = "haproxy",
    advert_ms: Annotated[
        int, typer.Option(help="Between two signs of life; three missing are a loss.")
    ] = 200,
    as_json: JsonFlag = False,
) -> None:
    """Write keepalived's configuration, the check that it runs, and the unit that keeps it."""
    with failing_clearly():
        settings = PairSettings(
            nodes=_nodes(node, interface),
            addresses=tuple(_shared(text) for text in address),
            router_id=router_id,
            directory=directory.absolute(),
            runtime_socket=runtime_socket.absolute(),
            user=user,
            python=_SYSTEM_PYTHON if _SYSTEM_PYTHON.exists() else Path(sys.executable).resolve(),
            times=PairTimes(advert=timedelta(milliseconds=advert_ms)),
        )
        place = PairPlace(settings=settings, name=name)
        place.write()
        show(
            {
                "configuration": str(settings.configuration),
                "check": str(settings.check),
                "unit": str(place.unit),
                "next": f"systemctl disable --now keepalived; systemctl enable --now {place.unit}",
            },
            as_json=as_json,
        )


@commands.command()
def aside(directory: DirectoryArgument) -> None:
    """Give the addresses to the other one, and take none until `back`: before maintenance of this machine."""
    with failing_clearly():
        step_aside(directory)


@commands.command()
def back(directory: DirectoryArgument) -> None:
    """Take the addresses again when the other one is lost; not before."""
    with failing_clearly():
        step_back(directory)


def _nodes(texts: list[str], interface: str) -> tuple[PairNode, PairNode]:
    if len(texts) != _NODES:
        raise InputInvalid("A pair is two load balancers: give --node twice.", field="node")
    first, second = (_node(text, interface) for text in texts)
    return first, second


def _node(text: str, interface: str) -> PairNode:
    name, _, address = text.partition("=")
    try:
        return PairNode(name=name, address=ip_address(address), interface=interface)
    except ValueError as error:
        raise InputInvalid(f"'{text}' is no NAME=ADDRESS.", field="node") from error


def _shared(text: str) -> Interface:
    try:
        return ip_interface(text)
    except ValueError as error:
        raise InputInvalid(f"'{text}' is no ADDRESS/LENGTH.", field="address") from error
