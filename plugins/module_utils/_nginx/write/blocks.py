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
    """One ``upstream`` block, of the http or the stream context. ``known`` is false where a stand-in is among the servers."""

    name: str
    servers: tuple[str, ...]
    resolver: str
    zone: str
    known: bool = True
    keepalive: str = "0"


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
    """One ``server`` block towards the gateway. It listens at ``listen``, or as the file ``sockets`` says."""

    route: str
    gateway: str
    names: str
    listen: tuple[str, ...]
    sockets: str
    quic: tuple[str, ...]
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
    log_file: str


@dataclass(frozen=True)
class Redirect:
    """The ``server`` on the plain port of a route with TLS: ACME's challenges, and ``target`` or nothing for the rest."""

    names: str
    listen: tuple[str, ...]
    acme_webroot: str
    target: str
    quic: tuple[str, ...] = ()
    http2: bool = False


@dataclass(frozen=True)
class Site:
    """A route's own file of the http context."""

    route: str
    redirect: Optional[Redirect]
    server: Optional[Server]


@dataclass(frozen=True)
class Sockets:
    """What servers of one kind listen at. ``told``: clients come through the stream context's listener, which says who they are."""

    listen: tuple[str, ...]
    told: bool = False


@dataclass(frozen=True)
class Refusal:
    """The ``server`` for unknown host names on one port, of TCP (``listen``) or of UDP (``quic``)."""

    listen: tuple[str, ...]
    quic: tuple[str, ...] = ()
    told: bool = False
    tls: bool = False
    http2: bool = False


@dataclass(frozen=True)
class Names:
    """Entries of a ``map`` from SNI to an upstream of the stream context."""

    names: tuple[str, ...]
    target: str


@dataclass(frozen=True)
class Passage:
    """The ``server`` in the stream context on one port, which sends TLS unopened to where its SNI leads.

    ``names`` are the files with its map's entries, ``settings`` those with the rest of what it says.
    """

    port: str
    listen: tuple[str, ...]
    names: tuple[str, ...]
    settings: str


@dataclass(frozen=True)
class Exit:
    """A ``server`` in the stream context that takes the PROXY protocol off again, for a gateway that doesn't want it.

    ``upstream`` leads to it, ``gateway`` is where it leads. ``settings`` are the files with its port's timeouts.
    """

    upstream: Upstream
    gateway: Upstream
    listen: str
    settings: str


@dataclass(frozen=True)
class Line:
    """A single directive; a comment where it is empty."""

    text: str


@dataclass(frozen=True)
class Constant:
    """A file that is the same wherever it is, by its name: ``websocket``, ``log_format``."""

    name: str


@dataclass(frozen=True)
class File:
    """A file, or one of several contents that it may have, as data for the template.

    ``it`` is one of the blocks above, ``kind`` says which.
    """

    id: str
    path: str
    kind: str
    it: Any


@dataclass(frozen=True)
class Instead:
    """Another content (the ``id`` of a :class:`File`) for a shared file, where all files of ``present`` are there."""

    present: tuple[str, ...]
    id: str


@dataclass(frozen=True)
class Shared:
    """A file that several routes may need. Where they don't agree on its content the highest ``rank`` holds."""

    path: str
    id: str
    rank: int = 0
    instead: tuple[Instead, ...] = ()


@dataclass(frozen=True)
class Part:
    """What one route needs on a host, see module ``nginx_config``: it depends on the route and the host alone, never on other routes.

    :ivar files: ids of the route's own files.
    """

    name: str
    files: tuple[str, ...]
    shared: tuple[Shared, ...]
    depends_on: tuple[str, ...]
    material: tuple[str, ...]
    claims: Mapping[str, str]
    agrees: Mapping[str, str]
    probes: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Offload:
    """The whole: files as data for the templates of both contexts, each once, the routes' parts, and Secrets to bring to the host.

    ``lookup`` are the gateways' names that this nginx would resolve only once, when it reads its configuration. ``ports`` are all TCP ports
    on which it listens for clients; ``passes`` says whether it passes TLS on. ``extra`` are whole files of the list's own.
    """

    http: tuple[File, ...]
    stream: tuple[File, ...]
    parts: tuple[Part, ...]
    ports: tuple[str, ...]
    passes: bool
    lookup: tuple[str, ...]
    exports: tuple[dict[str, Any], ...]
    extra: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Settings:
    """What holds for all routes of a host.

    :param build: what ``nginx -V`` says; empty where there is no nginx yet, which is taken for an old one.
    :param material: the folder for material from Secrets.
    :param acme_webroot: for routes that name none themselves.
    :param resolvers: name servers' addresses, for an nginx that resolves upstreams again and again.
    :param resolved: addresses by name, as the host finds them, for an nginx that doesn't.
    :param inner_port: of loopback addresses, where servers behind a passage listen.
    :param refuse_unknown: whether names that no route has are refused.
    :param access_log: the file of logs in JSON.
    :param export: whether certificates and keys come from Secrets by this role. Files that something else provides are not ours to remove.
    :param probe_path: path and query of the probes.
    :param check: addresses may be missing.
    """

    build: str = ""
    material: str = TLS_DIR
    acme_webroot: str = ""
    ipv6: bool = True
    resolvers: Sequence[Any] = ()
    resolved: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    inner_port: Any = 488
    refuse_unknown: bool = True
    access_log: Any = "/var/log/nginx/edgemesh.log"
    export: bool = True
    probe_path: str = "/"
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
