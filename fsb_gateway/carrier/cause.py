"""Why a gateway and its caller do not come together, in words for whoever has set them up.

"It" is the other side. The words are few and fixed, so that they can be counted.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Final

HUNG_UP: Final = "it closed the connection without an answer"
REFUSED: Final = "it does not accept our certificate"
_UNTRUSTED: Final = "its certificate is not of the authority that we trust"
_OTHER_NAME: Final = "its certificate is for another name or address"
_NO_ROUTE: Final = "there is no way to that address"

_BY_ERRNO: Final[Mapping[int, str]] = {
    errno.ENOENT: "there is no such socket",
    errno.ENOTDIR: "there is no such socket",
    errno.ECONNREFUSED: "nobody listens there",
    errno.EACCES: "we may not open it",
    errno.EPERM: "we may not open it",
    errno.ENETUNREACH: _NO_ROUTE,
    errno.EHOSTUNREACH: _NO_ROUTE,
    errno.ETIMEDOUT: "it does not answer in time",
    errno.ECONNRESET: HUNG_UP,
    errno.EPIPE: HUNG_UP,
}
_BY_VERIFY_CODE: Final[Mapping[int, str]] = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    26: "its certificate is for another role",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""**Source:** OpenSSL, X509_STORE_CTX_get_error(3) and `x509_vfy.h`."""
_BY_REASON: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "HTTP_REQUEST": "it does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "it does not speak TLS 1.3",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it does not speak TLS 1.3",
}
"""**Source:** OpenSSL, `sslerr.h`."""


def why_not(error: OSError) -> str:
    """Why the system gave no connection, or broke it off."""
    if isinstance(error, ssl.SSLError):
        return why_no_tls(error)
    if isinstance(error, socket.gaierror):
        return "its name is not known here"
    return _BY_ERRNO.get(error.errno or 0, error.strerror or "the connection failed")


def why_no_tls(error: ssl.SSLError) -> str:
    """Why a handshake failed; for both sides."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, f"its certificate: {error.verify_message}")
    reason = error.reason or ""
    if reason in _BY_REASON:
        return _BY_REASON[reason]
    return REFUSED if "ALERT" in reason else "the TLS handshake failed"
