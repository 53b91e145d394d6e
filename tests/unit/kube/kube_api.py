# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server that answers as an API server does, and as it does on a bad day."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Deadline
from plugins.module_utils._kube.transport import Transport


class Request:
    """What was asked."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        self.method, self.path, self.query = handler.command, parts.path, dict(parse_qsl(parts.query))
        self.headers = handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    @property
    def watch(self) -> bool:
        return "watch" in self.query

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[BaseHTTPRequestHandler], None]


class Api:
    """``answers`` are used up one after the other, whatever is asked (``watches`` for watches, if given); the last one stays."""

    def __init__(self, *answers: Answer, watches: Sequence[Answer] = ()) -> None:
        self.answers = list(answers)
        self.watches = list(watches) or self.answers
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            api: Api
            seen: Request

            def answer(self) -> None:
                request = self.seen = Request(self)
                with api._lock:
                    api.requests.append(request)
                    answers = api.watches if request.watch else api.answers
                    answer = answers.pop(0) if len(answers) > 1 else answers[0]
                with contextlib.suppress(OSError):
                    answer(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_words: Any) -> None:
                pass

        Handler.api = self
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def client(self, seconds: float = 5.0, **more: Any) -> Client:
        return Client(Transport(self.url, urllib3.PoolManager(retries=False), lambda: []), Deadline(seconds), **more)


@contextlib.contextmanager
def serving(*answers: Answer, watches: Sequence[Answer] = ()) -> Iterator[Api]:
    api = Api(*answers, watches=watches)
    try:
        yield api
    finally:
        api.stop()


def says(body: Any, status: int = 200, **headers: str) -> Answer:
    """A proper answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def refuses(status: int, reason: str = "", message: str = "", causes: Any = (), **headers: str) -> Answer:
    """A Status object, as the API server writes it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": status}
    return says({**body, "details": {"causes": list(causes)}}, status, **headers)


def resets(handler: BaseHTTPRequestHandler) -> None:
    """RST instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def cuts(handler: BaseHTTPRequestHandler) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"kind": "ConfigMap", "meta')
    handler.wfile.flush()
    handler.close_connection = True


def silent(handler: BaseHTTPRequestHandler) -> None:
    """A half-open connection: nothing, ever."""
    handler.api.stopping.wait(30)
    handler.close_connection = True


def drips(handler: BaseHTTPRequestHandler) -> None:
    """One byte now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _byte in range(1000):
        if handler.api.stopping.wait(0.05):
            break
        handler.wfile.write(b" ")
        handler.wfile.flush()
    handler.close_connection = True


def lists(*items: Any, version: str = "10") -> Answer:
    return says({"kind": "List", "metadata": {"resourceVersion": version}, "items": list(items)})


def events(*lines: Any, hold: float = 0.0, then: Answer | None = None, chunked: bool = True) -> Answer:
    """A watch: (type, object) events or raw bytes, silence for ``hold`` seconds or as long as was asked for, the end (or ``then``)."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        else:
            handler.send_header("Connection", "close")
        handler.end_headers()
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps({"type": line[0], "object": line[1]}).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            handler.wfile.flush()
        handler.api.stopping.wait(min(hold, int(handler.seen.query["timeoutSeconds"])))
        if then:
            then(handler)
            return
        if chunked:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return answer


def thing(name: str = "a", version: str = "11", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n", "resourceVersion": version, "uid": f"uid-{name}"},
        **more,
    }


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
