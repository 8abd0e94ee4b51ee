"""Maps and ACLs that come from files: read, change one entry, or exchange all of them at once.

A version is prepared, filled and committed; requests see either the old one or the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from lb.errors import HaproxyError, HaproxyRejected, HaproxyTooLarge
from lb.stats.argument import require_int, require_key, require_path, require_pattern, require_value
from lb.stats.channel import Channel, lines_of
from lb.stats.reading import (
    read_got,
    read_map,
    read_new_version,
    read_pattern_files,
    read_patterns,
    read_value,
    understood,
)
from lb.stats.row import MapEntry, PatternFile

_MAX_VERSION: Final = 2**32 - 1
_COMMAND_ROOM: Final = 1024
"""Bytes of a message that are left to the command itself."""


@dataclass(frozen=True, slots=True)
class _Patterns:
    """What maps and ACLs have in common. `file` is the path as it stands in the configuration."""

    _channel: Channel
    _kind: ClassVar[str]

    def files(self) -> tuple[PatternFile, ...]:
        """All that there are, those without a file included."""
        name = f"show {self._kind}"
        answer = self._channel.ask("show", self._kind)
        if not answer.startswith("# id "):
            raise HaproxyRejected(name, answer)
        return understood(name, answer, lambda: read_pattern_files(lines_of(answer, name)))

    def prepare(self, file: str) -> int:
        """Begin a new version, which is empty; its number."""
        name = f"prepare {self._kind}"
        answer = self._channel.ask("prepare", self._kind, require_path("file", file))
        if not answer.startswith("New version created"):
            raise HaproxyRejected(name, answer)
        return understood(name, answer, lambda: read_new_version(answer.rstrip("\n")))

    def commit_version(self, file: str, version: int) -> None:
        """Let a prepared version come into force; everything older is forgotten.

        Raises:
            HaproxyRejected: it was not prepared, or a newer one is in force.
        """
        self._channel.command("commit", self._kind, _version(version), require_path("file", file))

    def clear(self, file: str, *, version: int | None = None) -> None:
        """Remove the entries of a version; None: of the one in force. One that is not there counts as cleared."""
        self._channel.command("clear", self._kind, *_of(version), require_path("file", file))

    def _show(self, file: str, version: int | None) -> list[str]:
        name = f"show {self._kind}"
        answer = self._channel.ask("show", self._kind, *_of(version), require_path("file", file))
        lines = lines_of(answer, name)
        if lines and not lines[0].startswith("0x"):
            raise HaproxyRejected(name, answer)
        return lines

    def _get(self, file: str, key: str) -> str | None:
        """What was found for a key, by the file's own way of matching."""
        name = f"get {self._kind}"
        words = (require_path("file", file), require_pattern("key", key))
        answer = self._channel.ask("get", self._kind, *words)
        if not answer.startswith("type="):
            raise HaproxyRejected(name, answer)
        return understood(name, answer, lambda: read_got(answer.rstrip("\n")))

    def _delete(self, file: str, key: str) -> None:
        words = (require_path("file", file), require_pattern("key", key))
        self._channel.command("del", self._kind, *words)

    def _discard(self, file: str, version: int) -> None:
        """Clear a version that will not come into force; what went wrong before is what counts."""
        try:
            self.clear(file, version=version)
        except HaproxyError:
            return


