from __future__ import annotations

from fsb_gateway.queue import FifoQueue
from tests.unit.fsb_gateway.factory import add_item, make_job, make_steps


def test_oldest_job_is_served_first_and_counts_go_down() -> None:
    queue = FifoQueue()
    for number in range(3):
        queue.put(
            make_job(f"job-{number}", steps=make_steps(0, tuple(add_item(str(i)) for i in range(number))))
        )
    assert (len(queue), queue.cost(), queue.waiting("ins_1"), queue.waiting("ins_2")) == (3, 4, 3, 0)
    assert queue.cost_ahead("job-2") == (2, 2)
    queue.remove("job-1")
    queue.remove("unknown")
    taken = [queue.take(), queue.take(), queue.take()]
    assert [job.job_id if job else None for job in taken] == ["job-0", "job-2", None]
    assert (len(queue), queue.cost(), queue.waiting("ins_1")) == (0, 0, 0)


def test_job_put_back_is_next() -> None:
    queue = FifoQueue()
    queue.put(make_job("job-0"))
    queue.put(make_job("job-1"))
    first = queue.take()
    assert first is not None
    queue.put_back(first)
    assert queue.take() == first
    assert len(queue) == 1
