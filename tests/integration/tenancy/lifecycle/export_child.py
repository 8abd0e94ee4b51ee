"""Child process that exports an instance database and is killed in the middle of it.

Arguments: database URL, path of the file, name of the table in which it kills itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from app.core.db import Database, Reader, Row
from app.core.ids import CustomerId, InstanceId
from tenancy.lifecycle import repository
from tenancy.lifecycle.export_file import write_export
from tenancy.lifecycle.repository import StoredTable
from tenancy.record import Instance
from tests.fake.clock import START

INSTANCE = Instance(
    instance_id=InstanceId("ins_1"),
    customer_id=CustomerId("cus_1"),
    name="acme",
    edition="dedicated",
    lines=1,
    country="DE",
    firm_code=6_000_100,
    pool="shared",
    state="ready",
    health="ok",
    database_url=None,
    config_version=1,
    applied_version=1,
    created_at=START,
)


def main(url: str, path: str, table: str) -> None:
    original = repository.read_rows

    def killing(reader: Reader, stored: StoredTable) -> Iterator[Row]:
        for row in original(reader, stored):
            yield row
            if stored.name == table:
                os.kill(os.getpid(), signal.SIGKILL)

    vars(repository)["read_rows"] = killing
    write_export(Database(url), Path(path), instance=INSTANCE, at=START)


if __name__ == "__main__":
    main(*sys.argv[1:])
