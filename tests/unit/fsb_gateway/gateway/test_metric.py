"""What Prometheus reads, read back by Prometheus' own parser."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fsb_gateway.error import BoxOccupied
from fsb_gateway.gateway.metric import write_metrics
from tests.fake.clock import FakeClock
from tests.unit.fsb_gateway.factory import FIRM_CODE, INSTANCE, add_item, make_job, make_steps
from tests.unit.fsb_gateway.gateway.stage import NOW, Stage, play

Labels = frozenset[tuple[str, str]]


def read(stage: Stage) -> dict[tuple[str, Labels], float]:
    """Every sample by name and labels."""
    families = text_string_to_metric_families(write_metrics(stage.gateway).decode())
    samples = [sample for family in families for sample in family.samples]
    assert all(sample.name.startswith("wops_fsb_") for sample in samples)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def labels(**values: str) -> Labels:
    return frozenset(values.items())


def test_figures_are_those_of_the_gateway(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock)
    shared = labels(pool="shared")
    box, own = labels(box="box-1", pool="shared"), labels(pool="shared", instance=INSTANCE)

    async def body() -> None:
        one = await stage.add(
            keys={FIRM_CODE: INSTANCE, 7: "ins_2"},
            transactions="standard",
            transactions_loaded=1000,
        )
        one.transactions_left = 40
        steps = make_steps(0, (add_item("lic_1"), add_item("lic_2")))
        for job in (make_job(steps=steps), make_job("trf_2", instance_id="ins_2", firm_code=7)):
            await stage.gateway.program(job, wait=NOW)
            await stage.at_work(one, job.job_id)
            clock.advance(timedelta(milliseconds=600))
            one.finish()
            await stage.result(job.job_id)
        one.answer = lambda job: BoxOccupied("busy")
        await stage.send("trf_3")
        await stage.until(lambda: stage.gateway.boxes()[0].condition == "out", "the box to be taken out")
        clock.advance(timedelta(seconds=3))
        found = read(stage)
        assert found["wops_fsb_pool_jobs_total", shared] == 2
        assert found["wops_fsb_pool_operations_total", shared] == 3
        assert found["wops_fsb_pool_waiting_jobs", shared] == 1
        assert found["wops_fsb_pool_ready_boxes", shared] == 0
        assert 3 <= found["wops_fsb_pool_oldest_job_seconds", shared] < 20
        assert found["wops_fsb_operation_seconds_count", shared] == 3
        assert found["wops_fsb_operation_seconds_bucket", shared | {("le", "+Inf")}] == 3
        assert found["wops_fsb_operation_seconds_bucket", shared | {("le", "0.2")}] == 0
        assert found["wops_fsb_operation_seconds_bucket", shared | {("le", "0.5")}] == 2
        assert found["wops_fsb_box_failures_total", box | {("code", "box_occupied")}] == 3
        assert found["wops_fsb_box_condition", box | {("condition", "out")}] == 1
        assert found["wops_fsb_box_condition", box | {("condition", "ready")}] == 0
        assert found["wops_fsb_box_transactions_left", box] == 40
        assert found["wops_fsb_box_transactions_low", box] == 1
        assert found["wops_fsb_instance_operations_total", own] == 2
        assert round(found["wops_fsb_instance_share_ratio", own], 3) == 0.667
        assert found["wops_fsb_instance_waiting_jobs", own] == 1

    play(stage, body)


def test_gateway_without_boxes_has_figures_all_the_same(tmp_path: Path, clock: FakeClock) -> None:
    stage = Stage(tmp_path, clock)

    async def body() -> None:
        assert read(stage) == {}

    play(stage, body)
