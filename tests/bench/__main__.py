"""`python -m tests.bench [name …]`: one JSON line per benchmark on standard output, the rest on standard error."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.bench.result import BenchPlace, BenchResult

BENCHES: Final = (
    "access_cost",
    "activation_vs_bare_sql",
    "metered_call_vs_plain",
    "start_to_ready",
    "idle_instances",
    "migrate_instances",
    "provisioning_time",
    "audit_chain",
    "haproxy_wrapper",
    "job_handoff_vs_queue",
    "box_utilisation",
    "shared_pool_fairness",
    "dedicated_pool_isolation",
    "balancer_lost",
    "front_changes",
    "front_scale",
    "front_vs_direct",
    "line_killed",
)
"""Each is a module of its own name with a `run`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is named, or everything; 0 if every mark was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of: {', '.join(BENCHES)}")
    names: list[str] = parser.parse_args(arguments).names
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    reached = [_run(name) for name in names or BENCHES]
    return 0 if all(reached) else 1


def _run(name: str) -> bool:
    print(f"{name} ...", file=sys.stderr, flush=True)
    bench: Callable[[BenchPlace], BenchResult] = import_module(f"tests.bench.{name}").run
    # Not the memory file system that some machines have under /tmp: what is measured writes to a disk.
    with tempfile.TemporaryDirectory(prefix="wops-bench-") as folder:
        try:
            result = bench(BenchPlace(folder=Path(folder)))
        except Exception:
            traceback.print_exc()
            return False
    print(result.line(), flush=True)
    return result.ok


if __name__ == "__main__":
    sys.exit(main())
