# SPDX-License-Identifier: GPL-3.0-or-later
"""From routes to what templates need to write a VM's nginx configuration. The reading has checked every value; here it is formatted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ... import _values as values
from ..._errors import EdgeError
from ..._routes.schema import Hsts, Listen, Requests, Route
from .addresses import Addresses, addresses
from .blocks import Limit, Location, Offload, Redirect, Refusal, Server, Settings, Upstream
from .material import Material
from .passages import Inner, inners, passages, passes

#: What a port can carry; one port carries one of them.
_PLAIN, _TLS = "plain HTTP", "TLS"


def offload(routes: Sequence[Route], upstreams: Mapping[str, Sequence[Any]], settings: Settings) -> Offload:
    """The configuration for these routes.

    :param upstreams: gateway name to ``address:port``; a gateway's own ``addresses`` stand in where it has none.
    :raises EdgeError: naming the route and the field, for what this host's nginx can't do and for routes that get in each other's way.
    """
    material = Material(values.file_path(settings.material, "material"))
    reached = {
        route.gateway.name: addresses(route.gateway, upstreams, settings, f"edge_routes ({route.name})") for route in reversed(routes)
    }
    _refuse_clashes(routes)
    behind = inners(routes, settings)
    blocks: dict[str, Upstream] = {}
    servers = []
    for route in (one for one in routes if not passes(one)):
        server = _server(route, settings, material, behind)
        for block in _upstreams(route, reached[route.gateway.name], server):
            # connections are shared, so the larger pool serves both
            blocks[block.name] = max(blocks.get(block.name, block), block, key=lambda one: int(one.keepalive))
        servers.append(server)
    for route in filter(passes, routes):
        # nginx trusts nobody there; role verify does, from this host
        material.beside(route.upstream_tls.server_ca)
    stream_upstreams, listeners, passed = passages(routes, reached, behind, settings)
    return Offload(
        upstreams=tuple(blocks.values()),
        servers=tuple(servers),
        redirects=tuple(redirect for route in routes for redirect in _redirect(route, settings)),
        refusals=_refusals(routes, settings, behind),
        stream_upstreams=stream_upstreams,
        passages=listeners,
        passed=passed,
        ports=tuple(dict.fromkeys(port for route in routes for port, _kind in _ports(route))),
        names_bucket=_names_bucket(routes),
        lookup=tuple(dict.fromkeys(name for found in reached.values() for name in found.lookup)),
        exports=tuple(material.exports.values()),
        depends_on=tuple(sorted(material.files)),
    )


def as_dict(made: Offload) -> dict[str, Any]:
    """Plain data for a template."""
    return dataclasses.asdict(made)


# --- one route ---


def _server(route: Route, settings: Settings, material: Material, behind: Mapping[str, Inner]) -> Server:
    where = f"edge_routes ({route.name})"
    listen, tls = route.listen, route.upstream_tls
    if tls.mode == "passthrough":
        raise EdgeError(
            "nginx ends the clients' TLS itself", where=f"{where}.upstream_tls.mode",
            fix="Use simple or mutual, or let nginx pass the clients' TLS on (listen.mode passthrough)", code="BAD_ROUTE",
        )  # fmt: skip
    certificate, key = material.pair(listen.certificate) if listen.tls and listen.certificate else ("", "")
    client = material.pair(tls.client_certificate) if tls.mode == "mutual" and tls.client_certificate else ("", "")
    ca = material.authority(tls.server_ca) if tls.verify else ""
    port = str(listen.port)
    quic = listen.http3 and _http3(settings, where)
    identity = (route.gateway.name, tls.server_name, tls.verify, tls.verify_depth, ca, *client)
    return Server(
        route=route.name,
        gateway=route.gateway.name,
        names=" ".join(route.hosts),
        port=port,
        listen=_listen(port, settings, listen.tls, listen.http2 and not settings.http2_directive, behind),
        quic=_listen(port, settings) if quic else (),
        behind=listen.tls and port in behind,
        tls=listen.tls,
        http2=listen.http2 and settings.http2_directive,
        certificate=certificate,
        key=key,
        hsts=_hsts(listen.hsts) if listen.tls else "",
        alt_svc=f'h3=":{port}"; ma=86400' if quic else "",
        acme_webroot=_webroot(listen, settings) if not listen.tls and listen.acme_webroot else "",
        sni=tls.server_name,
        verify=tls.verify,
        verify_depth=str(tls.verify_depth),
        ca=ca,
        client_certificate=client[0],
        client_key=client[1],
        locations=tuple(_locations(route, identity)),
        limit=_limit(route),
        access_log=route.access_log,
        identity=identity,
    )


def _locations(route: Route, identity: tuple[Any, ...]) -> Iterator[Location]:
    """The whole site, and the paths with ways of their own. The mesh decides which path is answered at all."""
    own = [(path, path.proxy) for path in route.paths if path.proxy]
    whole: Requests = next((proxy for path, proxy in own if (path.path, path.match) == ("/", "prefix")), route.proxy)
    yield _location("/", whole, identity)
    exact = {path.path for path, _proxy in own if path.match == "exact"}
    for path, proxy in own:
        if (path.path, path.match) == ("/", "prefix"):
            continue
        yield _location(f"= {path.path}" if path.match == "exact" else path.path, proxy, identity)
        if path.match == "prefix" and path.path.endswith("/") and path.path[:-1] not in exact:
            # nginx would answer the path without its last slash by a redirect of its own
            yield _location(f"= {path.path[:-1]}", whole, identity)


def _location(match: str, proxy: Requests, identity: tuple[Any, ...]) -> Location:
    grpc = proxy.protocol == "grpc"
    return Location(
        match=match,
        module="grpc" if grpc else "proxy",
        upstream=_upstream_name(identity, grpc),
        connect_timeout=proxy.connect_timeout,
        read_timeout=proxy.read_timeout,
        send_timeout=proxy.send_timeout,
        next_upstream=" ".join(proxy.next_upstream),
        client_max_body_size=proxy.client_max_body_size or ("0" if grpc else ""),
        buffering=proxy.buffering,
        request_buffering=proxy.request_buffering,
        websocket=proxy.websocket,
    )


def _upstream_name(identity: tuple[Any, ...], grpc: bool) -> str:
    """Equal for equal identities, so that what else a gateway says changes no name."""
    return f"edge_{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}{'_grpc' if grpc else ''}"


def _upstreams(route: Route, reached: Addresses, made: Server) -> Iterator[Upstream]:
    """One for each protocol that the route speaks to its gateway."""
    for module, name in dict.fromkeys((location.module, location.upstream) for location in made.locations):
        keepalive = str(route.proxy.keepalive)
        yield Upstream(name, reached.servers, reached.resolver, reached.zone, keepalive, reached.known, (*made.identity, module))


def _limit(route: Route) -> Optional[Limit]:
    asked = route.rate_limit
    return Limit(f"edge_{route.name}", asked.rate, str(asked.burst), str(asked.connections)) if asked else None


def _redirect(route: Route, settings: Settings) -> list[Redirect]:
    listen = route.listen
    if not listen.tls or not (listen.redirect_http or listen.acme_webroot):
        return []
    return [
        Redirect(
            route=route.name,
            names=" ".join(route.hosts),
            listen=_listen(str(listen.http_port), settings),
            acme_webroot=_webroot(listen, settings),
            target=("https://$host" + ("" if listen.port == 443 else f":{listen.port}") + "$request_uri") if listen.redirect_http else "",
        )
    ]


def _listen(
    port: str, settings: Settings, tls: bool = False, http2: bool = False, behind: Optional[Mapping[str, Inner]] = None
) -> tuple[str, ...]:
    words = (" ssl" if tls else "") + (" http2" if http2 else "")
    inner = (behind or {}).get(port) if tls else None
    if inner:
        return (f"{inner.address}{words}{' proxy_protocol' if inner.told else ''}",)
    return tuple(f"{address}{port}{words}" for address in (["", "[::]:"] if settings.ipv6 else [""]))


def _http3(settings: Settings, where: str) -> bool:
    # in a check the same run may bring nginx
    if not settings.http3 and (settings.build or not settings.check):
        version = ".".join(map(str, settings.version))
        lacks = (
            f"nginx {version} was built without --with-http_v3_module (nginx -V)" if version else "it isn't known what nginx is built with"
        )
        raise EdgeError(
            "this host's nginx can't speak HTTP/3", where=f"{where}.listen.http3",
            why=lacks,
            fix="Install an nginx that has it (Debian 13's does, Debian 12's doesn't), or leave http3 out", code="BAD_ROUTE",
        )  # fmt: skip
    return settings.http3


def _hsts(hsts: Optional[Hsts]) -> str:
    if not hsts:
        return ""
    words = [word for word, said in (("includeSubDomains", hsts.include_subdomains), ("preload", hsts.preload)) if said]
    return "; ".join([f"max-age={hsts.max_age}", *words])


def _webroot(listen: Listen, settings: Settings) -> str:
    return listen.acme_webroot or (values.file_path(settings.acme_webroot, "nginx_offload_acme_webroot") if settings.acme_webroot else "")


# --- all routes ---


def _ports(route: Route) -> list[tuple[str, str]]:
    """The ports that a route is served on, and what each carries."""
    listen = route.listen
    if not listen.tls:
        return [(str(listen.port), _PLAIN)]
    beside = [(str(listen.http_port), _PLAIN)] if listen.redirect_http or listen.acme_webroot else []
    return [(str(listen.port), _TLS), *beside]


def _refuse_clashes(routes: Sequence[Route]) -> None:
    """A host twice on a port would be served by the first route only; a port can't be plain and TLS at once.

    The reading has looked at each group's routes; a host may be in several groups.
    """
    hosts: dict[tuple[str, str], str] = {}
    kinds: dict[str, tuple[str, str]] = {}
    for route in routes:
        name = route.name
        for port, kind in _ports(route):
            was, other = kinds.setdefault(port, (kind, name))
            if was != kind:
                raise EdgeError(
                    f"port {port} can't be both {was} and {kind}; route {other} has the other", where=f"edge_routes ({name}).listen",
                    fix="Choose another port", code="BAD_ROUTE",
                )  # fmt: skip
            for host in route.hosts:
                other = hosts.setdefault((host, port), name)
                if other != name:
                    raise EdgeError(
                        f"{host} is served by route {other} already on port {port}", where=f"edge_routes ({name}).hosts",
                        fix="Put both routes' paths into one route", code="BAD_ROUTE",
                    )  # fmt: skip


def _names_bucket(routes: Sequence[Route]) -> str:
    """nginx's default is a cache line, into which a name of 46 characters fits on most machines."""
    longest = max((len(name) for route in routes for name in route.hosts), default=0)
    return "" if longest <= 40 else "128" if longest <= 100 else "512"


def _refusals(routes: Sequence[Route], settings: Settings, behind: Mapping[str, Inner]) -> tuple[Refusal, ...]:
    ports: dict[str, dict[str, bool]] = {}
    for route in routes:
        for port, kind in _ports(route):
            found = ports.setdefault(port, {"tls": kind == _TLS, "http2": False, "http3": False})
            found["http2"] |= kind == _TLS and route.listen.http2
            found["http3"] |= kind == _TLS and route.listen.http3 and settings.http3
    return tuple(
        Refusal(
            listen=_listen(port, settings, found["tls"], found["http2"] and not settings.http2_directive, behind),
            quic=_listen(port, settings) if found["http3"] else (),
            behind=found["tls"] and port in behind and behind[port].told,
            tls=found["tls"],
            http2=found["http2"] and settings.http2_directive,
        )
        for port, found in ports.items()
    )
