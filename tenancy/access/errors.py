"""What access refuses besides what `tenancy.errors` names.

TenancyError
├── CertificateMalformed · CertificateExpired · CertificateUnfit      of a certificate that somebody wants to pin
├── CertificateTaken · CertificatesTooMany · CertificateNotFound
├── ClientsTooMany · ClientVersionConflict · ClientExpiryPast · SecretNotFound
├── OverlapUnfit · RateUnfit
├── RevocationListMalformed · RevocationListForeign · RevocationListUnfit · RevocationListOlder
├── RevocationListNotFound · RevocationListsTooMany
├── WouldLockOutCaller · WouldLockOutEverybody
├── RateLimited · TooManyFailures
└── AccessDenied
    ├── CertificateOutdated · CertificateNotForClients · CertificateOfClosedClient · CertificateOfOtherClient
    └── CertificateRevoked · RevocationListOutdated · CertificateNotVerified
"""

from __future__ import annotations

from tenancy.errors import AccessDenied, NotFound, TenancyError


class CertificateMalformed(TenancyError):
    """The text or the bytes are no X.509 certificate."""

    code = "certificate_malformed"


class CertificateExpired(TenancyError):
    """The certificate to be pinned has run out."""

    code = "certificate_expired"


class CertificateUnfit(TenancyError):
    """The certificate to be pinned is not for clients, or no CA's, or its signature or subject is unfit."""

    code = "certificate_unfit"


class CertificateTaken(TenancyError):
    """A client of the instance is known by this certificate already."""

    code = "certificate_taken"


class CertificatesTooMany(TenancyError):
    """The client has as many certificates as a client can have."""

    code = "certificates_too_many"


class CertificateNotFound(NotFound):
    """The client has no such certificate."""

    code = "certificate_not_found"


class ClientsTooMany(TenancyError):
    """The instance has as many API clients as an instance can have."""

    code = "clients_too_many"


class ClientVersionConflict(TenancyError):
    """The API client has been changed since the caller read it."""

    code = "client_version_conflict"


class ClientExpiryPast(TenancyError):
    """The API client would have expired already."""

    code = "client_expiry_past"


class RevocationListMalformed(TenancyError):
    """The text is no revocation list."""

    code = "revocation_list_malformed"


class RevocationListForeign(TenancyError):
    """No authority that a client of the instance is pinned to has signed the list."""

    code = "revocation_list_foreign"


class RevocationListUnfit(TenancyError):
    """The list is not in force now, or no whole list of its authority."""

    code = "revocation_list_unfit"


class RevocationListOlder(TenancyError):
    """A newer list of the authority is kept already."""

    code = "revocation_list_older"


class RevocationListNotFound(NotFound):
    """The instance has no list of that authority."""

    code = "revocation_list_not_found"


class RevocationListsTooMany(TenancyError):
    """The instance has as many lists as an instance can have."""

    code = "revocation_lists_too_many"


class OverlapUnfit(TenancyError):
    """An old secret goes on for 0 to 168 hours beside the new one."""

    code = "secret_overlap_unfit"


class RateUnfit(TenancyError):
    """The rate is not one that a client can have, or not one that the customer may give."""

    code = "rate_unfit"


class WouldLockOutCaller(TenancyError):
    """Whoever asks for the change could not come in again after it."""

    code = "would_lock_out_caller"


class WouldLockOutEverybody(TenancyError):
    """Nobody, or no API client, could come in after the change."""

    code = "would_lock_out_everybody"


class TooManyFailures(TenancyError):
    """Too many wrong credentials for this client from this network; none are looked at for a while."""

    code = "too_many_failures"


class CertificateOutdated(AccessDenied):
    """The caller's certificate, or that of the CA that issued it, is not valid at this time."""

    code = "certificate_outdated"


class CertificateNotForClients(AccessDenied):
    """The caller's certificate says that it is not for clients."""

    code = "certificate_not_for_clients"


class CertificateOfClosedClient(AccessDenied):
    """The caller's certificate belongs to an API client that is disabled or has expired."""

    code = "certificate_of_closed_client"


class CertificateOfOtherClient(AccessDenied):
    """Certificate and Basic credentials belong to different API clients."""

    code = "certificate_of_other_client"


class CertificateRevoked(AccessDenied):
    """The authority of the caller's certificate has taken it back."""

    code = "certificate_revoked"


class RevocationListOutdated(AccessDenied):
    """The revocation list of the certificate's authority has run out, so nobody knows whether it still holds."""

    code = "revocation_list_outdated"


class CertificateNotVerified(AccessDenied):
    """The front could not verify the caller's certificate."""

    code = "certificate_not_verified"
