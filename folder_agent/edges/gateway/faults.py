"""Every way in which a request can fail without an answer, as a problem of the catalogue: one table, one function.

Touches nothing. Details are fixed words or names of constants: an exception's own text may hold request data.
"""

from __future__ import annotations

import errno
import math
import socket
import ssl

import httpx

from folder_agent.core.catalogue import failure
from folder_agent.core.errors import AgentError, Disposition, problem
from folder_agent.edges.gateway.trust import FingerprintDiffers

_UNREACHABLE, _TIMEOUT, _BROKEN = "FA-GW-UNREACHABLE", "FA-GW-TIMEOUT", "FA-GW-BROKEN"
_ANSWER, _ADDRESS = "FA-GW-ANSWER", "not an address that can be asked"

# Every class of httpx's error tree -> the catalogue's code and, unless an OSError behind it knows better, the detail.
FAULTS: dict[type[Exception], tuple[str, str]] = {
    httpx.HTTPError: (_BROKEN, "HTTP"),
    httpx.RequestError: (_BROKEN, "HTTP"),
    httpx.TransportError: (_BROKEN, "HTTP"),
    httpx.NetworkError: (_BROKEN, "network"),
    httpx.ConnectError: (_UNREACHABLE, "no connection"),
    httpx.ReadError: (_BROKEN, "while reading"),
    httpx.WriteError: (_BROKEN, "while sending"),
    httpx.CloseError: (_BROKEN, "while closing"),
    httpx.TimeoutException: (_TIMEOUT, ""),
    httpx.ConnectTimeout: (_UNREACHABLE, "connecting took too long"),
    httpx.PoolTimeout: (_UNREACHABLE, "no connection is free"),
    httpx.ReadTimeout: (_TIMEOUT, ""),
    httpx.WriteTimeout: (_TIMEOUT, ""),
    httpx.ProtocolError: (_BROKEN, "not HTTP"),
    httpx.RemoteProtocolError: (_BROKEN, "no whole HTTP answer"),
    httpx.LocalProtocolError: (_BROKEN, "request not allowed by HTTP"),
    httpx.ProxyError: (_UNREACHABLE, "proxy"),
    httpx.UnsupportedProtocol: (_UNREACHABLE, _ADDRESS),
    httpx.InvalidURL: (_UNREACHABLE, _ADDRESS),
    httpx.DecodingError: (_ANSWER, "compression"),
    httpx.TooManyRedirects: (_ANSWER, "redirects"),
    httpx.HTTPStatusError: (_ANSWER, "status"),
    httpx.CookieConflict: (_ANSWER, "cookies"),
    httpx.StreamError: (_BROKEN, "stream"),
    httpx.StreamConsumed: (_BROKEN, "stream consumed"),
    httpx.StreamClosed: (_BROKEN, "stream closed"),
    httpx.ResponseNotRead: (_BROKEN, "answer not read"),
    httpx.RequestNotRead: (_BROKEN, "request not read"),
}
# Asking again cannot mend these: somebody must look at the settings.
_HOLDS = (httpx.UnsupportedProtocol, httpx.InvalidURL)

# OpenSSL's X509_V_ERR_* (x509_vfy.h).
_CERTIFICATE = {
    9: "certificate not yet valid",
    10: "certificate expired",
    18: "self-signed certificate",
    19: "self-signed certificate in chain",
    20: "unknown issuer",
    21: "unknown issuer",
    23: "certificate revoked",
    62: "certificate is for another name",
    64: "certificate is for another IP address",
}
# The alerts by which the other side refuses our own certificate, or the lack of one (RFC 8446 6.2).
_OURS_UNWANTED = (
    "ALERT_CERTIFICATE",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REQUIRED",
    "ALERT_ACCESS_DENIED",
)
_ERRNO = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection aborted",
    errno.EPIPE: "connection closed",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "timed out",
    errno.EADDRINUSE: "address in use",
    errno.EACCES: "not permitted",
}
# winsock's numbers (WSAE…), which Python passes on for some calls instead of the C names.
_WINSOCK = {10051: "network unreachable", 10053: "connection aborted", 10054: "connection reset"}
_WINSOCK |= {10013: "not permitted", 10048: "address in use"}
_WINSOCK |= {10060: "timed out", 10061: "connection refused", 10065: "host unreachable"}


def fault(error: Exception, timeout_s: float) -> AgentError:
    """What the agent is told when httpx raised `error`: whoever calls raises it `from None`."""
    cause = _os_error(error)
    if isinstance(cause, ssl.SSLError):
        return _tls_fault(cause)
    code, detail = next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
    if code == _TIMEOUT:
        return failure(problem(code, seconds=math.ceil(timeout_s)))
    words = detail if cause is None or isinstance(cause, TimeoutError) else os_words(cause)
    return failure(problem(code, detail=words), Disposition.HOLD if isinstance(error, _HOLDS) else None)


def socket_fault(error: OSError, timeout_s: float, is_connecting: bool) -> AgentError:
    """As `fault`, for a connection without httpx: what an operation on its socket raised."""
    if isinstance(error, ssl.SSLError):
        return _tls_fault(error)
    if is_connecting:
        words = "connecting took too long" if isinstance(error, TimeoutError) else os_words(error)
        return failure(problem(_UNREACHABLE, detail=words))
    if isinstance(error, TimeoutError):
        return failure(problem(_TIMEOUT, seconds=math.ceil(timeout_s)))
    return failure(problem(_BROKEN, detail=os_words(error)))


def _tls_fault(error: ssl.SSLError) -> AgentError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return failure(problem("FA-GW-TLS", detail=_certificate_words(error)))
    if any(word in (error.reason or "") for word in _OURS_UNWANTED):
        return failure(problem("FA-GW-CLIENT-CERT", detail=_tls_words(error)))
    return failure(problem(_BROKEN, detail=_tls_words(error)))


def os_words(error: OSError) -> str:
    """A network error in a few fixed words."""
    if isinstance(error, socket.gaierror):
        return "name not found"
    number = error.errno or 0
    return _ERRNO.get(number) or _WINSOCK.get(number) or errno.errorcode.get(number, type(error).__name__)


def _os_error(error: BaseException | None) -> OSError | None:
    """The first OSError (ssl.SSLError is one) in the chain of causes."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _certificate_words(error: ssl.SSLCertVerificationError) -> str:
    if isinstance(error, FingerprintDiffers):
        return "fingerprint differs"
    return _CERTIFICATE.get(getattr(error, "verify_code", 0), "certificate not trusted")


def _tls_words(error: ssl.SSLError) -> str:
    return f"TLS: {(error.reason or type(error).__name__).replace('_', ' ').lower()}"
