# SPDX-License-Identifier: GPL-3.0-or-later
"""One attempt on one path, phase by phase, with the standard library alone. Python 3.9 and later.

It sends what it is told to, follows no redirect, verifies nothing, and always reads after the handshake: in TLS 1.3 a
server refuses a client certificate only then.
"""

from __future__ import annotations

import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from .._address import join
from . import alerts, http1, http2, tls
from .observation import Failure, Observation
from .spec import Http, Path, Tls

# How long the first read waits for a refusal when the round trip is not known to be longer, and at most.
_FIRST_READ, _FIRST_READ_MAX = 0.1, 1.0

_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ETIMEDOUT: "timeout",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
}


class Ended(Exception):
    """The attempt is over; carries the failure."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.text)


class Attempt:
    """Runs the phases of one path and fills an :class:`Observation`."""

    def __init__(self, path: Path, seconds: float, foreign: str | None = None) -> None:
        self.path, self.foreign = path, foreign
        self.until = time.monotonic() + seconds
        self.phase = "dns"
        self.socket: socket.socket | None = None
        self.noticed = tls.Noticed()
        self.observation = Observation(started=datetime.now(timezone.utc).isoformat(timespec="milliseconds"))

    def run(self) -> Observation:
        """Do it; never raises for anything that the network does."""
        try:
            connection: Any = self._connect(self._resolve())
            early = b""
            if self.path.proxy_protocol:
                self._proxy_header(connection)
            if self.path.tls:
                connection = self._handshake(connection, self.path.tls)
                early = self._first_read(connection)
            if self.path.http:
                self._http(connection, self.path.http, early)
        except Ended as ended:
            self.observation.failure = ended.failure
        except tls.Untestable as error:
            self.observation.not_tested[self.phase] = str(error)
        finally:
            if self.socket is not None:
                self.socket.close()
        return self.observation

    def left(self) -> float:
        """Seconds left, at least a little: a socket with time-out 0 would not block."""
        return max(0.001, self.until - time.monotonic())

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        self.phase = phase
        start = time.monotonic()
        try:
            yield
        except (OSError, EOFError) as error:
            raise Ended(self._failure(error)) from None
        finally:
            self.observation.times[phase] = round((time.monotonic() - start) * 1000, 2)

    def _failure(self, error: BaseException) -> Failure:
        """Classify an exception by type, alert and reason code; never by message text."""
        reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
        alert = self.noticed.alert if self.noticed.alert is not None else alerts.number_of(reason)
        if isinstance(error, (ssl.SSLZeroReturnError, ssl.SSLEOFError, EOFError)):
            kind = "closed"
        elif isinstance(error, (socket.timeout, ssl.SSLWantReadError, ssl.SSLWantWriteError)):
            kind = "timeout"
        elif isinstance(error, ssl.SSLSyscallError):
            kind = "reset"
        elif isinstance(error, ssl.SSLError):
            # OpenSSL 3 reports a bare end of stream as an SSLError of its own too
            kind = "closed" if reason == "UNEXPECTED_EOF_WHILE_READING" else "tls"
        else:
            kind = _KINDS.get(getattr(error, "errno", None) or 0, "reset" if isinstance(error, ConnectionError) else "unreachable")
        if alert is not None:
            kind = "alert"
        text = reason or (error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__)
        return Failure(self.phase, kind, alert, str(reason or ""), str(text))

    def _resolve(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        problem: list[str] = []

        def look_up(flags: int = 0) -> None:
            try:
                found.extend(socket.getaddrinfo(self.path.address, self.path.port, type=socket.SOCK_STREAM, flags=flags))
            except (OSError, UnicodeError) as error:
                problem[:] = [str(getattr(error, "strerror", None) or type(error).__name__)]

        # the system's resolver knows no time-out of ours, and an address needs none
        thread = threading.Thread(target=look_up, daemon=True)
        with self._timed("dns"):
            look_up(socket.AI_NUMERICHOST)
            if not found:
                thread.start()
                thread.join(self.left())
        if thread.is_alive():
            raise Ended(Failure("dns", "timeout", text="no answer from the name servers"))
        if not found:
            raise Ended(Failure("dns", "no_address", text=problem[0] if problem else "no address"))
        self.observation.addresses = list(dict.fromkeys(entry[4][0] for entry in found))
        return list(found)

    def _connect(self, entries: list[tuple[Any, ...]]) -> socket.socket:
        with self._timed("tcp"):
            last: OSError | None = None
            for number, (family, kind, protocol, _name, address) in enumerate(entries):
                candidate = socket.socket(family, kind, protocol)
                try:
                    candidate.settimeout(self.left() / (len(entries) - number))
                    candidate.connect(address)
                except ConnectionResetError as error:
                    # someone was there, and hung up before connect() had even returned
                    candidate.close()
                    self.phase = "tls_handshake" if self.path.tls else "http"
                    raise Ended(self._failure(error)) from None
                except OSError as error:
                    candidate.close()
                    last = error
                    continue
                self.observation.source = candidate.getsockname()[0]
                self.observation.connected = join(address[0], address[1])
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.socket = candidate
                return candidate
            raise last or OSError(errno.EADDRNOTAVAIL, "no address")

    def _proxy_header(self, connection: socket.socket) -> None:
        with self._timed("proxy_protocol"):
            connection.settimeout(self.left())
            connection.sendall(proxy_header(self.path.proxy_protocol, connection))

    def _handshake(self, plain: socket.socket, wanted: Tls) -> ssl.SSLSocket:
        self.phase = "tls_handshake"
        try:
            context = tls.context(wanted, self.noticed, self.foreign)
        except tls.UnusableCertificate as error:
            raise Ended(Failure("tls_handshake", "certificate", text=str(error))) from None
        with self._timed("tls_handshake"):
            connection = context.wrap_socket(plain, server_hostname=wanted.sni or None, do_handshake_on_connect=False)
            self.socket = connection
            try:
                connection.settimeout(self.left())
                connection.do_handshake()
            finally:
                self.observation.tls = tls.seen(connection, self.noticed)
                self.observation.tls.client = tls.shown(wanted, self.foreign)
        return connection

    def _first_read(self, connection: ssl.SSLSocket) -> bytes:
        """Wait a little for the server to refuse us; returns what it said instead."""
        http = self.path.http
        patience = min(_FIRST_READ_MAX, max(_FIRST_READ, 4 * self.observation.times["tcp"] / 1000), self.left())
        if http and self.noticed.works and not self.noticed.requested:
            return b""  # no certificate was asked for, so none can be refused; the answer follows anyway
        with self._timed("tls_first_read"):
            connection.settimeout(patience)
            try:
                data = connection.recv(1)
            except socket.timeout:
                return b""
            if not data:
                raise EOFError
            return data

    def _http(self, connection: Any, http: Http, early: bytes) -> None:
        before: list[int] = []
        if http.version == "2":
            with self._timed("http"):
                answer = http2.exchange(self.path, self.foreign, self.left())
        else:
            if http.after:
                before = self._before(connection, http, early)
            try:
                with self._timed("http"):
                    answer = http1.exchange(connection, http, b"" if before else early, self.until)
            except Ended as ended:
                if self._refused_late(ended.failure):
                    ended.failure.phase = "tls_first_read"
                raise
        if isinstance(answer, str):
            self.observation.not_tested["http"] = answer
        elif isinstance(answer, Failure):
            raise Ended(answer)
        else:
            answer.before = before
            self.observation.http = answer

    def _before(self, connection: Any, http: Http, early: bytes) -> list[int]:
        """The statuses of the requests that go first over this connection; what they meet is not what is probed."""
        statuses: list[int] = []
        self.phase = "http"
        for each in http.after:
            try:
                answer = http1.exchange(connection, each, early, self.until)
            except (OSError, EOFError) as error:
                if self._refused_late(self._failure(error)):
                    raise Ended(self._failure(error)) from None
                answer = self._failure(error)
            early = b""
            if isinstance(answer, Failure) or answer.truncated or answer.headers.get("connection", "").lower() == "close":
                raise tls.Untestable(f"the connection did not survive request {len(statuses) + 1} of the {len(http.after)} before it")
            statuses.append(answer.status)
        return statuses

    def _refused_late(self, failure: Failure) -> bool:
        """Whether what came in place of an answer is about the handshake: an alert, or the end after a certificate was asked for."""
        seen = self.observation.tls
        ended = failure.kind in ("closed", "reset")
        return failure.alert is not None or bool(ended and seen and seen.requested and seen.version == "1.3")


def proxy_header(version: str, connection: socket.socket) -> bytes:
    """A PROXY protocol header that says the truth about ``connection``."""
    source, target = connection.getsockname(), connection.getpeername()
    six = connection.family == socket.AF_INET6
    if version == "v1":
        return f"PROXY {'TCP6' if six else 'TCP4'} {source[0]} {target[0]} {source[1]} {target[1]}\r\n".encode()
    family = socket.AF_INET6 if six else socket.AF_INET
    addresses = socket.inet_pton(family, source[0]) + socket.inet_pton(family, target[0])
    addresses += int(source[1]).to_bytes(2, "big") + int(target[1]).to_bytes(2, "big")
    return b"\r\n\r\n\x00\r\nQUIT\n\x21" + (b"\x21" if six else b"\x11") + len(addresses).to_bytes(2, "big") + addresses
