"""Say in plain words why an exchange brought no answer, from libcurl's code and what the handle saw on the way."""

import errno
from typing import Final

import msgspec
import pycurl

from northbound.model.delivery import Failure, FailureKind

# libcurl's codes that pycurl has no name for.
E_PROXY: Final = 97
E_TOO_LARGE: Final = 100  # libcurl's own limits on reply headers

KINDS: Final = {
    pycurl.E_OPERATION_TIMEDOUT: FailureKind.TIMEOUT,
    pycurl.E_COULDNT_RESOLVE_HOST: FailureKind.DNS,
    pycurl.E_COULDNT_RESOLVE_PROXY: FailureKind.PROXY,
    E_PROXY: FailureKind.PROXY,
    pycurl.E_COULDNT_CONNECT: FailureKind.CONNECT,
    pycurl.E_INTERFACE_FAILED: FailureKind.CONNECT,
    pycurl.E_URL_MALFORMAT: FailureKind.INVALID_URL,
    pycurl.E_UNSUPPORTED_PROTOCOL: FailureKind.PROTOCOL,  # an answer without a status line
    pycurl.E_FTP_WEIRD_SERVER_REPLY: FailureKind.PROTOCOL,  # its old name
    pycurl.E_BAD_CONTENT_ENCODING: FailureKind.PROTOCOL,
    pycurl.E_FILESIZE_EXCEEDED: FailureKind.TOO_LARGE,
    E_TOO_LARGE: FailureKind.TOO_LARGE,
    pycurl.E_GOT_NOTHING: FailureKind.CLOSED,
    pycurl.E_SEND_ERROR: FailureKind.CLOSED,
    pycurl.E_RECV_ERROR: FailureKind.CLOSED,
    pycurl.E_PARTIAL_FILE: FailureKind.CLOSED,
    pycurl.E_SSL_CONNECT_ERROR: FailureKind.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: FailureKind.TLS,
    pycurl.E_SSL_CERTPROBLEM: FailureKind.TLS,
    pycurl.E_SSL_CIPHER: FailureKind.TLS,
    pycurl.E_SSL_CACERT_BADFILE: FailureKind.TLS,
    pycurl.E_SSL_ISSUER_ERROR: FailureKind.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: FailureKind.TLS,
}

# OpenSSL's X509_V_ERR_* numbers, as far as a certificate's owner can do something about them.
CERTIFICATE: Final = {
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed and not trusted; give the endpoint its certificate as private CA",
    19: "the certificate chain ends in a root that is not trusted; give the endpoint its private CA",
    20: "the certificate's issuer is not trusted, or an intermediate certificate is missing",
    21: "the certificate's issuer is not trusted, or an intermediate certificate is missing",
    23: "the certificate has been revoked",
    24: "a certificate in the chain may not issue certificates",
    26: "the certificate is not made for servers",
    66: "the certificate's key is too short",
    67: "a key in the certificate chain is too short",
    68: "a certificate in the chain is signed with a digest that is too weak",
}
# What OpenSSL and libcurl write into the message, in lower case.
TLS_PHRASES: Final = (
    ("wrong version number", "the endpoint does not speak TLS on this port"),
    ("packet length too long", "the endpoint does not speak TLS on this port"),
    ("unsupported protocol", "the endpoint offers only TLS versions below 1.2"),
    ("protocol version", "the endpoint offers only TLS versions below 1.2"),
    ("subject name", "the certificate is for another name than the URL's"),
    ("does not match", "the certificate is for another name than the URL's"),
    ("unexpected eof", "the endpoint broke off the TLS handshake; it may offer only TLS versions below 1.2"),
    ("handshake failure", "the endpoint and we share no TLS cipher"),
)
CONNECT: Final = {
    errno.ECONNREFUSED: "connection refused by {peer}",
    errno.EHOSTUNREACH: "no route to {peer}",
    errno.ENETUNREACH: "the network of {peer} cannot be reached",
    errno.ETIMEDOUT: "{peer} does not answer to connection requests",
    errno.ECONNRESET: "connection reset by {peer}",
}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a handle observed before its exchange failed."""

    host: str  # of the URL, for people
    peer: str | None  # address:port that was tried last
    deadline: float  # seconds that were granted
    reply_cap: int
    blocked: str | None = None  # the guard's words
    own_fault: str | None = None  # our side could not even open a socket
    is_too_large: bool = False
    has_asked: bool = False  # the request went out
    has_answer: bool = False  # at least one byte of the answer came
    is_proxied: bool = False
    is_connected: bool = False  # to the peer, or to the proxy in between
    proxy_status: int = 0
    system_error: int = 0
    certificate_error: int = 0


def explain(code: int, text: str, seen: Seen) -> Failure:
    """Return the failure that libcurl's *code* and message *text* mean, given what was *seen*."""
    if seen.blocked is not None and code in {pycurl.E_COULDNT_CONNECT, pycurl.E_ABORTED_BY_CALLBACK}:
        return Failure(kind=FailureKind.BLOCKED, message=seen.blocked)
    if seen.own_fault is not None and code == pycurl.E_COULDNT_CONNECT:
        return Failure(kind=FailureKind.CONNECT, message=seen.own_fault, chargeable=False)
    if seen.is_proxied and not seen.has_asked:
        failure = _explain_proxy(code, seen)
        if failure is not None:
            return failure
    kind = FailureKind.TOO_LARGE if seen.is_too_large else KINDS.get(code, FailureKind.PROTOCOL)
    return Failure(kind=kind, message=_message(kind, code, text.lower(), seen))


