"""Releases of a front's files: each whole in a directory of its own, one of them in force.

    <directory>/releases/7/   haproxy.cfg  maps/  problems/  tls/  crt-list.txt  ca.pem  crl.pem  manifest.json
    <directory>/current ──► releases/7        exchanged in one step; everything is on the disk before
    <directory>/unsettled                     a reload has begun whose end nobody has seen yet

What has not changed since the release before is a hard link to it: nothing writes into a release once it has its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from app.core.file import new_file, remove_file, replace_file, sync_directory
from app.core.lock import make_private
from lb.front.error import FrontDiskFailed
from lb.front.model import RELEASE, Backend, FrontFiles, FrontModel, Trust, digest_of
from lb.front.safe_text import read_map
from lb.front.settings import FrontSettings

CONFIGURATION: Final = "haproxy.cfg"
_MANIFEST: Final = "manifest.json"
_UNSETTLED: Final = "unsettled"
_KEPT: Final = 5
"""Releases that are kept for whoever wants to compare. Our own decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """What a release says of itself; its maps are read from their files."""

    number: int
    base: int
    files: Mapping[str, str]
    text: str
    backends: Mapping[str, Backend]
    certificates: Mapping[str, str]
    hosts: Mapping[str, str]
    authorities: str
    revocation_lists: str
    trust: Trust
    slots: Mapping[str, int]
    groups: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release.

    Attributes:
        base: the oldest release whose configuration, with what was changed since while it ran, is this one. A worker
            that has read any from there on can have become this one without a reload.
        files: digest of each file, by path.
    """

    number: int
    base: int
    path: Path
    model: FrontModel
    files: Mapping[str, str] = field(repr=False)

    def text(self, name: str) -> str:
        """The content of one of its files."""
        return (self.path / name).read_text(encoding="utf-8")


class Releases:
    """The releases of one front. One writer at a time is the caller's part."""

    def __init__(self, settings: FrontSettings) -> None:
        self._settings = settings

    def prepare(self) -> None:
        """Make the directories, for the owner's eyes only.

        Raises:
            FrontDiskFailed: they cannot be made.
        """
        try:
            for directory in (self._settings.directory, self._settings.releases, self._settings.run):
                make_private(directory)
        except OSError as error:
            raise _failed(error) from error

    def current(self) -> Release | None:
        """The release in force; None: there is none, or it cannot be read."""
        try:
            path = self._in_force()
            manifest = msgspec.json.decode((path / _MANIFEST).read_bytes(), type=_Manifest)
            return _release(path, manifest)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None

    def write(self, files: FrontFiles, former: Release | None, *, base: int | None) -> Release:
        """Write a release, whole and on the disk; it is not in force yet.

        Args:
            former: whatever is the same as in it is linked, and it stays, to be gone back to.
            base: None: the release itself; it is to be read from its files.

        Raises:
            FrontDiskFailed: it cannot be written; what was of it is gone.
        """
        draft = self._settings.releases / ".draft"
        try:
            self._clean(former)
            number = self._next_number()
            contents = {**files.files, CONFIGURATION: files.configuration.replace(RELEASE, str(number))}
            digests = {name: digest_of(content) for name, content in contents.items()}
            manifest = _manifest(files.model, number, number if base is None else base, digests)
            self._fill(draft, contents, digests, former)
            with new_file(draft / _MANIFEST) as file:
                file.write(msgspec.json.encode(manifest))
            for folder in sorted({draft, *(draft / name for name in _folders(contents))}):
                sync_directory(folder)
            path = self._settings.releases / str(number)
            draft.rename(path)
            sync_directory(self._settings.releases)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise _failed(error) from error
        return Release(number=number, base=manifest.base, path=path, model=files.model, files=digests)

    def put_in_force(self, release: Release) -> None:
        """Let `current` lead to a release, from one moment to the next.

        Raises:
            FrontDiskFailed: it does not, for certain or as far as is known.
        """
        draft = self._settings.directory / ".current.new"
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(f"releases/{release.number}")
            draft.replace(self._settings.current)
            sync_directory(self._settings.directory)
        except OSError as error:
            raise _failed(error) from error

    def discard(self, release: Release) -> None:
        """Remove a release that has never been in force, so that no worker has read it."""
        shutil.rmtree(release.path, ignore_errors=True)

    @property
    def is_unsettled(self) -> bool:
        """Whether a reload has begun whose end nobody has seen."""
        return (self._settings.directory / _UNSETTLED).exists()

    def unsettle(self) -> None:
        """Note that a reload begins.

        Raises:
            FrontDiskFailed: it cannot be noted.
        """
        try:
            replace_file(self._settings.directory / _UNSETTLED, b"")
        except OSError as error:
            raise _failed(error) from error

    def settle(self) -> None:
        """Note that it is known what runs."""
        remove_file(self._settings.directory / _UNSETTLED)

    def _fill(
        self, draft: Path, contents: Mapping[str, str], digests: Mapping[str, str], former: Release | None
    ) -> None:
        draft.mkdir(mode=0o700)
        for name in _folders(contents):
            (draft / name).mkdir(mode=0o700)
        for name, content in contents.items():
            if former is not None and former.files.get(name) == digests[name]:
                os.link(former.path / name, draft / name)
            else:
                with new_file(draft / name) as file:
                    file.write(content.encode())

    def _clean(self, former: Release | None) -> None:
        """Make room for one more: what a crash has left goes, and the oldest releases, however they fared.

        Not the former one, which is not in force any more if steps from it were refused; and never the newest, whose
        number would come again: a worker may have read it.
        """
        for path in self._settings.releases.iterdir():
            if not path.name.isdigit():
                shutil.rmtree(path)
        with suppress(OSError):
            kept = {self._in_force().name} | ({former.path.name} if former is not None else set())
            for number in sorted(self._numbers())[: 1 - _KEPT]:
                if str(number) not in kept:
                    shutil.rmtree(self._settings.releases / str(number), ignore_errors=True)

    def _in_force(self) -> Path:
        """Where `current` leads to.

        Raises:
            OSError: nowhere.
        """
        return self._settings.releases / os.readlink(self._settings.current).rpartition("/")[2]

    def _next_number(self) -> int:
        return max(self._numbers(), default=0) + 1

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self._settings.releases.iterdir() if path.name.isdigit()]


def _folders(contents: Mapping[str, str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in contents if "/" in name})


def _manifest(model: FrontModel, number: int, base: int, files: Mapping[str, str]) -> _Manifest:
    return _Manifest(
        number=number,
        base=base,
        files=files,
        text=model.text,
        backends=model.backends,
        certificates=model.certificates,
        hosts=model.hosts,
        authorities=model.authorities,
        revocation_lists=model.revocation_lists,
        trust=model.trust,
        slots=model.slots,
        groups=model.groups,
    )


def _release(path: Path, manifest: _Manifest) -> Release:
    maps = {
        file.name: read_map(file.read_text(encoding="utf-8")) for file in sorted((path / "maps").iterdir())
    }
    model = FrontModel(
        text=manifest.text,
        backends=manifest.backends,
        maps=maps,
        certificates=manifest.certificates,
        hosts=manifest.hosts,
        authorities=manifest.authorities,
        revocation_lists=manifest.revocation_lists,
        trust=manifest.trust,
        slots=manifest.slots,
        groups=manifest.groups,
    )
    return Release(number=manifest.number, base=manifest.base, path=path, model=model, files=manifest.files)


def _failed(error: OSError) -> FrontDiskFailed:
    return FrontDiskFailed(
        "The load balancer's files cannot be written; nothing has changed.",
        reason=error.strerror or type(error).__name__,
    )
