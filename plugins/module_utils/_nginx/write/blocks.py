# SPDX-License-Identifier: GPL-3.0-or-later
"""The blocks of a VM's nginx configuration as data: checked text only, every value ready to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..._routes.places import TLS_DIR
from .. import commands


@dataclass(frozen=True)
class Upstream:
    """One ``upstream`` block. ``identity`` is all that makes a connection to the gateway what it is.

    nginx shares TLS sessions and pooled connections within an upstream, and with them the identity of whoever opened
    them: a location without a client certificate would be let in with another's. So nothing is shared but what is equal.
    The protocol is part of it: a pooled HTTP/1.1 connection is of no use to gRPC. Upstreams of the stream context have none.
    """

    name: str
    servers: tuple[str, ...]
    resolver: str
    zone: str
    keepalive: str
    known: bool
    identity: tuple[Any, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Location:
    """One ``location``: which requests (``/``, ``/a``, ``= /a``), and how they are passed on. ``module`` is proxy or grpc."""

    match: str
    module: str
    upstream: str
    connect_timeout: str
    read_timeout: str
    send_timeout: str
    next_upstream: str
    client_max_body_size: str
    buffering: bool
    request_buffering: bool
    websocket: bool


@dataclass(frozen=True)
class Limit:
    """The limits for one client address, empty where there is none; ``zone`` names the shared memory."""

    zone: str
    rate: str
    burst: str
    connections: str


@dataclass(frozen=True)
class Server:
    """One ``server`` block towards the gateway. ``behind``: clients reach it through a :class:`Passage`, which tells their addresses."""

    route: str
    gateway: str
    names: str
    port: str
    listen: tuple[str, ...]
    quic: tuple[str, ...]
    behind: bool
    tls: bool
    http2: bool
    certificate: str
    key: str
    hsts: str
    alt_svc: str
    acme_webroot: str
    sni: str
    verify: bool
    verify_depth: str
    ca: str
    client_certificate: str
    client_key: str
    locations: tuple[Location, ...]
    limit: Optional[Limit]
    access_log: str
    #: all that makes a TLS connection to the gateway what it is
    identity: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True)
class Redirect:
    """The ``server`` on the plain port of a route with TLS: ACME's challenges, and ``target`` or nothing for the rest."""

    route: str
    names: str
    listen: tuple[str, ...]
    acme_webroot: str
    target: str
    http2: bool = False
    quic: tuple[str, ...] = ()
    behind: bool = False


@dataclass(frozen=True)
class Refusal:
    """The ``server`` for unknown host names on one port."""

    listen: tuple[str, ...]
    quic: tuple[str, ...]
    behind: bool
    tls: bool
    http2: bool
    names: str = '""'


@dataclass(frozen=True)
class Exit:
    """A ``server`` in the stream context that takes the PROXY protocol off again, for a gateway that doesn't want it."""

    listen: str
    upstream: str


@dataclass(frozen=True)
class Passage:
    """The ``server`` in the stream context on one port, which sends TLS unopened to where its SNI leads.

    ``names`` are pairs of a host and an upstream of the stream context. ``inner`` is the upstream of the http context's servers behind it:
    the routes that end TLS (``serves``), and the refusal of unknown names.
    """

    port: str
    listen: tuple[str, ...]
    names: tuple[tuple[str, str], ...]
    inner: str
    serves: bool
    proxy_protocol: bool
    connect_timeout: str
    idle_timeout: str
    access_log: str
    exits: tuple[Exit, ...]


@dataclass(frozen=True)
class Passed:
    """A route whose TLS is passed on. ``asks``: the gateway wants a certificate of the client."""

    route: str
    host: str
    port: str
    asks: bool


@dataclass(frozen=True)
class Offload:
    """The whole: blocks for the templates, Secrets to bring to the host, and files that the configuration depends on.

    ``names_bucket`` is the size that nginx's tables of server names need, empty where the default will do. ``lookup`` are
    the gateways' names that this nginx would resolve only once, when it reads its configuration. ``ports`` are all on which it listens.
    """

    upstreams: tuple[Upstream, ...]
    servers: tuple[Server, ...]
    redirects: tuple[Redirect, ...]
    refusals: tuple[Refusal, ...]
    stream_upstreams: tuple[Upstream, ...]
    passages: tuple[Passage, ...]
    passed: tuple[Passed, ...]
    ports: tuple[str, ...]
    names_bucket: str
    lookup: tuple[str, ...]
    exports: tuple[dict[str, Any], ...]
    depends_on: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What holds for all routes of a host.

    :param build: what ``nginx -V`` says; empty where there is no nginx yet, which is taken for an old one.
    :param material: the folder for material from Secrets.
    :param acme_webroot: for routes that name none themselves.
    :param resolvers: name servers' addresses, for an nginx that resolves upstreams again and again.
    :param resolved: addresses by name, as the host finds them, for an nginx that doesn't.
    :param inner_port: of loopback addresses, where servers behind a passage listen.
    :param check: addresses may be missing.
    """

    build: str = ""
    material: str = TLS_DIR
    acme_webroot: str = ""
    ipv6: bool = True
    resolvers: Sequence[Any] = ()
    resolved: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    inner_port: Any = 488
    check: bool = False

    @property
    def version(self) -> tuple[int, ...]:
        """The version, empty where it isn't known."""
        return commands.version(self.build)

    @property
    def http2_directive(self) -> bool:
        """``http2 on`` since 1.25.1; a word of ``listen`` before."""
        return self.version >= (1, 25, 1)

    @property
    def resolves(self) -> bool:
        """Whether this nginx looks up an upstream's name again when DNS says so: since 1.27.3, and only by a resolver."""
        return bool(self.resolvers) and self.version >= (1, 27, 3)

    @property
    def http3(self) -> bool:
        """Whether this nginx was built with HTTP/3, which came with 1.25."""
        return "--with-http_v3_module" in self.build
