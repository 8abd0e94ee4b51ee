"""What `wops fsb status` prints of the gateway's reports."""

from __future__ import annotations

import pytest

from app.command.fsb_status import show_reports
from fsb_gateway.report import InstanceShare
from tests.unit.tenancy.box import material


def tables(text: str) -> list[list[dict[str, str]]]:
    """Rows by column, of tables with an empty line between them; columns are two spaces apart."""
    found = []
    for table in text.strip("\n").split("\n\n"):
        head, *rows = table.splitlines()
        starts = [
            index for index in range(len(head)) if head[index] != " " and head[:index][-2:] in ("", "  ")
        ]
        bounds = list(zip(starts, [*starts[1:], None], strict=True))
        found.append([{head[a:b].strip(): row[a:b].strip() for a, b in bounds} for row in rows])
    return found


def share(instance_id: str, *, running: int, unknown: int) -> InstanceShare:
    return InstanceShare(
        instance_id=instance_id,
        waiting=0,
        running=running,
        unknown=unknown,
        jobs_done=0,
        operations_done=0,
        share=0.0,
        waited_seconds=0.0,
        caused_by_others_seconds=0.0,
    )


def test_unknown_jobs_have_a_column_and_the_instances_add_up_to_their_pool(
    capsys: pytest.CaptureFixture[str],
) -> None:
    instances = (share("ins_1", running=1, unknown=0), share("ins_2", running=1, unknown=3))
    pool = material.pool(running=2, unknown=3, without_key=("shared-box-1",), instances=instances)
    show_reports([pool], [material.report()])
    pools, _, queues = tables(capsys.readouterr().out)
    assert (pools[0]["running"], pools[0]["unknown"], pools[0]["without key"]) == ("2", "3", "1")
    assert [(row["running"], row["unknown"]) for row in queues] == [("1", "0"), ("1", "3")]
