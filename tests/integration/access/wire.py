# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of which every byte is the test's own, sent from a network namespace."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab import netns
from lab.settings import Host

CLONE_NEWNET = 0x40000000
DENIED = "RBAC: access denied"
_libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when the connection ended without an answer."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def verdict(self) -> str:
        """Let in, denied by the gateway's policy (and by nobody else), or whatever else it was."""
        if self.status == 200:
            return "in"
        return "denied" if (self.status, self.body) == (403, DENIED) else f"HTTP {self.status} {self.body[:80]!r}"


@dataclass(frozen=True)
class Client:
    """Somebody who asks, by one of a host's two addresses."""

    host: Host
    ipv6: bool = False

    @property
    def address(self) -> str:
        return self.host.address6 if self.ipv6 else self.host.address

    def ask(self, at: tuple[str, int], *lines: str, name: str = "access.example.com", first: bytes = b"", path: str = "/") -> Answer:
        """One GET on a connection of its own.

        :param lines: header lines, as they are.
        :param first: sent before the request.
        """
        closing = [] if any(line.lower().startswith("connection:") for line in lines) else ["Connection: close"]
        head = "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {name}", *closing, *lines, "", ""])
        return answer(self.exchange(at, first + head.encode("latin-1")))

    def exchange(self, at: tuple[str, int], given: bytes) -> bytes:
        """What comes back for these bytes until the other side has nothing more to say."""
        with inside(self.host), socket.create_connection(at, timeout=10, source_address=(self.address, 0)) as connection:
            came = b""
            try:
                connection.sendall(given)
                while not complete(came) and (part := connection.recv(65536)):
                    came += part
            except ConnectionError:
                pass  # refused: told by what is missing
            return came


@contextmanager
def inside(host: Host) -> Iterator[None]:
    """Sockets that this thread makes meanwhile belong to the host's network namespace."""
    with open("/proc/thread-self/ns/net", "rb") as home, netns.path(host.name).open("rb") as away:
        _enter(away.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def complete(came: bytes) -> bool:
    """Whether a whole answer with a Content-Length is there; others end with the connection."""
    _head, ended, body = came.partition(b"\r\n\r\n")
    length = answer(came).headers.get("content-length")
    return bool(ended) and length is not None and len(body) >= int(length)


def answer(came: bytes) -> Answer:
    """Status, headers by lower-case name, and body."""
    head, _ended, body = came.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/1.1 "):
        return Answer(0, {}, came.decode("latin-1"))
    headers = {name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body.decode("latin-1"))


def proxy_v1(source: str, destination: str = "198.18.0.1", port: int = 40000) -> bytes:
    """A PROXY protocol header in its text form."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {port} 80\r\n".encode()


def proxy_v2(source: str, destination: str = "198.18.0.1", port: int = 40000, command: int = 1) -> bytes:
    """The same in its binary form; command 0 is LOCAL."""
    addresses = [ipaddress.ip_address(each).packed for each in (source, destination)]
    block = b"".join(addresses) + port.to_bytes(2, "big") + (80).to_bytes(2, "big")
    family = 0x21 if ":" in source else 0x11
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, family]) + len(block).to_bytes(2, "big") + block
