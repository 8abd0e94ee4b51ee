"""Arguments of commands, checked by type before a byte is sent. Pure.

HAProxy reads a line as one or more commands: `;` and a line break end one, a backslash quotes, blanks separate words.
So a word has a closed set of characters in which none of these occurs. What people type goes into payloads only, where
each line is taken as it is; there, an empty line ends the payload and what follows would be a command.

**Source:** management manual of HAProxy 2.6 §9.3; tried with 2.6.12 (tests/integration/lb/test_haproxy_stats_map.py).
"""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Final

from lb.errors import HaproxyArgumentInvalid

NAME_LENGTH: Final = 128
"""HAProxy sets no bound; ours are half as long, and a line of servers' state stays readable."""
PATH_LENGTH: Final = 512
PATTERN_LENGTH: Final = 4096
SOCKET_PATH_BYTES: Final = 107
"""**Source:** unix(7), sun_path, less its final NUL."""
MAX_WEIGHT: Final = 256
MAX_TIME: Final = timedelta(hours=24)
"""HAProxy counts milliseconds in 31 bits, 24.8 days; nothing here is a sensible check interval beyond a day."""

_IP_LENGTH: Final = 45
"""Characters of the longest way to write an address."""

_WORD = re.compile(r"[A-Za-z0-9_.:/@#%+=,~*!|\[\]-]+")
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_PATH = re.compile(r"/?[A-Za-z0-9_.][A-Za-z0-9_.+@=,~/-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SNI_FILTER = re.compile(r"!?(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_CRT_OPTION = re.compile(r"[A-Za-z0-9_.:/,+-]+( [A-Za-z0-9_.:/,+-]+)*")


def require_word(field: str, value: str) -> str:
    """The last look at every word of a command, whatever has checked it before."""
    if not _WORD.fullmatch(value):
        raise HaproxyArgumentInvalid(field, "has characters that no word of a command may have")
    return value


def require_name(field: str, value: str) -> str:
    """A backend, server, frontend or table."""
    if len(value) > NAME_LENGTH or not _NAME.fullmatch(value):
        raise HaproxyArgumentInvalid(field, f"has 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 _ . : -")
    return value


def require_path(field: str, value: str) -> str:
    """A file as it stands in the configuration. HAProxy compares the text and opens nothing."""
    if len(value) > PATH_LENGTH or not _PATH.fullmatch(value):
        raise HaproxyArgumentInvalid(
            field, f"is a path of 1 to {PATH_LENGTH} of the characters A-Z a-z 0-9 _ . + @ = , ~ / -"
        )
    return value


def require_int(field: str, value: int, *, low: int, high: int) -> int:
    """A whole number in its range; True and False are none."""
    if type(value) is not int or not low <= value <= high:
        raise HaproxyArgumentInvalid(field, f"is a whole number from {low} to {high}")
    return value


def require_time(field: str, value: timedelta) -> str:
    """A duration as HAProxy writes it: whole milliseconds, 1 ms to a day."""
    milliseconds = value // timedelta(milliseconds=1)
    if not timedelta(milliseconds=1) <= value <= MAX_TIME:
        raise HaproxyArgumentInvalid(field, "is a time from 1 ms to 24 h")
    return f"{milliseconds}ms"


def require_key(field: str, value: str) -> str:
    """The key of a map's entry, or a pattern of an ACL: printable, no blank."""
    if not 0 < len(value) <= PATTERN_LENGTH or not value.isprintable() or " " in value:
        raise HaproxyArgumentInvalid(field, f"has 1 to {PATTERN_LENGTH} printable characters and no blank")
    return value


def require_pattern(field: str, value: str) -> str:
    """A key or pattern on the command line: a plain word, and no `#`, which would name an entry by its place."""
    if value.startswith("#") or len(value) > PATH_LENGTH or not _WORD.fullmatch(value):
        raise HaproxyArgumentInvalid(field, f"has 1 to {PATH_LENGTH} characters of a plain word")
    return value


def require_value(field: str, value: str) -> str:
    """The value of a map's entry: printable, blanks only inside; HAProxy drops the first ones."""
    if not 0 < len(value) <= PATTERN_LENGTH or not value.isprintable() or value != value.strip(" "):
        raise HaproxyArgumentInvalid(
            field, f"has 1 to {PATTERN_LENGTH} printable characters, no blank at its ends"
        )
    return value


def require_ip(field: str, value: str) -> str:
    """An IP address without a zone, written as Python writes it."""
    try:
        if len(value) > _IP_LENGTH or "%" in value:
            raise ValueError(value[:_IP_LENGTH])
        return str(ip_address(value))
    except ValueError:
        raise HaproxyArgumentInvalid(field, "is an IP address") from None


def require_address(field: str, value: str) -> str:
    """Where a server listens: `unix@/path` or `host:port`, `[v6]:port`.

    HAProxy itself takes nearly anything for a host name, and 0 for a port.
    """
    if value.startswith("unix@"):
        path = require_path(field, value.removeprefix("unix@"))
        if not path.startswith("/") or len(path.encode()) > SOCKET_PATH_BYTES:
            raise HaproxyArgumentInvalid(field, f"is an absolute path of at most {SOCKET_PATH_BYTES} bytes")
        return value
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or not port.isascii() or len(port) > 5 or not 0 < int(port) < 65536:
        raise HaproxyArgumentInvalid(field, "is unix@/path or host:port")
    return f"{_host(field, host)}:{int(port)}"


def _host(field: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        return f"[{require_ip(field, host[1:-1])}]"
    if not _HOST.fullmatch(host):
        raise HaproxyArgumentInvalid(field, "is unix@/path or host:port")
    return host


def require_sni_filter(field: str, value: str) -> str:
    """A host name of a crt-list's line, with `*.` or `!` in front if need be."""
    if len(value) > 255 or not _SNI_FILTER.fullmatch(value):
        raise HaproxyArgumentInvalid(field, "is a host name, possibly with *. or ! in front")
    return value


def require_crt_option(field: str, value: str) -> str:
    """An option of a crt-list's line with its arguments: `alpn h2,http/1.1`."""
    if len(value) > NAME_LENGTH or not _CRT_OPTION.fullmatch(value):
        raise HaproxyArgumentInvalid(field, "is an option of a crt-list with its arguments")
    return value
