"""The last look at what gets into HAProxy's files: what a value's owner has checked is checked here again. Pure.

**Source:** high-availability reference §0 (8) and §2.2: `;` or a newline in a map's value executed a second command,
and `haproxy -c` accepts `$HOME` and `%[env(HOME)]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lb.front.error import FrontStateUnfit

IDENTIFIER: Final = re.compile(r"[a-z0-9_]{1,64}")
INSTANCE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})")
INSTANCE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_WORD: Final = re.compile(r"[A-Za-z0-9_|:/.~@+*,=!?()\[\]<>&^{}-]{1,300}")
"""Of printable ASCII neither blank nor `;` `"` `'` `\\` `$` `#` `%` nor backquote."""


def require(field: str, value: str, pattern: re.Pattern[str]) -> str:
    """A value that has its form.

    Raises:
        FrontStateUnfit: it has not.
    """
    if not pattern.fullmatch(value):
        raise FrontStateUnfit(f"A value of '{field}' has a form that no load balancer takes.", field=field)
    return value


def map_text(name: str, entries: Mapping[str, str]) -> str:
    """A map file: a key, a blank and a value on each line.

    Raises:
        FrontStateUnfit: a key or value has other bytes than those of identifiers, paths and networks.
    """
    lines = []
    for key in sorted(entries):
        value = entries[key]
        if not (_WORD.fullmatch(key) and _WORD.fullmatch(value)):
            raise FrontStateUnfit(f"A value for '{name}' has a byte that no map takes.", field=name)
        lines.append(f"{key} {value}\n")
    return "".join(lines)


def read_map(text: str) -> dict[str, str]:
    """The entries of a map file of ours."""
    return dict(_pair(line) for line in text.splitlines() if line)


def _pair(line: str) -> tuple[str, str]:
    key, _, value = line.partition(" ")
    return key, value


_CONFIGURATION: Final = re.compile(r"[\x20-\x7e\n]*")


def configuration_text(lines: Iterable[str]) -> str:
    """A configuration, each line of it one.

    Raises:
        FrontStateUnfit: a line has a control character or a byte beyond ASCII.
    """
    listed = list(lines)
    text = "".join(f"{line}\n" for line in listed)
    if text.count("\n") != len(listed) or not _CONFIGURATION.fullmatch(text):
        raise FrontStateUnfit(
            "A line of the configuration holds a byte that none may.", field="configuration"
        )
    return text
