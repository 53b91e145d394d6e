# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests to the API server over kept-alive connections; one attempt each, faults sorted into what may pass and what won't."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Optional
from urllib.parse import urlencode

from .errors import ApiError
from .text import clean
from .watchdog import Watchdog, put_on

CONNECT_TIMEOUT = 5.0
#: Longest silence while an answer is awaited; the API server itself gives up after 60 s.
READ_TIMEOUT = 30.0

# OpenSSL's X509_V_ERR_* of VERIFY_X509_STRICT, which Python 3.13 made the default.
_STRICT = range(80, 94)


class Answer:
    """A complete answer: status, header lookup, body."""

    def __init__(self, status: int, headers: Any, data: bytes) -> None:
        self.status, self.headers, self.data = status, headers, data

    def json(self, where: str) -> dict[str, Any]:
        """The body as an object; a body that was cut short counts as a broken connection."""
        try:
            body = json.loads(self.data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise _no_answer("the API server's answer is cut short or no JSON", where=where, code="BROKEN_ANSWER", ambiguous=True)
        return body


class Transport:
    """Sends requests through a urllib3 pool.

    :param host: URL of the API server, with a path if it has one (Rancher).
    :param pool: urllib3 pool manager.
    :param headers: called for each request; authentication and impersonation, as pairs because a header may repeat.
    """

    def __init__(self, host: str, pool: Any, headers: Callable[[], list[tuple[str, str]]]) -> None:
        self.host = host.rstrip("/")
        self._pool = pool
        self._headers = headers
        put_on(pool)
        #: an answer has been seen: the address, the network and the certificates are fine
        self.proven = False

    def send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        *,
        body: Optional[bytes] = None,
        content_type: str = "",
        accept: str = "application/json",
        read_timeout: float = READ_TIMEOUT,
        time_limit: float = 2 * READ_TIMEOUT,
        where: str = "",
    ) -> Answer:
        """One attempt; any HTTP status is an answer.

        :param read_timeout: longest silence, seconds. :param time_limit: for the whole answer, however slowly it drips.

        :raises ApiError: with status 0 when there is no (whole) answer.
        """
        watchdog = Watchdog(time_limit)
        response = self._open(method, path, query, body, content_type, accept, read_timeout, where, watchdog)
        return Answer(response.status, response.headers, self._body(response, where, watchdog))

    def stream(
        self, path: str, query: dict[str, str], *, accept: str, time_limit: float, where: str = ""
    ) -> tuple[Answer, Generator[bytes, None, None]]:
        """A GET whose answer arrives line by line (a watch). The answer's body is empty unless the status is an error's.

        :param time_limit: seconds for all of it.

        The lines end when the server closes the stream; a last one without its end is dropped. Who stops before closes them.
        """
        watchdog = Watchdog(time_limit)
        response = self._open("GET", path, query, None, "", accept, time_limit, where, watchdog)
        if response.status != 200:
            return Answer(response.status, response.headers, self._body(response, where, watchdog)), _nothing()
        return Answer(200, response.headers, b""), self._lines(response, where, watchdog)

    def token_expiry(self) -> str:
        """Words about a bearer token that is too old by its own account; empty when it is not, or isn't that kind."""
        token = next((value.partition(" ")[2] for name, value in self._headers() if name.lower() == "authorization"), "")
        try:
            payload = token.split(".")[1]
            expiry = float(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
        except (IndexError, KeyError, TypeError, ValueError):
            return ""
        if expiry > time.time():
            return ""
        return f"the token expired at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(expiry))}"

    def _open(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Optional[bytes],
        content_type: str,
        accept: str,
        read_timeout: float,
        where: str,
        watchdog: Watchdog,
    ) -> Any:
        import urllib3

        headers = urllib3.HTTPHeaderDict()
        for name, value in [("Accept", accept), ("User-Agent", "edgemesh.nginx_istio"), *self._headers()]:
            headers.add(name, value)
        if content_type:
            headers.add("Content-Type", content_type)
        url = f"{self.host}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, read_timeout), read=read_timeout),
            )
        except Exception as error:
            watchdog.stop()
            raise self._fault(TimeoutError() if watchdog.barked else error, where) from None
        self.proven = True
        return response

    def _body(self, response: Any, where: str, watchdog: Watchdog) -> bytes:
        try:
            body = b"".join(_parts(response))
            if watchdog.barked:
                raise TimeoutError
            return body
        except Exception as error:
            response.close()
            raise self._fault(TimeoutError() if watchdog.barked else error, where) from None
        finally:
            watchdog.stop()

    def _lines(self, response: Any, where: str, watchdog: Watchdog) -> Generator[bytes, None, None]:
        rest: list[bytes] = []
        try:
            for chunk in _parts(response):
                *lines, tail = chunk.split(b"\n")
                for line in lines:
                    whole = b"".join([*rest, line])
                    rest.clear()
                    if whole.strip():
                        yield whole
                if tail:
                    rest.append(tail)
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._fault(TimeoutError() if watchdog.barked else error, where) from None
        finally:
            watchdog.stop()
            # What is left of the stream must not come out of the pool as the answer to another request.
            response.close()

    def _fault(self, error: Exception, where: str) -> ApiError:
        """``error`` (urllib3's, ssl's or the socket's) in our words; its own text may quote a proxy's password."""
        import urllib3.exceptions as u3

        cause = _root(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate_fault(cause, self.host, where)
        if isinstance(cause, socket.gaierror):
            lasting = cause.errno == socket.EAI_NONAME and not self.proven
            return _no_answer(
                "the API server's name can't be resolved",
                where=where,
                why=f"{self.host}: {cause.strerror}",
                code="UNREACHABLE",
                transient=not lasting,
            )
        if isinstance(error, (u3.LocationValueError, u3.LocationParseError)):
            return _no_answer(
                "the API server's URL is not valid", where=where, why=clean(self.host, 200), code="UNREACHABLE", transient=False
            )
        if isinstance(error, u3.ProxyError):
            return _no_answer(
                "the proxy does not let us through to the API server",
                where=where,
                why=_words(cause),
                code="UNREACHABLE",
                transient="407" not in str(cause),
            )
        if isinstance(error, (u3.ConnectTimeoutError, u3.NewConnectionError)):
            return _no_answer("no connection to the API server", where=where, why=f"{self.host}: {_words(cause)}", code="UNREACHABLE")
        if isinstance(error, u3.ReadTimeoutError) or isinstance(cause, TimeoutError):
            return _no_answer("the API server did not answer in time", where=where, why=self.host, code="NO_ANSWER", ambiguous=True)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
            reason = clean(cause.reason or cause.strerror, 200)
            # With these very settings it has answered before: on a busy machine one of some thousand connections broke like that.
            passing = self.proven and "CERTIFICATE" not in reason
            return _no_answer(
                "no TLS connection to the API server",
                where=where,
                why=f"{self.host}: {reason}",
                code="TLS",
                fix="Check that the URL is the API server's, and the client certificate",
                transient=passing,
                ambiguous=passing,
            )
        return _no_answer(
            "the connection to the API server broke",
            where=where,
            why=f"{self.host}: {_words(cause)}",
            code="BROKEN_CONNECTION",
            ambiguous=True,
        )


def _nothing() -> Generator[bytes, None, None]:
    yield from ()


def _parts(response: Any) -> Iterator[bytes]:
    """The body as it arrives."""
    if response.chunked:
        yield from response.stream(65536)
        return
    # urllib3 before 2.1 has no read1 and waits for a full buffer: a slow answer is then noticed later.
    read = getattr(response, "read1", response.read)
    while part := read(65536):
        yield part


def _no_answer(what: str, *, transient: bool = True, **parts: Any) -> ApiError:
    return ApiError(what, status=0, reason=str(parts.get("code", "")), transient=transient, **parts)


def _root(error: BaseException) -> BaseException:
    """The socket's or ssl's own error inside urllib3's."""
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = [each for each in (error.__cause__, *error.args, error.__context__) if isinstance(each, BaseException)]
        if isinstance(error, OSError) or not inner:
            break
        error = inner[0]
    return error


def _words(error: BaseException) -> str:
    if isinstance(error, OSError):
        return error.strerror or clean(error, 200) or type(error).__name__
    return "it ended in the middle of an answer"


def _certificate_fault(error: ssl.SSLCertVerificationError, host: str, where: str) -> ApiError:
    why = f"{host}: {clean(error.verify_message, 200)}"
    if error.verify_code in _STRICT:
        return _no_answer(
            "the cluster's certificates are not as strict as Python demands since 3.13",
            where=where,
            why=why,
            code="STRICT_CERTIFICATE",
            fix="Set x509_strict: false (or K8S_AUTH_X509_STRICT=false): certificates stay verified, as strictly as kubectl does. "
            "For good, issue the cluster's CA again with critical keyUsage keyCertSign and its leaves with an authority key identifier",
            transient=False,
        )
    return _no_answer(
        "the API server's certificate is not trusted",
        where=where,
        why=why,
        code="CERTIFICATE",
        fix="Give the cluster's CA (ca_cert, or certificate-authority in the kubeconfig) and a host name that the certificate carries",
        transient=False,
    )
