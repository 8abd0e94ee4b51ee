from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from fsb_gateway import JobMalformed
from fsb_gateway.job import check_job
from fsb_gateway.wire import decode_job, encode_job, request_digest
from tests.unit.fsb_gateway.factory import add_item, make_job, make_steps


def test_job_survives_the_wire() -> None:
    job = make_job(base_fuc=2, steps=make_steps(2, (add_item(),), ()), priority="batch")
    assert decode_job(encode_job(job)) == job
    check_job(job)


def test_cost_is_the_number_of_operations_and_at_least_one() -> None:
    assert make_job(steps=make_steps(0, (add_item(), add_item("lic_2")), (add_item("lic_3"),))).cost == 3
    assert make_job(steps=make_steps(0, ())).cost == 1


def test_digest_covers_what_is_programmed_and_not_how_it_is_served() -> None:
    job = make_job()
    later = make_job(pool="own", priority="batch", deadline_at=datetime.fromisoformat("2030-01-01T00:00:00Z"))
    assert request_digest(job) == request_digest(later)
    assert request_digest(job) == request_digest(decode_job(encode_job(job)))
    others = [
        make_job(instance_id="ins_2"),
        make_job(firm_code=5),
        make_job(container_serial="130-2"),
        make_job(base_fuc=1),
        make_job(context_digest="b" * 64),
        make_job(steps=make_steps(0, (add_item(code=8),))),
        make_job(container_key={"kty": "EC"}),
    ]
    assert len({request_digest(job), *map(request_digest, others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"job_id": ""}, "job_id"),
        ({"job_id": "a/b"}, "job_id"),
        ({"instance_id": "x" * 129}, "instance_id"),
        ({"pool": "ü"}, "pool"),
        ({"container_serial": "1 2"}, "serial"),
        ({"firm_code": 0}, "firm_code"),
        ({"firm_code": 2**32}, "firm_code"),
        ({"context_digest": "A" * 64}, "context_digest"),
        ({"context_digest": "a" * 63}, "context_digest"),
        ({"deadline_at": datetime(2030, 1, 1)}, "deadline_at"),  # noqa: DTZ001 - what is tested
        ({"base_fuc": -1}, "steps"),
        ({"steps": ()}, "steps"),
        ({"steps": make_steps(1, ())}, "steps"),
        ({"steps": make_steps(0, ()) + make_steps(2, ())}, "steps"),
    ],
)
def test_job_that_contradicts_itself_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(JobMalformed) as caught:
        check_job(make_job(**changes))
    assert caught.value.detail["field"] == field


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"job_id":1}', b"{" * 10_000])
def test_body_that_is_no_job_is_refused(body: bytes) -> None:
    with pytest.raises(JobMalformed):
        decode_job(body)


def test_body_nested_beyond_reason_is_refused() -> None:
    with pytest.raises(JobMalformed):
        decode_job(
            encode_job(make_job()).replace(
                b'{"product_code":7}', b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
            )
        )


def test_unknown_field_is_refused() -> None:
    with pytest.raises(JobMalformed):
        decode_job(encode_job(make_job())[:-1] + b',"extra":1}')
