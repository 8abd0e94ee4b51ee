"""By what each process of a cluster is known, whoever has started it: its socket, and its program and arguments."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from app.cluster import mariadb
from app.cluster.part import PartSign
from app.cluster.place import ClusterPlace
from app.core.process_identity import running, words_of
from app.gateway_process import CONTROL_SOCKET
from tenancy.line_file import LINES_DIRECTORY

# -P: modules are not looked for in whatever directory this is.
WOPS: Final = (sys.executable, "-P", "-m", "app.cli")


def database_sign(place: ClusterPlace) -> PartSign:
    """Of the database server."""
    return PartSign(socket=place.database_socket, words=frozenset({mariadb.data_option(place)}))


def gateway_sign(place: ClusterPlace) -> PartSign:
    """Of the gateway."""
    return PartSign(socket=place.settings.box_dir / CONTROL_SOCKET, words=_wops(place, "fsb", "serve"))


def control_sign(place: ClusterPlace) -> PartSign:
    """Of control."""
    return PartSign(socket=place.settings.control_socket, words=_wops(place, "cluster", "control"))


def is_box(place: ClusterPlace, words: Sequence[str]) -> bool:
    """Whether program and arguments of a process are those of a box."""
    return _wops(place, "fsb", "box").issubset(words)


def box_processes(place: ClusterPlace) -> dict[str, int]:
    """The numbers of the processes of boxes, for people; never to be signalled. Blocking."""
    found = ((words_of(pid), pid) for pid in running(partial(is_box, place)))
    return {words[words.index("box") + 1]: pid for words, pid in found if "box" in words[:-1]}


def is_line(place: ClusterPlace, words: Sequence[str]) -> bool:
    """Whether program and arguments of a process are those of a line."""
    root = place.data_dir / LINES_DIRECTORY
    return len(words) > 1 and words[-2] == "line" and Path(words[-1]).parent == root


def _wops(place: ClusterPlace, *command: str) -> frozenset[str]:
    return frozenset({"app.cli", *command, str(place.data_dir)})
