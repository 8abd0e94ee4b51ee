from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from app.cluster.status import PartState
from app.command.cluster_table import described, table_of

SERVING = PartState(part="lb1", state="serving", process_id=7, restarts=2, address="https://127.0.0.11:8443")
ABSENT = PartState(part="control", state="absent")


def test_document_is_fine_only_if_every_part_is() -> None:
    assert described([SERVING])["fine"] is True
    assert described([SERVING, ABSENT])["fine"] is False


def test_document_tells_everything_of_a_part() -> None:
    assert described([SERVING])["parts"] == [
        {
            "part": "lb1",
            "state": "serving",
            "process_id": 7,
            "restarts": 2,
            "address": "https://127.0.0.11:8443",
            "work": "",
        }
    ]


def test_table_has_a_row_for_each_part_and_no_cursor_is_moved_by_its_words() -> None:
    console = Console(width=100, color_system=None)
    odd = PartState(part="line a-1", state="not serving", work="ready\x1b[2J: [red]no[/red]")
    with console.capture() as captured:
        console.print(table_of([SERVING, ABSENT, odd]))
    shown = captured.get()

    assert [row.split()[0] for row in shown.splitlines()] == ["part", "lb1", "control", "line"]
    assert "\x1b" not in shown
    assert "[red]no[/red]" in shown


def test_table_has_one_line_for_each_part_on_a_narrow_terminal() -> None:
    console = Console(width=80, color_system=None)
    long = replace(SERVING, part="line demo-availability-1", work="ready, 0 running, 1 of 1 open, and so on")
    with console.capture() as captured:
        console.print(table_of([long] * 16))

    assert len(captured.get().splitlines()) == 17
