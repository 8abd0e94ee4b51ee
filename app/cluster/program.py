"""The programs that a cluster needs besides wops: where they are, and which of Debian's packages has them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
    return require_programs((name,))[0]


def require_programs(names: Sequence[str]) -> list[Path]:
    """Where programs are.

    Raises:
        ProgramMissing: some are not installed; names all of them, and what to install for them.
    """
    found = {name: find_program(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = sorted({_PACKAGES[name] for name in missing if name in _PACKAGES})
        remedy = f"; as root: apt-get install {' '.join(packages)}" if packages else ""
        verb = "is" if len(missing) == 1 else "are"
        raise ProgramMissing(
            f"{', '.join(missing)} {verb} not installed{remedy}.", programs=missing, packages=packages
        )
    return [path for path in found.values() if path is not None]
