"""k8s_objects through a proxy that breaks things in front of a real API server."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from kube_rig import config_map, objects, secret

from plugins.module_utils._kube.client import Client
from plugins.module_utils._kube.deadline import Backoff, Deadline
from plugins.module_utils._kube.transport import Transport

pytestmark = pytest.mark.cluster
Fault = Callable[["Proxy", BaseHTTPRequestHandler, bytes], bool]


class Proxy:
    """Forwards to the API server as the administrator. ``plan(method, number of the request)`` names a fault, or None."""

    def __init__(self, upstream: Transport, plan: Callable[[str, int], Fault | None]) -> None:
        self.count = 0
        lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with lock:
                    proxy.count += 1
                    fault = plan(self.command, proxy.count)
                with contextlib.suppress(OSError):
                    if fault is None or fault(proxy, self, body):
                        proxy.relay(self, body)

            do_GET = do_PATCH = do_DELETE = do_POST = forward

            def log_message(self, *_words: Any) -> None:
                pass

        self._upstream = upstream
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self, seconds: float) -> Client:
        return Client(Transport(self.url, urllib3.PoolManager(maxsize=16, retries=False), lambda: []), Deadline(seconds))

    def ask(self, handler: BaseHTTPRequestHandler, body: bytes) -> Any:
        headers = {name: value for name, value in handler.headers.items() if name in ("Accept", "Content-Type")}
        return self._upstream._pool.request(
            handler.command, self._upstream.host + handler.path, body=body or None, headers=headers, preload_content=False, retries=False
        )

    def relay(self, handler: BaseHTTPRequestHandler, body: bytes, limit: int | None = None) -> None:
        answer = self.ask(handler, body)
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


def reset(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
    """RST before the API server hears of it."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return False


def lost(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """The API server does it, but its answer never arrives."""
    proxy.ask(handler, body).read()
    return reset(proxy, handler, body)


def cut(proxy: Proxy, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """The API server does it, and its answer breaks off."""
    proxy.relay(handler, body, limit=60)
    return False


def refuse(status: int, retry_after: str = "") -> Fault:
    def answer(_proxy: Proxy, handler: BaseHTTPRequestHandler, _body: bytes) -> bool:
        data = json.dumps({"kind": "Status", "code": status, "reason": "", "message": "made up"}).encode()
        handler.send_response(status)
        if retry_after:
            handler.send_header("Retry-After", retry_after)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
        return False

    return answer


FAULTS: dict[str, Fault] = {
    "429": refuse(429),
    "429 with Retry-After": refuse(429, "1"),
    "500": refuse(500),
    "503": refuse(503),
    "reset": reset,
    "lost": lost,
    "cut": cut,
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses, a tenth as long; what a server asks for stays."""
    monkeypatch.setattr(Backoff, "FIRST", 0.05)


@pytest.fixture
def through(client: Client) -> Iterator[Callable[..., Client]]:
    made: list[Proxy] = []

    def make(plan: Callable[[str, int], Fault | None], seconds: float = 60) -> Client:
        made.append(Proxy(client._transport, plan))
        return made[-1].client(seconds)

    yield make
    for proxy in made:
        proxy.close()


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_passes_is_survived_and_told_as_it_was(name: str, method: str, through: Any, namespace: str) -> None:
    """The first two requests of the method fail; what became of the object is told right although an answer was lost."""

    def plan() -> Callable[[str, int], Fault | None]:
        left = [2]

        def fault(asked: str, _number: int) -> Fault | None:
            if asked != method or not left[0]:
                return None
            left[0] -= 1
            return FAULTS[name]

        return fault

    old, new = [config_map("c", namespace)], [config_map("c", namespace, {"a": "new"})]
    for definitions, state, action in (
        (old, "present", "created"),
        (new, "present", "changed"),
        (new, "present", "unchanged"),
        (new, "absent", "deleted"),
    ):
        outcome = objects(through(plan()), definitions, state=state)
        assert (outcome.error, outcome.actions) == (None, [action])


def test_many_random_faults_leave_exactly_what_was_asked_for(through: Any, namespace: str, new_client: Any) -> None:
    dice = random.Random(7)
    definitions = [config_map(f"c{number}", namespace) for number in range(15)]
    definitions += [secret(f"s{number}", namespace, stringData={"a": "b"}) for number in range(15)]
    kinds = list(FAULTS.values())

    def plan(_method: str, _number: int) -> Fault | None:
        return dice.choice(kinds) if dice.random() < 0.25 else None

    assert objects(through(plan), definitions).actions == ["created"] * 30
    assert objects(new_client(), definitions).actions == ["unchanged"] * 30
    assert objects(through(plan), definitions, state="absent").actions == ["deleted"] * 30
    assert objects(new_client(), definitions, state="absent").actions == ["absent"] * 30


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_does_not_pass_ends_at_the_deadline(status: int, through: Any, namespace: str, new_client: Any) -> None:
    definitions = [config_map(f"c{number}", namespace) for number in range(12)]
    started = time.monotonic()
    outcome = objects(through(lambda method, _number: refuse(status, "30") if method == "PATCH" else None, 3), definitions)
    assert time.monotonic() - started < 5
    assert outcome.error is not None
    assert "made up; tried" in outcome.error.sentence
    assert outcome.actions == ["failed"] * 12


@pytest.mark.parametrize("status", [401, 403, 422])
def test_what_can_not_pass_fails_at_once(status: int, through: Any, namespace: str) -> None:
    started = time.monotonic()
    outcome = objects(through(lambda _method, _number: refuse(status)), [config_map("c", namespace)])
    assert time.monotonic() - started < 2
    assert outcome.error is not None
    assert outcome.error.as_result()["status"] == status
