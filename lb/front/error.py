"""What can go wrong with a front. Pure.

HaproxyError
└── FrontError
├── FrontSettingsUnfit       a setting that no configuration can hold
├── FrontStateUnfit          a value of the state that no file can hold; nothing was touched
│   └── FrontCertificateUnfit    … a certificate without key, or with another's; lists that cannot be read
├── FrontBusy                somebody else is applying
├── FrontDiskFailed          a release could not be written; nothing has changed
├── FrontRefused             HAProxy refused the configuration; what ran goes on, the files are as before
└── FrontNotReloaded         the new configuration did not come up; the former one is in force again
"""

from __future__ import annotations

from lb.errors import HaproxyError


class FrontError(HaproxyError):
    """Something about bringing a front to its state."""

    code = "front_error"


class FrontSettingsUnfit(FrontError):
    """A setting has a form that must not get into a configuration."""

    code = "front_settings_unfit"


class FrontStateUnfit(FrontError):
    """A value of the state has a form that must not get into a file of HAProxy's. Nothing was touched."""

    code = "front_state_unfit"


class FrontCertificateUnfit(FrontStateUnfit):
    """A certificate, an authority or a revocation list cannot be used, or HAProxy does not load it; what ran runs.

    `detail["name"]` says which: a certificate's file, or the id of its host; an authority's fingerprint.
    """

    code = "front_certificate_unfit"


class FrontBusy(FrontError):
    """Another process or thread is bringing this front to a state."""

    code = "front_busy"


class FrontDiskFailed(FrontError):
    """The files could not be written. Nothing has changed."""

    code = "front_disk_failed"


class FrontRefused(FrontError):
    """HAProxy refused the configuration; what ran goes on with what it had."""

    code = "front_refused"


class FrontNotReloaded(FrontError):
    """The new configuration did not come up, or did not answer; the former one is in force again."""

    code = "front_not_reloaded"
