# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a configuration: its servers and sockets, the way of a request through it, and how the next hop is spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from .syntax import Directive

# What both modules have under names that differ in the prefix alone.
_IN_BOTH = re.compile(r"\bproxy_(?=pass\b|set_header\b|ssl_|next_upstream|connect_timeout\b|read_timeout\b|send_timeout\b)")


@dataclass(frozen=True)
class Listen:
    """A socket that nginx listens at. ``address`` is where this host itself can reach it."""

    address: str
    port: int
    tls: bool = False
    proxy_protocol: bool = False


@dataclass
class Proxy:
    """How a location speaks to the next hop, with everything resolved for the request.

    ``places`` says for each directive where it was read (``file:line``), "" for a default. Its keys are the names of the proxy module,
    ``proxy_ssl_name``, for gRPC as well; :meth:`own` gives the name that stands in the file.

    :ivar scheme: ``http`` or ``https``, for ``grpc://`` and ``grpcs://`` as well.
    :ivar prefix: of the directives in the file: ``proxy`` or ``grpc``.
    """

    scheme: str
    target: str
    prefix: str = "proxy"
    upstream: str = ""
    addresses: list[tuple[str, int]] = field(default_factory=list)
    path: str = "/"
    http_version: str = "1.0"
    host: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sni: str = ""
    ssl_name: str = ""
    ssl_name_varies: bool = False
    verify: bool = False
    verify_depth: int = 1
    ca: str = ""
    certificate: str = ""
    certificate_key: str = ""
    protocols: list[str] = field(default_factory=list)
    session_reuse: bool = True
    keepalive: bool = False
    places: dict[str, str] = field(default_factory=dict)

    def own(self, text: str) -> str:
        """A text about ``proxy_...`` directives in the words of the module that this location uses.

        ``proxy_ssl_verify on; proxy_set_header Host $host;`` becomes ``grpc_ssl_verify on; grpc_set_header Host $host;``.
        """
        if self.prefix == "proxy":
            return text
        text = re.sub(r"\bproxy_pass https?://", lambda found: "grpc_pass grpcs://" if "https" in found[0] else "grpc_pass grpc://", text)
        return _IN_BOTH.sub(f"{self.prefix}_", text)


@dataclass
class Effective:
    """The way of one request through nginx as far as the next hop."""

    host: str
    path: str
    version: str
    listen: Listen | None = None
    server: str = ""
    server_names: list[str] = field(default_factory=list)
    by_name: bool = False
    location: str = ""
    location_place: str = ""
    answer: str = ""
    asks_client_certificate: bool = False
    proxy: Proxy | None = None
    #: where TLS is passed on unopened, and whether the PROXY protocol comes before it
    passed: list[tuple[str, int]] = field(default_factory=list)
    passed_tells: bool = False
    notes: list[str] = field(default_factory=list)
    #: upstreams anywhere in the configuration that are reached with several identities (see sharing.py)
    shared: list[Shared] = field(default_factory=list)
    #: requests to the same place in this configuration that go out with another identity (see sharing.py)
    neighbours: list[Neighbour] = field(default_factory=list)
    #: where a Host header is set that the location loses by setting headers of its own
    lost_host: str = ""
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shared:
    """One upstream reached with several TLS identities.

    ``places`` are the locations, one for each identity; ``differ`` says in what, ``by`` says what nginx would lend: TLS sessions, pooled
    connections, or both.
    """

    upstream: str
    address: str
    places: tuple[str, ...]
    differ: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True)
class Neighbour:
    """A request at the same listener that nginx sends to the same place as another client."""

    host: str
    path: str
    place: str
    proxy: Proxy


@dataclass
class Config:
    """A whole nginx configuration."""

    version: tuple[int, ...]
    folder: str
    files: list[str]
    http: list[Directive]
    stream: list[Directive] = field(default_factory=list)

    @cached_property
    def servers(self) -> list[Directive]:
        """The http servers in their order."""
        return [server for block in self.http for server in block.find("server")]

    @cached_property
    def upstreams(self) -> dict[str, Directive]:
        """The upstream blocks by name."""
        return {block.args[0]: block for http in self.http for block in http.find("upstream") if block.args}

    @cached_property
    def sockets(self) -> dict[tuple[str, int], list[tuple[Directive, list[str]]]]:
        """The servers of each address and port, with the flags of their listen directives."""
        found: dict[tuple[str, int], list[tuple[Directive, list[str]]]] = {}
        for server in self.servers:
            for address, number, flags in listens(server):
                found.setdefault((address, number), []).append((server, flags))
        return found


def listens(server: Directive) -> list[tuple[str, int, list[str]]]:
    """Address, port and flags of each TCP socket of a server; nginx's own default where it names none."""
    found = []
    for directive in server.find("listen"):
        text, *flags = directive.args
        if text.startswith("unix:") or "quic" in flags:  # the latter is UDP's port of that number
            continue
        match = re.fullmatch(r"(?:(\[[^\]]+\]|[^:\[\]]+):)?(\d+)", text)
        if match:
            address, port = match[1] or "*", int(match[2])
        else:
            address, port = text, 80
        found.append((address, port, flags))
    return found if server.find("listen") else [("*", 80, [])]


def reachable(address: str) -> str:
    """Where this host itself reaches what listens at ``address``."""
    plain = address.strip("[]")
    return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(plain, plain)  # noqa: S104


def names_of(server: Directive) -> list[str]:
    """The names of a server; one empty name where it has none."""
    return [name for directive in server.find("server_name") for name in directive.args] or [""]


def modifier_of(location: Directive) -> tuple[str, str]:
    """(modifier, pattern); the two may be written as one word."""
    if len(location.args) >= 2:
        return location.args[0], location.args[1]
    text = location.args[0] if location.args else ""
    for modifier in ("=", "^~", "~*", "~", "@"):
        if text.startswith(modifier):
            return modifier, text[len(modifier) :]
    return "", text


def place_of(directive: Directive) -> str:
    """``file:line``."""
    return f"{directive.file}:{directive.line}"


def last_words(block: Directive, name: str, default: list[str]) -> list[str]:
    """The words of the last directive of this name in the block, or ``default``."""
    own = block.find(name)
    return own[-1].args if own and own[-1].args else default