def _explain_proxy(code: int, seen: Seen) -> Failure | None:
    """Tell our own proxy's failures (D6) from those that it reports of the endpoint; None: not about the proxy."""
    if seen.proxy_status >= 500:
        message = f"the proxy could not reach {seen.host}: it answered {seen.proxy_status}"
        return Failure(kind=FailureKind.CONNECT, message=message)
    if seen.proxy_status >= 300:
        message = f"our proxy refused to connect to {seen.host}: it answered {seen.proxy_status}"
        return Failure(kind=FailureKind.PROXY, message=message, chargeable=False)
    if seen.proxy_status == 0 and not (seen.is_connected and code == pycurl.E_OPERATION_TIMEDOUT):
        message = f"our proxy cannot be used: {_message(FailureKind.CONNECT, code, '', seen)}"
        return Failure(kind=FailureKind.PROXY, message=message, chargeable=False)
    return None


def _message(kind: FailureKind, code: int, text: str, seen: Seen) -> str:
    peer = seen.peer or seen.host
    match kind:
        case FailureKind.TIMEOUT:
            return _timeout_message(peer, seen)
        case FailureKind.CONNECT:
            return CONNECT.get(seen.system_error, "cannot connect to {peer}").format(peer=peer)
        case FailureKind.DNS:
            return f"the name {seen.host} cannot be resolved"
        case FailureKind.TLS:
            return _tls_message(code, text, seen)
        case FailureKind.TOO_LARGE:
            return f"the answer is larger than {seen.reply_cap} bytes"
        case FailureKind.CLOSED if seen.has_answer:
            return f"{peer} closed the connection before the answer was complete"
        case FailureKind.CLOSED:
            return f"{peer} closed the connection without an answer"
        case FailureKind.INVALID_URL:
            return "the URL cannot be used"
        case _:
            return f"what {peer} sent is not an HTTP answer (libcurl code {code})"


def _timeout_message(peer: str, seen: Seen) -> str:
    limit = f"{seen.deadline:g} s"
    if seen.has_answer:
        return f"the answer of {peer} was not complete within {limit}"
    if seen.has_asked:
        return f"no answer within {limit}"
    if seen.is_connected:
        return f"{'the proxy' if seen.is_proxied else peer} took the connection, but it was not ready within {limit}"
    if seen.peer is not None:
        return f"no connection to {peer} within {limit}"
    return f"the name {seen.host} was not resolved within {limit}"


def _tls_message(code: int, text: str, seen: Seen) -> str:
    if code == pycurl.E_SSL_CACERT_BADFILE:
        return "the private CA of the endpoint cannot be read"
    known = CERTIFICATE.get(seen.certificate_error)
    if known is not None:
        return known
    return next((words for phrase, words in TLS_PHRASES if phrase in text), f"TLS with {seen.host} failed")
