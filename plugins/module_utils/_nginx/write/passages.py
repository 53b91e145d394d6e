# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that nginx passes on unopened, by the name in its ClientHello: the stream context's part of a configuration.

One port may serve both kinds of routes. Its listener is then the stream context's, and routes that end TLS stand behind it on a loopback
address. They must hear of the clients' addresses, so this listener speaks the PROXY protocol to all that is behind it; gateways that
don't want it are reached through an exit that takes it off. nginx knows the PROXY protocol and the timeouts before it knows the name, so
these belong to the port: the longest of its routes' timeouts hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ... import _values as values
from ..._routes.schema import Route
from .addresses import Addresses
from .blocks import Exit, Passage, Passed, Settings, Upstream

#: An http server keeps a silent client this long (keepalive_timeout 75s), so the listener before it must.
_KEPT = 80
_PREREAD_ZONE = "64k"


@dataclass(frozen=True)
class Inner:
    """Where the http context's servers behind a port listen, and whether they are told who the client is.

    The address differs with that: while nginx reloads, old workers still speak to it as they are used to.
    """

    port: str
    at: str
    told: bool

    @property
    def address(self) -> str:
        """``address:port``: an address for each public port, so that routes on two ports don't meet."""
        high, low = divmod(int(self.port), 256)
        return f"127.{102 if self.told else 104}.{high}.{low}:{self.at}"


def passes(route: Route) -> bool:
    """Whether the route's TLS is passed on."""
    return route.listen.mode == "passthrough"


def inners(routes: Sequence[Route], settings: Settings) -> dict[str, Inner]:
    """By the ports on which the stream context listens: what is behind them."""
    found: dict[str, Inner] = {}
    at = values.port(settings.inner_port, "nginx_offload_inner_port")
    for route in filter(passes, routes):
        port = str(route.listen.port)
        told = any(not passes(one) or one.proxy.proxy_protocol for one in _of_port(routes, port))
        found[port] = Inner(port, at, told)
    return found


def passages(
    routes: Sequence[Route], reached: Mapping[str, Addresses], behind: Mapping[str, Inner], settings: Settings
) -> tuple[tuple[Upstream, ...], tuple[Passage, ...], tuple[Passed, ...]]:
    """Upstreams and listeners of the stream context, and the routes that they pass on."""
    upstreams: dict[str, Upstream] = {}
    made = [_passage(inner, _of_port(routes, port), reached, settings, upstreams) for port, inner in behind.items()]
    passed = [
        Passed(route.name, route.hosts[0], str(route.listen.port), asks=route.upstream_tls.mode == "mutual")
        for route in filter(passes, routes)
    ]
    return tuple(upstreams.values()), tuple(made), tuple(passed)


def _of_port(routes: Sequence[Route], port: str) -> list[Route]:
    return [route for route in routes if route.listen.tls and str(route.listen.port) == port]


def _passage(
    inner: Inner, routes: Sequence[Route], reached: Mapping[str, Addresses], settings: Settings, upstreams: dict[str, Upstream]
) -> Passage:
    """The listener of one port; adds to ``upstreams``."""
    here = f"edge_here_{inner.port}"
    upstreams[here] = Upstream(here, (inner.address,), "", _PREREAD_ZONE, "0", True)
    names: list[tuple[str, str]] = []
    exits: dict[str, Exit] = {}
    connect, idle, logs = [], [], []
    for route in routes:
        target = here
        if passes(route):
            target = _gateway(route, reached, upstreams)
            if inner.told and not route.proxy.proxy_protocol:
                target = _exit(target, inner, upstreams, exits)
            connect.append(route.proxy.connect_timeout)
            idle.append(route.proxy.read_timeout)
            logs.append(route.access_log)
        else:
            idle.append(_patience(route))
        # of a route that ends TLS the reading doesn't know that its names stand in a map
        names += [(values.map_name(host, f"edge_routes ({route.name}).hosts[{number}]"), target) for number, host in enumerate(route.hosts)]
    return Passage(
        port=inner.port,
        listen=tuple(f"{address}{inner.port}" for address in (["", "[::]:"] if settings.ipv6 else [""])),
        names=tuple(names),
        inner=here,
        serves=not all(map(passes, routes)),
        proxy_protocol=inner.told,
        connect_timeout=max(connect, key=values.seconds),
        idle_timeout=max(idle, key=values.seconds),
        access_log="json" if "json" in logs else "off" if set(logs) == {"off"} else "default",
        exits=tuple(exits.values()),
    )


def _gateway(route: Route, reached: Mapping[str, Addresses], upstreams: dict[str, Upstream]) -> str:
    found = reached[route.gateway.name]
    # nothing of a client's TLS session is nginx's, so connections to a gateway differ in nothing
    made = Upstream(f"edge_to_{route.gateway.name}", found.servers, found.resolver, found.zone, "0", found.known)
    upstreams[made.name] = made
    return made.name


def _exit(target: str, inner: Inner, upstreams: dict[str, Upstream], exits: dict[str, Exit]) -> str:
    name = f"{target}_plain_{inner.port}"
    # by its name rather than a number in order: while nginx reloads, nobody else's exit may stand there
    first, second = hashlib.sha256(name.encode()).digest()[:2]
    exits[name] = Exit(f"127.103.{first}.{second}:{inner.at}", target)
    upstreams[name] = Upstream(name, (exits[name].listen,), "", _PREREAD_ZONE, "0", True)
    return name


def _patience(route: Route) -> str:
    """How long a client of a route that ends TLS may wait in silence."""
    each = [route.proxy, *(path.proxy for path in route.paths if path.proxy)]
    return f"{math.ceil(max(_KEPT, *(values.seconds(one.connect_timeout) + values.seconds(one.read_timeout) for one in each)))}s"
