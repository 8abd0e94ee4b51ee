"""What own host names and denied networks refuse.

TenancyError
├── HostUnfit · HostTaken · HostNotProven · HostsTooMany · HostVersionConflict · HostNotFound
├── HostCertificateMalformed · HostCertificateExpired · HostCertificateUnfit · HostKeyUnfit
├── HostKeyDamaged                                                      not raised to callers
├── CallerDenied
└── DeniedNetworkTaken · DeniedNetworkPast · DeniedNetworksTooMany · DeniedNetworkNotFound
"""

from __future__ import annotations

from tenancy.errors import NotFound, TenancyError


class HostUnfit(TenancyError):
    """The text is no host name that the front could serve."""

    code = "host_unfit"


class HostTaken(TenancyError):
    """The host name is in use already, by whomever."""

    code = "host_taken"


class HostNotProven(TenancyError):
    """No authority that we trust says that the host name is the customer's."""

    code = "host_not_proven"


class HostsTooMany(TenancyError):
    """The instance has as many host names as an instance can have."""

    code = "hosts_too_many"


class HostVersionConflict(TenancyError):
    """The host name has got another certificate since the caller read it."""

    code = "host_version_conflict"


class HostNotFound(NotFound):
    """There is no such host name, or it is not the caller's."""

    code = "host_not_found"


class HostCertificateMalformed(TenancyError):
    """The text holds no X.509 certificates in PEM."""

    code = "host_certificate_malformed"


class HostCertificateExpired(TenancyError):
    """The certificate, or one of its chain, has run out."""

    code = "host_certificate_expired"


class HostCertificateUnfit(TenancyError):
    """The certificate is not for that host, or its chain is out of order, or a key or signature too weak."""

    code = "host_certificate_unfit"


class HostKeyUnfit(TenancyError):
    """The private key cannot be read, is protected by a password, or does not fit the certificate."""

    code = "host_key_unfit"


class HostKeyDamaged(TenancyError):
    """A stored private key cannot be opened: it was altered, or sealed under another key."""

    code = "host_key_damaged"


class CallerDenied(TenancyError):
    """Nobody from the caller's network is answered."""

    code = "caller_denied"


class DeniedNetworkTaken(TenancyError):
    """The network is denied already."""

    code = "denied_network_taken"


class DeniedNetworkPast(TenancyError):
    """The denial would have ended already."""

    code = "denied_network_past"


class DeniedNetworksTooMany(TenancyError):
    """As many networks are denied as can be."""

    code = "denied_networks_too_many"


class DeniedNetworkNotFound(NotFound):
    """That network is not denied."""

    code = "denied_network_not_found"
