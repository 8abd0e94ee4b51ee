"""The programs that a cluster needs besides wops: where they are, and which of Debian's packages has them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from app.core.errors import DomainError

# An ordinary user's search path lacks the folders of servers.
_SEARCHED: Final = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/sbin:/bin"
_PACKAGES: Final = {
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "haproxy": "haproxy",
}
"""Of Debian 12."""


class ProgramMissing(DomainError):
    """A program that has to run is not installed."""

    code = "program_missing"


def find_program(name: str) -> Path | None:
    """Where a program is, by its name or path; None: it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=_SEARCHED)
    return None if found is None else Path(found)


def require_program(name: str) -> Path:
    """Where a program is.

    Raises:
        ProgramMissing: it is not installed; says which of Debian's packages has it.
    """
    found = find_program(name)
    if found is None:
        package = _PACKAGES.get(name)
        raise ProgramMissing(
            f"{name} is not installed{'' if package is None else f': apt-get install {package}'}.",
            program=name,
        )
    return found
