"""Certificates, authorities and revocation lists: exchanged in a transaction, without a reload.

HAProxy has one transaction for each kind of file, whoever began it. `set ssl cert b` while one for `a` is open puts b's
content into a's transaction and reports success; so an open one is looked for before, and the name in the answer is
compared. One writer at a time is the caller's part.

**Source:** management manual of HAProxy 2.6 §9.3; the trap was found with 2.6.12 (tests/integration/lb).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lb.errors import HaproxyError, HaproxyProtocolError, HaproxyRejected
from lb.stats.argument import require_crt_option, require_int, require_path, require_sni_filter
from lb.stats.certificate_row import (
    Certificate,
    CertificateFacts,
    CrtListEntry,
    RevocationList,
    read_authorities,
    read_certificate,
    read_crt_list,
    read_names,
    read_revocation_lists,
)
from lb.stats.channel import Channel, lines_of
from lb.stats.pem import (
    count_distinct,
    require_authorities,
    require_certificate,
    require_revocation_lists,
)
from lb.stats.reading import understood

T = TypeVar("T")

_TRANSACTION = re.compile(r"[Tt]ransaction (?:created|updated) for (?:certificate|CA|CRL) (?P<name>\S+)!")
_DELETED = re.compile(r"(?:Certificate|CA file|CRL file) '\S+' deleted!")
_MAX_LINE = 1_000_000


@dataclass(frozen=True, slots=True)
class _Files:
    """What the three kinds have in common. A name is the path as it stands in the configuration or a crt-list."""

    _channel: Channel
    _kind: ClassVar[str]

    def names(self) -> tuple[str, ...]:
        """All files of this kind that HAProxy holds."""
        return self._names()[0]

    def pending(self) -> str | None:
        """The file with an open transaction."""
        return self._names()[1]

    def new(self, name: str) -> None:
        """An empty file, to be filled and then referred to.

        Raises:
            HaproxyRejected: the name is taken.
        """
        answer = self._ask("new", name)
        if not answer.startswith("New "):
            raise HaproxyRejected(f"new ssl {self._kind}", answer)

    def commit_change(self, name: str) -> None:
        """Let what was set come into force.

        Raises:
            HaproxyRejected: nothing was set, or it does not fit together; what was in force stays.
        """
        answer = self._ask("commit", name)
        if answer.rstrip("\n").rpartition("\n")[2] != "Success!":
            raise HaproxyRejected(f"commit ssl {self._kind}", answer)

    def abort_change(self, name: str) -> None:
        """Give up what was set.

        Raises:
            HaproxyRejected: nothing was, for this file.
        """
        answer = self._ask("abort", name)
        if not answer.startswith("Transaction aborted for "):
            raise HaproxyRejected(f"abort ssl {self._kind}", answer)

    def delete(self, name: str) -> None:
        """Forget a file that nothing refers to.

        Raises:
            HaproxyRejected: something does, or there is none.
        """
        answer = self._ask("del", name)
        if not _DELETED.fullmatch(answer.rstrip("\n")):
            raise HaproxyRejected(f"del ssl {self._kind}", answer)

    def _replace(self, name: str, payload: str) -> None:
        """Set and commit. A transaction that somebody has left open is given up first."""
        require_path("name", name)
        left = self.pending()
        if left is not None:
            self.abort_change(left)
        self._set(name, payload)
        try:
            self._check_pending(name, payload)
            self.commit_change(name)
        except HaproxyError:
            self._give_up(name)
            raise

    def _set(self, name: str, payload: str) -> None:
        command = f"set ssl {self._kind}"
        answer = self._channel.ask_with(payload, "set", "ssl", self._kind, require_path("name", name))
        found = _TRANSACTION.fullmatch(answer.strip("\n"))
        if found is None:
            raise HaproxyRejected(command, answer)
        if found["name"] != name:
            self._give_up(found["name"])
            raise HaproxyRejected(command, f"a transaction for {found['name']} was open; it was given up")

    def _check_pending(self, name: str, payload: str) -> None:
        """Compare what HAProxy has read with what was sent, where it tells."""

    def _give_up(self, name: str) -> None:
        """Abort, if there is something to abort; what went wrong before is what counts."""
        try:
            self.abort_change(name)
        except HaproxyError:
            return

    def _names(self) -> tuple[tuple[str, ...], str | None]:
        command = f"show ssl {self._kind}"
        answer = self._channel.ask("show", "ssl", self._kind)
        if not answer.startswith(("# ", "\n")):
            raise HaproxyRejected(command, answer)
        return understood(command, answer, lambda: read_names(lines_of(answer, command)))

    def _show(self, word: str, read: Callable[[list[str]], T]) -> T:
        command = f"show ssl {self._kind}"
        answer = self._channel.ask("show", "ssl", self._kind, word)
        if not answer.startswith(("Filename: ", "\n")):
            raise HaproxyRejected(command, answer)
        return understood(command, answer, lambda: read(lines_of(answer, command)))

    def _ask(self, verb: str, name: str) -> str:
        return self._channel.ask(verb, "ssl", self._kind, require_path("name", name))


@dataclass(frozen=True, slots=True)
class Certificates(_Files):
    """Certificates with chain and key, as crt-lists name them."""

    _kind: ClassVar[str] = "cert"

    def show(self, name: str) -> Certificate:
        """What is in force.

        Raises:
            HaproxyRejected: there is none.
        """
        return self._show(require_path("name", name), read_certificate)

    def set(self, name: str, pem: str) -> None:
        """Begin an exchange. Whether key and certificate fit is only found at `commit_change`."""
        self._set(name, require_certificate("pem", pem))

    def replace(self, name: str, pem: str) -> None:
        """Exchange certificate, chain and key; when that fails, the old ones stay."""
        self._replace(name, require_certificate("pem", pem))


@dataclass(frozen=True, slots=True)
class Authorities(_Files):
    """Files of authorities (`ca-file`, `ca-verify-file`). All of a file are exchanged together."""

    _kind: ClassVar[str] = "ca-file"

    def show(self, name: str) -> tuple[CertificateFacts, ...]:
        """What is in force; nothing: the file is empty.

        Raises:
            HaproxyRejected: there is none.
        """
        return self._show(require_path("name", name), read_authorities)

    def set(self, name: str, pem: str) -> None:
        """Begin an exchange."""
        self._set(name, require_authorities("pem", pem))

    def replace(self, name: str, pem: str) -> None:
        """Exchange all authorities of a file; when that fails, the old ones stay."""
        self._replace(name, require_authorities("pem", pem))

    def _check_pending(self, name: str, payload: str) -> None:
        _check_count(len(self._show(f"*{name}", read_authorities)), payload, "set ssl ca-file")


@dataclass(frozen=True, slots=True)
class RevocationLists(_Files):
    """Files of revocation lists (`crl-file`). All of a file are exchanged together."""

    _kind: ClassVar[str] = "crl-file"

    def show(self, name: str) -> tuple[RevocationList, ...]:
        """What is in force; nothing: the file is empty.

        Raises:
            HaproxyRejected: there is none.
        """
        return self._show(require_path("name", name), read_revocation_lists)

    def set(self, name: str, pem: str) -> None:
        """Begin an exchange."""
        self._set(name, require_revocation_lists("pem", pem))

    def replace(self, name: str, pem: str) -> None:
        """Exchange all lists of a file; when that fails, the old ones stay."""
        self._replace(name, require_revocation_lists("pem", pem))

    def _check_pending(self, name: str, payload: str) -> None:
        _check_count(len(self._show(f"*{name}", read_revocation_lists)), payload, "set ssl crl-file")


def _check_count(held: int, payload: str, command: str) -> None:
    sent = count_distinct(payload)
    if held != sent:
        raise HaproxyProtocolError(command, f"{held} of {sent} blocks were taken")


@dataclass(frozen=True, slots=True)
class CrtLists:
    """crt-lists: which certificate is shown for which host name."""

    _channel: Channel

    def files(self) -> tuple[str, ...]:
        """The crt-lists that there are."""
        answer = self._channel.ask("show", "ssl", "crt-list")
        lines = lines_of(answer, "show ssl crt-list")
        if any(" " in line for line in lines):
            raise HaproxyRejected("show ssl crt-list", answer)
        return tuple(lines)

    def show(self, file: str) -> tuple[CrtListEntry, ...]:
        """Its lines.

        Raises:
            HaproxyRejected: there is no such list.
        """
        command = "show ssl crt-list"
        answer = self._channel.ask("show", "ssl", "crt-list", "-n", require_path("file", file))
        if not answer.startswith("# "):
            raise HaproxyRejected(command, answer)
        return understood(command, answer, lambda: read_crt_list(lines_of(answer, command)))

    def add(
        self, file: str, certificate: str, *, filters: Sequence[str] = (), options: Sequence[str] = ()
    ) -> None:
        """Add a line; from then on its certificate is shown.

        Args:
            certificate: as `Certificates` name it; filled and committed before.
            filters: host names; none: those of the certificate.
            options: each with its arguments: `alpn h2,http/1.1`.

        Raises:
            HaproxyRejected: there is no such list, or no such certificate.
        """
        words = [require_path("certificate", certificate)]
        if options:
            words.append(f"[{' '.join(require_crt_option('options', option) for option in options)}]")
        words += [require_sni_filter("filters", name) for name in filters]
        answer = self._channel.ask_with(
            f"{' '.join(words)}\n", "add", "ssl", "crt-list", require_path("file", file)
        )
        if answer.rstrip("\n").rpartition("\n")[2] != "Success!":
            raise HaproxyRejected("add ssl crt-list", answer)

    def delete(self, file: str, certificate: str, *, line: int | None = None) -> None:
        """Remove a line; its number is needed where the certificate stands in several.

        Raises:
            HaproxyRejected: there is none, or it is not clear which.
        """
        word = require_path("certificate", certificate)
        if line is not None:
            word += f":{require_int('line', line, low=1, high=_MAX_LINE)}"
        answer = self._channel.ask("del", "ssl", "crt-list", require_path("file", file), word)
        if not (answer.startswith("Entry ") and " deleted in crtlist " in answer):
            raise HaproxyRejected("del ssl crt-list", answer)
