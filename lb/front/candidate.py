"""What HAProxy looks at before it comes into force: new certificates, each by itself, and whole releases.

A certificate is somebody's: whoever brings one that HAProxy does not load must not hold up the others, so that it is
called by its name before anything is written or told to a worker. What OpenSSL takes depends on its version and its
security level; only the program itself knows.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from lb.front.certificate_file import FOLDER
from lb.front.configuration import CERTIFICATE_LIST, certificate_check_lines
from lb.front.error import FrontCertificateUnfit, FrontDiskFailed, FrontRefused
from lb.front.release import CONFIGURATION, Release
from lb.front.settings import FrontSettings
from lb.process import CheckResult, check_configuration

_REFUSED_LINE: Final = re.compile(r"\[ALERT\][^\[\]]*\[[^\]]*:([0-9]+)\]")
"""Where the fault is. HAProxy 2.6.12 goes on after one and says them all; the first one is enough."""
_NO_ROOM: Final = "There is no room for a look at the configuration; nothing has changed."


def check_certificates(settings: FrontSettings, certificates: Mapping[str, str]) -> None:
    """Have HAProxy load certificates and nothing else; some 20 ms.

    Args:
        certificates: PEM of certificate, chain and key, by name.

    Raises:
        FrontCertificateUnfit: it does not take one of them, which is named.
        FrontRefused: it says no, but not to which, or is not there.
        FrontDiskFailed: there is no room for the look.
    """
    if not certificates:
        return
    # Where the next release sweeps what somebody who was killed has left.
    folder = settings.releases / ".certificates"
    lines = list(certificate_check_lines(settings, [f"{folder}/{name}" for name in certificates]))
    try:
        _lay_out(folder, {**certificates, CONFIGURATION: "".join(f"{line}\n" for line in lines)})
        result = _ask(settings, folder / CONFIGURATION)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if result.ok:
        return
    by_line = dict(enumerate(certificates, len(lines) - len(certificates) + 1))
    first = _REFUSED_LINE.search(result.output)
    name = None if first is None else by_line.get(int(first[1]))
    if name is None:
        raise FrontRefused("HAProxy refuses certificates; nothing has changed.", output=result.output)
    raise FrontCertificateUnfit("HAProxy does not load this certificate.", name=name)


def _lay_out(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FrontDiskFailed(_NO_ROOM) from error


def _ask(settings: FrontSettings, configuration: Path) -> CheckResult:
    try:
        return check_configuration(settings.haproxy, configuration)
    except OSError as error:
        raise FrontRefused("HAProxy cannot be started to look at the configuration.") from error


def check_release(settings: FrontSettings, release: Release) -> None:
    """Have HAProxy read it (`haproxy -c`).

    Raises:
        FrontCertificateUnfit: it does not take one of its certificates, as after an update of OpenSSL.
        FrontRefused: it does not take it, or is not there.
        FrontDiskFailed: there is no room for the look.
    """
    folder = release.path / ".check"
    try:
        folder.mkdir(mode=0o700)
        here = {f"{settings.current}/": f"{release.path}/"}
        listed = {f"{settings.current}/{CERTIFICATE_LIST}": f"{folder}/{CERTIFICATE_LIST}"}
        for name, changes in ((CONFIGURATION, listed | here), (CERTIFICATE_LIST, here)):
            text = release.text(name)
            for old, new in changes.items():
                text = text.replace(old, new)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FrontDiskFailed(_NO_ROOM) from error
    try:
        result = _ask(settings, folder / CONFIGURATION)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not result.ok:
        names = release.model.certificates
        check_certificates(settings, {name: release.text(f"{FOLDER}/{name}") for name in names})
        raise FrontRefused("HAProxy refuses the configuration; nothing has changed.", output=result.output)
