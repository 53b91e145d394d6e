# SPDX-License-Identifier: GPL-3.0-or-later
"""From routes to what templates need to write a VM's nginx configuration. The reading has checked every value; here it is formatted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ... import _values as values
from ..._errors import EdgeError
from ..._routes.schema import Hsts, Listen, Requests, Route
from . import passages, sockets
from .addresses import Addresses, addresses
from .blocks import Constant, Limit, Line, Location, Offload, Part, Redirect, Server, Settings, Shared, Site, Upstream
from .layout import Files, read, short
from .material import Material
from .probes import probe


def offload(routes: Sequence[Route], upstreams: Mapping[str, Sequence[Any]], settings: Settings) -> Offload:
    """The configuration for these routes.

    :param upstreams: gateway name to ``address:port``; a gateway's own ``addresses`` stand in where it has none.
    :raises EdgeError: naming the route and the field, for what this host's nginx can't do.
    """
    files, exports = Files(), Material(values.file_path(settings.material, "material"))
    reached: dict[str, Addresses] = {}
    parts = []
    for route in routes:
        if route.gateway.name not in reached:
            reached[route.gateway.name] = addresses(route.gateway, upstreams, settings, f"edge_routes ({route.name})")
        parts.append(_part(route, reached[route.gateway.name], settings, files, exports))
    return Offload(
        http=files.of(stream=False),
        stream=files.of(stream=True),
        parts=tuple(parts),
        ports=tuple(dict.fromkeys(port for route in routes for port, _kind in sockets.ports(route))),
        passes=any(map(passages.passes, routes)),
        lookup=tuple(dict.fromkeys(name for found in reached.values() for name in found.lookup)),
        exports=tuple(exports.exports.values()),
    )


def as_dict(made: Offload) -> dict[str, Any]:
    """Plain data for a template."""
    return dataclasses.asdict(made)


def _part(route: Route, reached: Addresses, settings: Settings, files: Files, exports: Material) -> Part:
    """What the route needs, whatever the other routes are."""
    material, own, shared = Material(exports.folder), [], [*sockets.refusals(route, settings, files)]
    server = None
    if passages.passes(route):
        # nginx trusts nobody there; role verify does, from this host
        material.beside(route.upstream_tls.server_ca)
    else:
        server, upstreams = _server(route, reached, settings, material)
        shared += [files.shared(f"upstream-{one.name}.conf", one) for one in upstreams]
        if any(location.websocket for location in server.locations):
            shared.append(files.shared("websocket.conf", Constant("websocket")))
        if server.sockets:
            shared.append(sockets.listening(route, settings, files))
    site = Site(route.name, _redirect(route, settings), server)
    if site.redirect or site.server:
        own.append(files.own(f"route-{route.name}.conf", site))
    shared += _names_bucket(route, files)
    if route.listen.tls:
        own.append(passages.names(route, reached, files))
        shared += passages.shared(route, reached, settings, files)
    exports.add(material)
    ports = sockets.ports(route)
    hosts = {f"{port}/{host}": f"host {host} on port {port}" for port, _kind in ports for host in route.hosts}
    inner = {"nginx_offload_inner_port": values.port(settings.inner_port, "nginx_offload_inner_port")} if route.listen.tls else {}
    return Part(
        name=route.name,
        files=tuple(own),
        shared=tuple(shared),
        depends_on=tuple(sorted(material.files)),
        material=material.exported if settings.export else (),
        claims={f"route {route.name}": f"route {route.name}", **hosts},
        agrees={**{f"port {port}": kind for port, kind in ports}, **inner},
        probes=(probe(route, settings.probe_path),),
    )


def _server(route: Route, reached: Addresses, settings: Settings, material: Material) -> tuple[Server, list[Upstream]]:
    """The server, and an upstream for each protocol that the route speaks to its gateway.

    nginx shares TLS sessions and pooled connections within an upstream, and with them the identity of whoever opened them: a location
    without a client certificate would be let in with another's. So an upstream is named by all that makes a connection to the gateway what
    it is, and by what it says itself. The protocol is part of it: a pooled HTTP/1.1 connection is of no use to gRPC.
    """
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
    keepalive = str(route.proxy.keepalive)
    name = f"edge_{short(identity, reached.servers, reached.resolver, reached.known, keepalive)}"
    locations = tuple(_locations(route, name))
    server = Server(
        route=route.name,
        gateway=route.gateway.name,
        names=" ".join(route.hosts),
        listen=() if listen.tls else sockets.everywhere(port, settings),
        sockets=read(sockets.name(route, settings)) if listen.tls else "",
        quic=sockets.everywhere(port, settings) if quic else (),
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
        locations=locations,
        limit=_limit(route),
        access_log=route.access_log,
        log_file=values.file_path(settings.access_log, "nginx_offload_access_log") if route.access_log == "json" else "",
    )
    names = dict.fromkeys(location.upstream for location in locations)
    return server, [Upstream(each, reached.servers, reached.resolver, reached.zone, reached.known, keepalive) for each in names]


def _locations(route: Route, upstream: str) -> Iterator[Location]:
    """The whole site, and the paths with ways of their own. The mesh decides which path is answered at all."""
    own = [(path, path.proxy) for path in route.paths if path.proxy]
    whole: Requests = next((proxy for path, proxy in own if (path.path, path.match) == ("/", "prefix")), route.proxy)
    yield _location("/", whole, upstream)
    exact = {path.path for path, _proxy in own if path.match == "exact"}
    for path, proxy in own:
        if (path.path, path.match) == ("/", "prefix"):
            continue
        yield _location(f"= {path.path}" if path.match == "exact" else path.path, proxy, upstream)
        if path.match == "prefix" and path.path.endswith("/") and path.path[:-1] not in exact:
            # nginx would answer the path without its last slash by a redirect of its own
            yield _location(f"= {path.path[:-1]}", whole, upstream)


def _location(match: str, proxy: Requests, upstream: str) -> Location:
    grpc = proxy.protocol == "grpc"
    return Location(
        match=match,
        module="grpc" if grpc else "proxy",
        upstream=f"{upstream}_grpc" if grpc else upstream,
        connect_timeout=proxy.connect_timeout,
        read_timeout=proxy.read_timeout,
        send_timeout=proxy.send_timeout,
        next_upstream=" ".join(proxy.next_upstream),
        client_max_body_size=proxy.client_max_body_size or ("0" if grpc else ""),
        buffering=proxy.buffering,
        request_buffering=proxy.request_buffering,
        websocket=proxy.websocket and not grpc,
    )


def _limit(route: Route) -> Optional[Limit]:
    asked = route.rate_limit
    return Limit(f"edge_{route.name}", asked.rate, str(asked.burst), str(asked.connections)) if asked else None


def _redirect(route: Route, settings: Settings) -> Optional[Redirect]:
    listen = route.listen
    if not listen.tls or not (listen.redirect_http or listen.acme_webroot):
        return None
    return Redirect(
        names=" ".join(route.hosts),
        listen=sockets.everywhere(str(listen.http_port), settings),
        acme_webroot=_webroot(listen, settings),
        target=("https://$host" + ("" if listen.port == 443 else f":{listen.port}") + "$request_uri") if listen.redirect_http else "",
    )


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


def _names_bucket(route: Route, files: Files) -> Iterator[Shared]:
    """Room for long names in nginx's tables. Its default is a cache line, into which a name of 46 characters fits on most machines."""
    longest = max(map(len, route.hosts))
    if longest > 40:
        size = 128 if longest <= 100 else 512
        yield files.shared("names-bucket.conf", Line(f"server_names_hash_bucket_size {size}"), size)
        if route.listen.tls:
            yield files.shared("stream/names/bucket.inc", Line(f"map_hash_bucket_size {size}"), size)
