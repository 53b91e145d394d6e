# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of an API server, and of the way to it, and what is to become of a task that meets one; docs/api_faults.md shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.integration.kube.kube_proxy import (
    Fault,
    cut,
    elsewhere,
    end,
    error_event,
    event,
    hang_up,
    lost,
    refuse,
    reset,
    shortened,
    silent,
    slow,
    then,
    wire,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BOOKMARK = {"type": "BOOKMARK", "object": {"kind": "Secret", "metadata": {}}}


@dataclass(frozen=True)
class Passing:
    """A fault that must be got over when it passes: by both modules, whichever of their requests it meets.

    :ivar code: the error's at the deadline, when it stays; "" = it never stops anybody.
    """

    fault: Fault
    code: str


@dataclass(frozen=True)
class Final:
    """A fault that no waiting mends: it ends the task at once, whichever request it meets, with this code and these words."""

    fault: Fault
    code: str
    words: str


PASSING: dict[str, Passing] = {
    "408": Passing(refuse(408), "API_FAILED"),
    "429": Passing(refuse(429), "API_BUSY"),
    "429 with Retry-After": Passing(refuse(429, "1"), "API_BUSY"),
    "429 with a date to come back at": Passing(refuse(429, "Sat, 21 Nov 2026 12:00:00 GMT"), "API_BUSY"),
    "429 storage is initializing": Passing(refuse(429, message="storage is (re)initializing", reason="TooManyRequests"), "API_BUSY"),
    "500": Passing(refuse(500), "API_FAILED"),
    "500 etcd has lost its leader": Passing(refuse(500, message="etcdserver: leader changed", reason="InternalError"), "API_FAILED"),
    "502 of a load balancer": Passing(refuse(502, html=True), "API_FAILED"),
    "503": Passing(refuse(503), "API_FAILED"),
    "503 with Retry-After": Passing(refuse(503, "1"), "API_FAILED"),
    "504 of a load balancer": Passing(refuse(504, html=True), "API_FAILED"),
    "connection reset": Passing(reset, "BROKEN_CONNECTION"),
    "connection closed without an answer": Passing(hang_up, "BROKEN_CONNECTION"),
    "half-open connection": Passing(silent, "NO_ANSWER"),
    "done, but answered by 504": Passing(then(refuse(504, html=True)), "API_FAILED"),
    "done, but the connection is reset": Passing(lost, "BROKEN_CONNECTION"),
    "done, but the connection is closed": Passing(then(hang_up), "BROKEN_CONNECTION"),
    "done, but the connection is half-open": Passing(then(silent), "NO_ANSWER"),
    "done, but the answer breaks off in a chunk": Passing(cut, "BROKEN_CONNECTION"),
    "done, but the answer is truncated JSON": Passing(shortened, "BROKEN_ANSWER"),
    "body shorter than promised": Passing(wire(OK + b'Content-Length: 1000\r\n\r\n{"kind": "Sec'), "BROKEN_CONNECTION"),
    "bytes that are no HTTP": Passing(wire(b"\x15\x03\x01\x00\x02\x02\x16 what?\r\n\r\n"), "BROKEN_CONNECTION"),
    "a page instead of JSON": Passing(wire(OK + b"Content-Length: 19\r\n\r\n<html>sorry</html>\n"), "BROKEN_ANSWER"),
    "an empty answer": Passing(wire(OK + b"Content-Length: 0\r\n\r\n"), "BROKEN_ANSWER"),
    "header that drips": Passing(wire(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000, every=0.05), "NO_ANSWER"),
    "body that drips": Passing(wire(OK + b"Content-Length: 10000\r\n\r\n" + b" " * 10_000, every=0.05), "NO_ANSWER"),
    "slow, but sound": Passing(slow(0.7), ""),
}
# The same, but these can only befall a watch. When they stay, LISTs still tell.
PASSING_WATCH: dict[str, Fault] = {
    "410 on watch": refuse(410, reason="Expired"),
    "410 as an event": error_event(410, "Expired"),
    "500 as an event": error_event(500, "InternalError"),
    "403 as an event": error_event(403, "Forbidden"),
    "error event that is none": event(b'{"type": "ERROR", "object": {"code": "x"}}\n', then=end),
    "bookmarks, with and without a version": event(BOOKMARK, {**BOOKMARK, "object": {}}),
    "a line that is no event": event(b"<html>\n", then=end),
    "half an event": event(b'{"type": "ADDED", "object": {"meta', then=reset),
    "watch that ends at once": event(then=end),
    "half-open watch": event(then=silent),
    "half-open watch after an event": event(BOOKMARK, then=silent),
}
FINAL: dict[str, Final] = {
    "401": Final(refuse(401, reason="Unauthorized", message="Unauthorized"), "UNAUTHORIZED", "does not accept the credentials"),
    "403 by RBAC": Final(
        refuse(403, reason="Forbidden", message='secrets is forbidden: User "awx" cannot get resource "secrets" in API group ""'),
        "FORBIDDEN",
        "awx may not get secrets",
    ),
    "403 by admission": Final(refuse(403, reason="Forbidden", message="admission webhook says no"), "FORBIDDEN", "webhook says no"),
    "404 of the kind": Final(elsewhere("/api/v1/namespaces/default/no-such-kind"), "KIND_NOT_FOUND", "does not know Secret"),
    "422": Final(refuse(422, reason="Invalid"), "INVALID", "refuses it"),
    "400": Final(refuse(400, reason="BadRequest"), "INVALID", "refuses it"),
    "405": Final(refuse(405, reason="MethodNotAllowed"), "INVALID", "answered 405"),
    "413": Final(refuse(413, reason="RequestEntityTooLarge"), "INVALID", "refuses it"),
    "redirect to a login page": Final(refuse(302), "REDIRECT", "no API server"),
}
#: What tls_secret asks for with each verb, and which faults end it: without a LIST it can do (it only shows what a lost CA had signed).
ENDS_WRITE = {
    verb: [name for name in FINAL if verb != "list" or not name.startswith("403")] for verb in ("get", "list", "create", "update")
}
#: What has a test of its own here or in test_secret_rights.py: what becomes of tls_secret_info, and of tls_secret.
OTHERS = {
    "API server killed and started again": ("waits on", "goes on"),
    "API server stands still for a while": ("waits on", "goes on"),
    "token expires, and its file is renewed": ("waits on", "goes on"),
    "token expires, and stays": ("fails at once: `UNAUTHORIZED`",) * 2,
    "watch forbidden, list allowed": ("looks every 2 s, and says so", "does not watch"),
    "watch and list forbidden, get allowed": ("looks every 2 s, and says so", "does not list"),
    "get forbidden": ("fails at once: `FORBIDDEN`, with the Role to apply",) * 2,
}

