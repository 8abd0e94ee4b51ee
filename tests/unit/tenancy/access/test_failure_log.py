from __future__ import annotations

from tenancy.access.failure.log import MOST_ROWS, OTHERS, FailureKey, FailureLog
from tests.unit.tenancy.access.material import DAY, NOW

KEY = FailureKey("acme.erp", "192.0.2.7/32", "credentials_invalid")


def test_same_refusals_are_one_row_with_first_and_last_time() -> None:
    log = FailureLog()
    for days in range(3):
        log.note(KEY, NOW + days * DAY)
    (row,) = log.take()
    assert (row.client, row.network, row.code) == KEY
    assert (row.failures, row.first_at, row.last_at) == (3, NOW, NOW + 2 * DAY)
    assert not log
    assert log.take() == []


def test_flood_is_bounded_and_still_counted() -> None:
    log = FailureLog()
    for n in range(2000):
        log.note(FailureKey("-", f"{n}/32", "instance_not_found"), NOW)
    rows = log.take()
    assert len(rows) == MOST_ROWS
    assert sum(row.failures for row in rows) == 2000
    assert next(row for row in rows if row.network == OTHERS).failures == 2000 - (MOST_ROWS - 1)
