"""Child process of the kill tests: for each line `url folder point` it gets, a fork of it that works, and dies.

Says how each fork ended: `killed`, or its exit status. Forks instead of starts: a start costs a second, a fork nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from tests.integration.tenancy.foundry import Foundry


def work(line: str) -> None:
    url, folder, point = line.split("\t")
    foundry = Foundry(url, Path(folder), point)
    foundry.run()
    foundry.close()


def main() -> None:
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            work(line.rstrip("\n"))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("killed\n" if killed else f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