HEAD = """\
# What a task does when the API fails

All modules that use the API share one client and one deadline, the option `timeout`. The client repeats a request whose fault may pass by
itself, after random pauses that grow, and not before `Retry-After` allows it. A fault that no waiting mends ends the task at once. The
task ends within 2 s of its deadline, no Secret is ever half written, and the next run continues from the state that it finds.

A test writes this table (`tests/integration/secret_info`, with `EDGEMESH_WRITE_DOCS=1`) and checks every row: a proxy in front of a real
kube-apiserver makes each fault, for each kind of request that the module sends. *Done, but* means that the API server has done the
request, and only its answer is lost.

| Fault | `tls_secret_info` that waits | `tls_secret` | If it stays until the deadline |
|---|---|---|---|
"""


def document() -> str:
    """docs/api_faults.md."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in _rows())


def _rows() -> Iterator[tuple[str, str, str, str]]:
    for name, each in PASSING.items():
        yield name, "waits on", "goes on", f"`{each.code}`" if each.code else "takes longer"
    for name in PASSING_WATCH:
        yield name, "waits on", "does not watch", "succeeds: LISTs still tell"
    for name, final in FINAL.items():
        goes_on = "" if name in ENDS_WRITE["list"] else "; goes on without a LIST that is refused"
        yield name, f"fails at once: `{final.code}`", f"fails at once: `{final.code}`{goes_on}", ""
    for name, (info, write) in OTHERS.items():
        yield name, info, write, ""
