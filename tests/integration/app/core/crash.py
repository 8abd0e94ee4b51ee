"""Child process of test_db_crash: carries out one operation and stands still where it is told to, to be killed there.

Arguments: database address, operation id, where to stand still: in `body`, after `store`, or right after `commit`.
Says "here" when it is there; if nobody kills it, it ends with its standard input.
"""

from __future__ import annotations

import sys

from app.core.db import Database, Tx
from app.core.json import JsonObject
from tests.integration.app.core.fault import Faults
from tests.integration.app.core.tally import Body


def _stand_still() -> None:
    sys.stdout.write("here\n")
    sys.stdout.flush()
    sys.stdin.read()


def main(url: str, op_id: str, where: str) -> None:
    """Do it."""
    db = Database(url)
    done = Body(op_id)

    def body(tx: Tx) -> JsonObject:
        value = done(tx)
        if where == "body":
            _stand_still()
        return value

    if where == "store":
        Faults(db.engine).at("store", "after", _stand_still)
    if where == "commit":
        Faults(db.engine).at("commit", "after", _stand_still)
    db.run_tx(op_id, body)


if __name__ == "__main__":
    main(*sys.argv[1:])
