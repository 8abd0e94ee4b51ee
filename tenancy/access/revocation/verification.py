"""What the front found when it checked a certificate, and what that means here. Pure.

The front checks possession of the key, and the chain to authorities that customers have named; it has one store for
all of them. Whom a certificate belongs to, whether the pinned authority has signed it, its dates and whether it is
revoked each line checks itself, by what its own customer has brought. So what another customer's authorities could
bring about at the front says nothing here: a chain that cannot be built, or a signature that does not fit because
two authorities bear one name. Nor does a list that has run out there: the front may have another customer's, or an
old one while nobody can reach it, and what it said at a handshake lasts as long as the connection.

**Source:** codes of OpenSSL, openssl-verification-options(1) and `x509_vfy.h`; HAProxy 2.6 configuration manual
§7.3.4 (`ssl_c_err`, `ssl_c_ca_err`).
"""

from __future__ import annotations

from typing import Final, Literal

Verification = Literal["good", "revoked", "not_verified"]

_REVOKED: Final = 23
_OTHER_CHAIN: Final = frozenset({2, 7, 8, 18, 19, 20, 21})
"""Some issuer is not known to the front, or is another one of the same name, or the certificate is its own."""
_NO_LIST: Final = 3
"""There is no revocation list of that authority."""
_CHECKED_HERE: Final = frozenset({9, 10, 12, 26})
"""Not yet valid, run out, its authority's revocation list run out, not for clients."""
_GOOD: Final = frozenset({0, _NO_LIST}) | _OTHER_CHAIN | _CHECKED_HERE


def judge_codes(own: int, authority: int) -> Verification:
    """What two codes of OpenSSL mean.

    Args:
        own: of the certificate itself.
        authority: of those that certify it; nothing but revocation matters of them.
    """
    if _REVOKED in (own, authority):
        return "revoked"
    return "good" if own in _GOOD else "not_verified"
