from __future__ import annotations

from typing import Any

import pytest

from app.core.clock import to_us
from app.core.ids import InstanceId, TransferId
from app.licensing import InstanceIdentity
from app.licensing.transfer.job import job_of
from fsb_gateway.wire import request_digest
from tests.fake.clock import START

TRANSFER = TransferId("trf_1")
STORED: dict[str, Any] = {
    "instance_id": "ins_1",
    "pool": "shared",
    "firm_code": 6_000_010,
    "container_serial": "130-1",
    "container_key": {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"},
    "base_fuc": 4,
    "context_digest": "a" * 64,
    "steps": [
        {
            "fuc": 5,
            "operations": [
                {
                    "op": "add_product_item",
                    "license_id": "lic_1",
                    "generation": 1,
                    "product": {"product_code": 1},
                }
            ],
        }
    ],
    "deadline_at_us": to_us(START),
}


def identity(**now: Any) -> InstanceIdentity:
    return InstanceIdentity(
        **{"instance_id": InstanceId("ins_1"), "firm_code": 6_000_010, "pool": "shared", **now}
    )


def test_reservation_of_an_older_wops_is_interactive() -> None:
    job = job_of(TRANSFER, STORED, identity())
    assert (job.priority, job.weight, job.pool) == ("interactive", 1, "shared")
    assert (job.job_id, job.base_fuc, job.cost, job.deadline_at) == ("trf_1", 4, 1, START)


@pytest.mark.parametrize("priority", ["interactive", "batch"])
def test_priority_is_that_of_the_reservation(priority: str) -> None:
    assert job_of(TRANSFER, {**STORED, "priority": priority}, identity()).priority == priority


def test_pool_and_share_are_those_of_the_instance_when_it_is_sent_and_the_job_stays_the_same() -> None:
    before = job_of(TRANSFER, STORED, identity())
    after = job_of(TRANSFER, STORED, identity(pool="ins_1", box_share=2))
    assert (after.pool, after.weight) == ("ins_1", 2)
    assert request_digest(after) == request_digest(before)
