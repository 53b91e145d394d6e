# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.0 and 1.1 by hand, so that the probe sends exactly what it is told to."""

from __future__ import annotations

import http.client
import io
import time
from typing import Any

from .observation import Failure, HttpSeen
from .spec import Http

BODY_LIMIT = 64 * 1024
_HEADER_LIMIT = 2048
_TLS_ALERT = b"\x15\x03"  # what a TLS server says to plain text


def request(http_: Http) -> bytes:
    """The request's bytes. Host comes first; ``Connection: close`` unless the headers say otherwise ("" sends none)."""
    lines = [f"{http_.method} {http_.path} HTTP/{http_.version}"]
    given = {name.lower() for name in http_.headers}
    if http_.host and "host" not in given:
        lines.append(f"Host: {http_.host}")
    for name, value in {"Connection": "close", "User-Agent": "edgemesh-probe", "Accept": "*/*"}.items():
        if name.lower() not in given:
            lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in http_.headers.items() if value != ""]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


class _Reader(io.RawIOBase):
    """Reads a socket until a deadline, whatever the rhythm in which the peer drips."""

    def __init__(self, connection: Any, early: bytes, until: float) -> None:
        self.connection, self.early, self.until = connection, early, until
        self.head = early

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.early:
            size = min(len(buffer), len(self.early))
            buffer[:size], self.early = self.early[:size], self.early[size:]
            return size
        self.connection.settimeout(max(0.001, self.until - time.monotonic()))
        size = int(self.connection.recv_into(buffer))
        if len(self.head) < len(_TLS_ALERT):
            self.head += bytes(buffer[:size])
        return size

    def makefile(self, *_arguments: Any, **_options: Any) -> io.BufferedReader:
        """What http.client asks of a socket."""
        return io.BufferedReader(self)


def exchange(connection: Any, http_: Http, early: bytes, until: float) -> HttpSeen | Failure:
    """Send the request and read the answer.

    :param early: bytes of the answer that were already read.
    :param until: monotonic time at which to give up.
    :raises OSError, EOFError: when the connection ends before the answer's head is complete.
    """
    broken: OSError | None = None
    try:
        connection.settimeout(max(0.001, until - time.monotonic()))
        connection.sendall(request(http_))
    except OSError as error:
        broken = error  # the server may have said why before it hung up: read on
    reader = _Reader(connection, early, until)
    response = http.client.HTTPResponse(reader, method=http_.method)  # type: ignore[arg-type]
    try:
        response.begin()
        return _seen(response)
    except http.client.RemoteDisconnected:
        raise (broken or EOFError()) from None
    except http.client.HTTPException as error:
        if not reader.head:
            raise (broken or EOFError()) from None
        reason = "TLS_RECORD" if reader.head.startswith(_TLS_ALERT) else ""
        return Failure("http", "garbled", reason=reason, text=type(error).__name__)
    finally:
        response.close()


def _seen(response: http.client.HTTPResponse) -> HttpSeen:
    body, truncated = b"", False
    try:
        body = response.read(BODY_LIMIT + 1)
        truncated = bool(response.length)  # what was announced and did not come
    except http.client.IncompleteRead as error:
        body, truncated = error.partial, True
    except (OSError, ValueError):
        truncated = True
    truncated = truncated or len(body) > BODY_LIMIT
    body = body[:BODY_LIMIT]
    return HttpSeen(
        status=response.status,
        version="1.0" if response.version == 10 else "1.1",
        reason=response.reason or "",
        headers=seen_headers(response.getheaders()),
        body=body.decode("utf-8", "replace"),
        body_bytes=len(body),
        truncated=truncated,
    )


def seen_headers(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name, repeated ones joined, long ones cut, cookies hidden: a session is nobody's business."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        shown = "(hidden)" if key == "set-cookie" else value[:_HEADER_LIMIT]
        headers[key] = f"{headers[key]}, {shown}" if key in headers else shown
    return headers
