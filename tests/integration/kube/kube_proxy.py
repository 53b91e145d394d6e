# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy that breaks things in front of a real API server, and the ways in which it does."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import urllib3

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.transport import Transport

#: Returns True to have the request forwarded after all.
Fault = Callable[["Proxy", BaseHTTPRequestHandler, bytes], bool]


@dataclass(frozen=True)
class Asked:
    """A request: ``verb`` is RBAC's (get, list, watch, create, update, patch, delete), ``number`` counts all requests from 1."""

    verb: str
    method: str
    number: int


Plan = Callable[[Asked], "Fault | None"]


class Proxy:
    """Forwards to the API server, as the administrator or, with ``anybody``, with the client's own token. ``plan`` names faults.

    :ivar asked: all requests, in order.
    """

    def __init__(self, upstream: Transport, plan: Plan, *, anybody: Any = None) -> None:
        self.asked: list[Asked] = []
        self._upstream, self._anybody = upstream, anybody
        lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    proxy.asked.append(Asked(verb(self.command, self.path), self.command, len(proxy.asked) + 1))
                    fault = plan(proxy.asked[-1])
                with contextlib.suppress(OSError, urllib3.exceptions.HTTPError):
                    if fault is None or fault(proxy, self, body):
                        proxy.relay(self, body)

            do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = forward

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def log_message(self, *_words: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self.stopping = threading.Event()
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def client(self, seconds: float) -> Client:
        return Client(Transport(self.url, urllib3.PoolManager(maxsize=16, retries=False), lambda: []), Deadline(seconds))

    def ask(self, handler: BaseHTTPRequestHandler, body: bytes, path: str = "") -> Any:
        names = ("accept", "content-type", *(["authorization"] if self._anybody else []))
        headers = {name: value for name, value in handler.headers.items() if name.lower() in names}
        pool = self._anybody or self._upstream._pool
        return pool.request(
            handler.command,
            self._upstream.host + (path or handler.path),
            body=body or None,
            headers=headers,
            preload_content=False,
            retries=False,
            timeout=urllib3.Timeout(connect=5, read=None),
        )

    def relay(self, handler: BaseHTTPRequestHandler, body: bytes, limit: int | None = None, path: str = "") -> None:
        answer = self.ask(handler, body, path)
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        sent = 0
        for part in answer.stream(65536):
            cut = part if limit is None else part[: limit - sent]
            sent += len(cut)
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(cut), cut))
            handler.wfile.flush()
            if limit is not None and sent >= limit:
                reset(self, handler, body)
                return
        handler.wfile.write(b"0\r\n\r\n")


def verb(method: str, path: str) -> str:
    """What RBAC calls a request for an object or objects of the core group."""
    parts = urlsplit(path)
    if method == "GET":
        after = parts.path.strip("/").split("/")[2:]  # behind api/v1
        one = len(after) - 2 * (after[:1] == ["namespaces"] and len(after) > 2) > 1
        return "watch" if "watch" in parse_qs(parts.query) else "get" if one else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]


def first(count: int, fault: Fault, *verbs: str) -> Plan:
    """``fault`` for the first ``count`` requests of each of ``verbs`` (of each verb that comes, if none is given)."""
    seen: dict[str, int] = {}

    def plan(asked: Asked) -> Fault | None:
        if verbs and asked.verb not in verbs:
            return None
        seen[asked.verb] = seen.get(asked.verb, 0) + 1
        return fault if seen[asked.verb] <= count else None

    return plan


def always(fault: Fault, *verbs: str) -> Plan:
    return first(1_000_000, fault, *verbs)


# -- before the API server hears of it -------------------------------------------------------------------------------------


def reset(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
    """RST."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return hang_up(_proxy, handler, _body)


def hang_up(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
    """FIN instead of an answer."""
    handler.close_connection = True
    # Both files hold the socket open, too.
    handler.rfile.close()
    handler.connection.close()
    return False


def silent(proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
    """A half-open connection: nothing, ever."""
    handler.close_connection = True
    proxy.stopping.wait(90)
    return False


def wire(data: bytes, every: float = 0.0, then: Fault = hang_up) -> Fault:
    """These bytes as they are; with ``every`` one byte each so many seconds."""

    def answer(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        for piece in [data[at : at + 1] for at in range(len(data))] if every else [data]:
            handler.wfile.write(piece)
            handler.wfile.flush()
            if every and proxy.stopping.wait(every):
                break
        return then(proxy, handler, body)

    return answer


def refuse(status: int, retry_after: str = "", message: str = "made up", reason: str = "", *, html: bool = False) -> Fault:
    """An error, by the API server's manners or a load balancer's."""

    def answer(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
        said = json.dumps({"kind": "Status", "code": status, "reason": reason, "message": message})
        data = b"<html>sorry</html>" if html else said.encode()
        handler.send_response(status)
        if retry_after:
            handler.send_header("Retry-After", retry_after)
        if 300 <= status < 400:
            handler.send_header("Location", "https://login.example.com/")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return False

    return answer


def event(*lines: Any, then: Fault | None = None) -> Fault:
    """A watch that begins with these events (dictionaries, or bytes as they are) and goes on with the real one, or with ``then``."""

    def answer(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            handler.wfile.flush()
        if then:
            return then(proxy, handler, body)
        for part in proxy.ask(handler, body).stream(65536):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            handler.wfile.flush()
        handler.wfile.write(b"0\r\n\r\n")
        return False

    return answer


def end(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
    """The proper end of a chunked answer."""
    handler.wfile.write(b"0\r\n\r\n")
    return False


def error_event(code: int, reason: str) -> Fault:
    return event({"type": "ERROR", "object": {"kind": "Status", "code": code, "reason": reason, "message": "made up"}}, then=end)


# -- after it has done what was asked --------------------------------------------------------------------------------------


def then(fault: Fault) -> Fault:
    """The API server does it, but its answer never arrives; this comes instead."""

    def answer(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        if verb(handler.command, handler.path) != "watch":
            proxy.ask(handler, body).read()
        return fault(proxy, handler, body)

    return answer


def cut(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """The API server does it, and its answer breaks off."""
    proxy.relay(handler, body, limit=60)
    return False


def shortened(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """Truncated JSON in an answer that is whole by HTTP's measure; of a watch a line without its end."""
    data = b'{"type": "ADDED", "object": {' if verb(handler.command, handler.path) == "watch" else proxy.ask(handler, body).read()[:60]
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
    return False


def slow(seconds: float) -> Fault:
    """A delay, and then everything is as it should be."""

    def answer(_proxy: Proxy, _handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
        time.sleep(seconds)
        return True

    return answer


def elsewhere(path: str) -> Fault:
    """The real API server's answer for another path."""

    def answer(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        proxy.relay(handler, body, path=path)
        return False

    return answer


lost = then(reset)
