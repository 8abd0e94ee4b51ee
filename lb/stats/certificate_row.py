"""Certificates, authorities, revocation lists and crt-lists as HAProxy holds them; read from its answers. Pure.

**Source:** management manual of HAProxy 2.6 §9.3; tried with 2.6.12.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>[0-9]{1,2})"
    r" (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:\.[0-9]+)? (?P<year>[0-9]{4}) GMT",
    re.ASCII,
)
_CRT_LIST_LINE = re.compile(
    r"(?P<file>\S+):(?P<line>[0-9]+)(?: \[(?P<options>[^\]]*)\])?(?P<filters>(?: \S+)*)", re.ASCII
)
_CERTIFICATE_HEAD = re.compile(r"Certificate #[0-9]+:", re.ASCII)
_LIST_HEAD = re.compile(r"Certificate Revocation List #[0-9]+:", re.ASCII)


class FileStatus(Enum):
    """Of a certificate, authority or revocation list file in HAProxy's memory."""

    USED = "Used"
    UNUSED = "Unused"
    """Known, and nothing refers to it."""
    EMPTY = "Empty"
    """Made by `new`, never filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """One certificate. Names are written by OpenSSL: `/CN=a.example/O=A, B`."""

    serial: str
    not_before: datetime
    not_after: datetime
    alternative_names: tuple[str, ...]
    algorithm: str
    sha1: str
    subject: str
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A file with a certificate and its key.

    Attributes:
        facts: None: it is empty.
        chain: subjects of the certificates that come with it.
    """

    name: str
    status: FileStatus
    facts: CertificateFacts | None
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A revocation list.

    Attributes:
        next_update: None: it names none.
        listed: entries that HAProxy showed: of a list longer than its buffer only the first ones.
    """

    issuer: str
    last_update: datetime
    next_update: datetime | None
    listed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CrtListEntry:
    """A line of a crt-list.

    Attributes:
        line: its number, which tells it from others with the same certificate.
        options: as they stand in brackets.
        filters: host names; none: those of the certificate.
    """

    certificate: str
    line: int
    options: str
    filters: tuple[str, ...]


def read_names(lines: list[str]) -> tuple[tuple[str, ...], str | None]:
    """`show ssl cert` and its kin without a name: the files, and the one with an open transaction."""
    names: list[str] = []
    pending = None
    section = ""
    for line in lines:
        if line.startswith("# "):
            section = line
        elif section == "# transaction":
            pending = _file(line).removeprefix("*")
        elif section == "# filename":
            names.append(_file(line))
        else:
            raise ValueError(line)
    return tuple(names), pending


def _file(line: str) -> str:
    """Without the number of certificates that follows in a list of authorities."""
    return line.partition(" - ")[0]


def read_certificate(lines: list[str]) -> Certificate:
    """`show ssl cert <name>`."""
    fields = _fields(lines)
    status = FileStatus(fields["Status"])
    return Certificate(
        name=fields["Filename"],
        status=status,
        facts=None if status is FileStatus.EMPTY else _facts(fields),
        chain=tuple(
            line.removeprefix("Chain Subject: ") for line in lines if line.startswith("Chain Subject: ")
        ),
    )


def read_authorities(lines: list[str]) -> tuple[CertificateFacts, ...]:
    """`show ssl ca-file <name>`: a head for the file, one per certificate. An empty file has no line at all."""
    return tuple(_facts(_fields(part)) for part in _parts(lines, _CERTIFICATE_HEAD))


def read_revocation_lists(lines: list[str]) -> tuple[RevocationList, ...]:
    """`show ssl crl-file <name>`: what is cut off where HAProxy's buffer ends is not missed."""
    return tuple(_revocation_list(part) for part in _parts(lines, _LIST_HEAD))


def _revocation_list(lines: list[str]) -> RevocationList:
    fields = _fields([line for line in lines if not line.startswith(" ")])
    update = fields.get("Next Update", "NONE")
    return RevocationList(
        issuer=fields["Issuer"],
        last_update=_time(fields["Last Update"]),
        next_update=None if update == "NONE" else _time(update),
        listed=sum(line.startswith("    Serial Number:") for line in lines),
    )


def read_crt_list(lines: list[str]) -> tuple[CrtListEntry, ...]:
    """`show ssl crt-list -n <file>`. HAProxy 2.6 writes a NUL after the options."""
    return tuple(_crt_list_entry(line.replace("\0", "")) for line in lines[1:])


def _crt_list_entry(line: str) -> CrtListEntry:
    found = _CRT_LIST_LINE.fullmatch(line)
    if found is None:
        raise ValueError(line)
    return CrtListEntry(
        certificate=found["file"],
        line=int(found["line"]),
        options=found["options"] or "",
        filters=tuple(found["filters"].split()),
    )


def _parts(lines: list[str], head: re.Pattern[str]) -> Iterator[list[str]]:
    part: list[str] | None = None
    for line in lines:
        if head.fullmatch(line):
            if part is not None:
                yield part
            part = []
        elif part is not None:
            part.append(line)
    if part is not None:
        yield part


def _fields(lines: list[str]) -> dict[str, str]:
    """`name: value` lines; the first of a name counts, as the rest of a chain repeats none that is read here."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields.setdefault(name, value.strip())
    return fields


def _facts(fields: dict[str, str]) -> CertificateFacts:
    return CertificateFacts(
        serial=fields["Serial"],
        not_before=_time(fields["notBefore"]),
        not_after=_time(fields["notAfter"]),
        alternative_names=tuple(filter(None, fields["Subject Alternative Name"].split(", "))),
        algorithm=fields["Algorithm"],
        sha1=fields["SHA1 FingerPrint"],
        subject=fields["Subject"],
        issuer=fields["Issuer"],
    )


def _time(text: str) -> datetime:
    """OpenSSL's way to write one, without asking the locale for the names of months."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    day, hour, minute, second, year = (
        int(found[name]) for name in ("day", "hour", "minute", "second", "year")
    )
    return datetime(year, _MONTHS.index(found["month"]) + 1, day, hour, minute, second, tzinfo=UTC)