@dataclass(frozen=True, slots=True)
class Maps(_Patterns):
    """Maps. Keys and values may hold whatever people type, as long as it is printable."""

    _kind: ClassVar[str] = "map"

    def show(self, file: str, *, version: int | None = None) -> tuple[MapEntry, ...]:
        """Its entries, in no order that means anything; of the version in force, or of a prepared one."""
        lines = self._show(file, version)
        return understood("show map", "\n".join(lines), lambda: read_map(lines))

    def get(self, file: str, key: str) -> str | None:
        """The value that a lookup finds, as a request would: a map of prefixes matches prefixes."""
        rest = self._get(file, key)
        return None if rest is None else understood("get map", rest, lambda: read_value(rest))

    def add(self, file: str, entries: Iterable[MapEntry], *, version: int | None = None) -> None:
        """Add entries in as few messages as HAProxy's buffer allows; what is there already stays, too.

        Without a version, and with many entries, requests see some of them before the others.

        Raises:
            HaproxyArgumentInvalid: an entry cannot be sent as it is; nothing was.
        """
        words = ("add", "map", *_of(version), require_path("file", file))
        lines = [_entry_line(entry) for entry in entries]
        for payload in _batches(lines, self._channel):
            answer = self._channel.ask_with(payload, *words)
            if answer.strip("\n"):
                raise HaproxyRejected("add map", answer)

    def set(self, file: str, key: str, *, value: str) -> None:
        """Change the value of an entry in force; both go on the command line, so both are plain words.

        Raises:
            HaproxyRejected: there is no such entry.
        """
        words = (require_path("file", file), require_pattern("key", key), require_pattern("value", value))
        self._channel.command("set", "map", *words)

    def delete(self, file: str, key: str) -> None:
        """Remove an entry in force; its key is a plain word.

        Raises:
            HaproxyRejected: there is no such entry.
        """
        self._delete(file, key)

    def replace(self, file: str, entries: Iterable[MapEntry]) -> None:
        """Exchange all entries at once; when that fails, the old ones stay."""
        checked = tuple(entries)
        for entry in checked:
            _entry_line(entry)
        version = self.prepare(file)
        try:
            self.add(file, checked, version=version)
            self.commit_version(file, version)
        except HaproxyError:
            self._discard(file, version)
            raise


@dataclass(frozen=True, slots=True)
class Acls(_Patterns):
    """ACLs from files. HAProxy 2.6 takes one pattern per command, and no payload: patterns are plain words."""

    _kind: ClassVar[str] = "acl"

    def show(self, file: str, *, version: int | None = None) -> tuple[str, ...]:
        """Its patterns, of the version in force or of a prepared one."""
        lines = self._show(file, version)
        return understood("show acl", "\n".join(lines), lambda: read_patterns(lines))

    def contains(self, file: str, pattern: str) -> bool:
        """Whether a lookup matches, as a request's would."""
        return self._get(file, pattern) is not None

    def add(self, file: str, patterns: Iterable[str], *, version: int | None = None) -> None:
        """Add patterns, one command each.

        Raises:
            HaproxyArgumentInvalid: a pattern is no plain word; nothing was sent.
            HaproxyRejected: a pattern is none for this ACL; those before it were added.
        """
        words = ("add", "acl", *_of(version), require_path("file", file))
        for pattern in [require_pattern("pattern", pattern) for pattern in patterns]:
            self._channel.command(*words, pattern)

    def delete(self, file: str, pattern: str) -> None:
        """Remove a pattern in force.

        Raises:
            HaproxyRejected: there is no such pattern.
        """
        self._delete(file, pattern)

    def replace(self, file: str, patterns: Iterable[str]) -> None:
        """Exchange all patterns at once; when that fails, the old ones stay."""
        checked = [require_pattern("pattern", pattern) for pattern in patterns]
        version = self.prepare(file)
        try:
            self.add(file, checked, version=version)
            self.commit_version(file, version)
        except HaproxyError:
            self._discard(file, version)
            raise


def _version(version: int) -> str:
    return f"@{require_int('version', version, low=0, high=_MAX_VERSION)}"


def _of(version: int | None) -> tuple[str, ...]:
    return () if version is None else (_version(version),)


def _entry_line(entry: MapEntry) -> str:
    return f"{require_key('key', entry.key)} {require_value('value', entry.value)}\n"


def _batches(lines: list[str], channel: Channel) -> Iterator[str]:
    """Lines put together to payloads that HAProxy's buffer holds."""
    if not lines:
        return
    room = channel.message_limit() - _COMMAND_ROOM
    batch: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode())
        if length > room:
            raise HaproxyTooLarge(
                "entry", f"has {length} bytes, and this HAProxy takes {room} (tune.bufsize)"
            )
        if size + length > room:
            yield "".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += length
    yield "".join(batch)
