"""A release that HAProxy looks at before it comes into force: with its own files, not those in force."""

from __future__ import annotations

import shutil

from lb.front.configuration import CERTIFICATE_LIST
from lb.front.error import FrontDiskFailed, FrontRefused
from lb.front.release import CONFIGURATION, Release
from lb.front.settings import FrontSettings
from lb.process import check_configuration


def check_release(settings: FrontSettings, release: Release) -> None:
    """Have HAProxy read it (`haproxy -c`).

    Raises:
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
        raise FrontDiskFailed(
            "There is no room for a look at the configuration; nothing has changed."
        ) from error
    try:
        result = check_configuration(settings.haproxy, folder / CONFIGURATION)
    except OSError as error:
        raise FrontRefused("HAProxy cannot be started to look at the configuration.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not result.ok:
        raise FrontRefused("HAProxy refuses the configuration; nothing has changed.", output=result.output)
