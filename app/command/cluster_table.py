"""How the parts of a cluster are, as a table for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table

from app.cluster.status import PartState
from app.command.output import line, show_table
from app.core.json import JsonObject

_COLUMNS: Final = ("part", "state", "process_id", "restarts", "address", "work")
_STYLES: Final = {"serving": "green", "not serving": "yellow", "absent": "red"}


def described(parts: Sequence[PartState]) -> JsonObject:
    """As a document."""
    return {"fine": all(each.is_fine for each in parts), "parts": [_row(each) for each in parts]}


def print_table(parts: Sequence[PartState]) -> None:
    """Print them, one a line, however wide the terminal is."""
    show_table([_row(each) for each in parts], _COLUMNS, as_json=False)


def table_of(parts: Sequence[PartState]) -> Table:
    """As a table that fits a terminal: a line for each part, cut at the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("part", "state", "process", "restarts", "address and work"):
        table.add_column(name, no_wrap=True)
    for each in parts:
        does = "  ".join(text for text in (each.address, each.work) if text)
        cells = (_shown(each.process_id), _shown(each.restarts), does)
        table.add_row(line(each.part), line((each.state, _STYLES[each.state])), *map(line, cells))
    return table


def _row(part: PartState) -> JsonObject:
    return {
        "part": part.part,
        "state": part.state,
        "process_id": part.process_id,
        "restarts": part.restarts,
        "address": part.address,
        "work": part.work,
    }


def _shown(number: int | None) -> str:
    return "–" if number is None else str(number)
