"""By what each process of a cluster is known, whoever has started it: its socket, and its program and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from app.cluster import mariadb
from app.cluster.part import PartSign
from app.cluster.place import ClusterPlace
from app.core.process import WOPS
from app.core.process_identity import running, words_of
from app.gateway_process import CONTROL_SOCKET
from tenancy.line_file import LINES_DIRECTORY

_PROGRAM: Final = WOPS[-1]
_BOX: Final = ("fsb", "box")


def database_sign(place: ClusterPlace) -> PartSign:
    """Of the database server."""
    option = mariadb.data_option(place)
    return PartSign(socket=place.database_socket, is_meant=lambda words: option in words)


def gateway_sign(place: ClusterPlace) -> PartSign:
    """Of the gateway."""
    socket = place.settings.box_dir / CONTROL_SOCKET
    return PartSign(socket=socket, is_meant=partial(_is_wops, place, ("fsb", "serve")))


def control_sign(place: ClusterPlace) -> PartSign:
    """Of control."""
    is_meant = partial(_is_wops, place, ("cluster", "control"))
    return PartSign(socket=place.settings.control_socket, is_meant=is_meant)


def is_box(place: ClusterPlace, words: Sequence[str]) -> bool:
    """Whether program and arguments of a process are those of a box."""
    return _is_wops(place, _BOX, words)


def box_processes(place: ClusterPlace) -> dict[str, int]:
    """The numbers of the processes of boxes, for people; never to be signalled. Blocking."""
    found = ((_arguments(words_of(pid)), pid) for pid in running(partial(is_box, place)))
    return {words[len(_BOX)]: pid for words, pid in found if len(words) > len(_BOX)}


def is_line(place: ClusterPlace, words: Sequence[str]) -> bool:
    """Whether program and arguments of a process are those of a line."""
    root = place.data_dir / LINES_DIRECTORY
    return len(words) > 1 and words[-2] == "line" and Path(words[-1]).parent == root


def _is_wops(place: ClusterPlace, command: Sequence[str], words: Sequence[str]) -> bool:
    """Whether it is that command, word by word: what comes behind may be named like another one."""
    given = _arguments(words)
    return tuple(given[: len(command)]) == tuple(command) and str(place.data_dir) in given[len(command) :]


def _arguments(words: Sequence[str]) -> Sequence[str]:
    """What a process of ours was told; nothing if it is none."""
    return words[words.index(_PROGRAM) + 1 :] if _PROGRAM in words else ()
