"""From routes to what templates need to write a VM's nginx configuration: checked text only, nothing left to escape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ... import _values as values
from ..._errors import EdgeError
from .addresses import Addresses, addresses
from .blocks import Limit, Location, Offload, Redirect, Refusal, Server, Settings, Upstream
from .material import Material
from .passages import Inner, inners, passages, passes

_NEXT_UPSTREAM = ("error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_429", "off")
#: What a port can carry; one port carries one of them.
_PLAIN, _TLS = "plain HTTP", "TLS"
_Route = Mapping[str, Any]


def offload(routes: Sequence[_Route], upstreams: Mapping[str, Sequence[Any]], settings: Settings) -> Offload:
    """The configuration for these complete routes (see the filter ``routes``).

    :param upstreams: gateway name to ``address:port``; a gateway's own ``addresses`` stand in where it has none.
    :raises EdgeError: naming the route and the field.
    """
    material = Material(values.file_path(settings.material, "material"))
    reached = {
        route["gateway"]["name"]: addresses(route["gateway"], upstreams, settings, f"edge_routes ({_name(route)})")
        for route in reversed(routes)
    }
    _refuse_clashes(routes)
    behind = inners(routes, settings)
    blocks: dict[str, Upstream] = {}
    servers = []
    for route in (one for one in routes if not passes(one)):
        server = _server(route, settings, material, behind)
        for block in _upstreams(route, reached[route["gateway"]["name"]], server):
            known = blocks.get(block.name, block)
            if known.identity != block.identity or known.servers != block.servers:
                raise EdgeError(
                    "shares its identity with another route although their TLS to the gateway differs",
                    where=f"edge_routes ({server.route}).identity", fix="This is a defect of edgemesh.nginx_istio, please report it",
                )  # fmt: skip
            # connections are shared, so the larger pool serves both
            blocks[block.name] = max(known, block, key=lambda one: int(one.keepalive))
        servers.append(server)
    for route in filter(passes, routes):
        # nginx trusts nobody there; role verify does, from this host
        material.beside(route["upstream_tls"]["server_ca"], f"edge_routes ({_name(route)}).upstream_tls.server_ca")
    stream_upstreams, listeners, passed = passages(routes, reached, behind, settings)
    return Offload(
        upstreams=tuple(blocks.values()),
        servers=tuple(servers),
        redirects=tuple(redirect for route in routes for redirect in _redirect(route, settings)),
        refusals=_refusals(routes, settings, behind),
        stream_upstreams=stream_upstreams,
        passages=listeners,
        passed=passed,
        ports=tuple(dict.fromkeys(values.port(port) for route in routes for port, _kind in _ports(route))),
        names_bucket=_names_bucket(routes),
        lookup=tuple(dict.fromkeys(name for found in reached.values() for name in found.lookup)),
        exports=tuple(material.exports.values()),
        depends_on=tuple(sorted(material.files)),
    )


def as_dict(made: Offload) -> dict[str, Any]:
    """Plain data for a template."""
    return dataclasses.asdict(made)


def _name(route: _Route) -> str:
    return values.name(route["name"], "edge_routes.name")


# --- one route ---


def _server(route: _Route, settings: Settings, material: Material, behind: Mapping[str, Inner]) -> Server:
    name = _name(route)
    where = f"edge_routes ({name})"
    listen, tls = route["listen"], route["upstream_tls"]
    if tls["mode"] == "passthrough":
        raise EdgeError(
            "nginx ends the clients' TLS itself", where=f"{where}.upstream_tls.mode",
            fix="Use simple or mutual, or let nginx pass the clients' TLS on (listen.mode passthrough)", code="BAD_ROUTE",
        )  # fmt: skip
    front = values.boolean(listen["tls"], f"{where}.listen.tls")
    verify = values.boolean(tls["verify"], f"{where}.upstream_tls.verify")
    certificate, key = material.pair(listen["certificate"], f"{where}.listen.certificate") if front else ("", "")
    client = material.pair(tls["client_certificate"], f"{where}.upstream_tls.client_certificate") if tls["mode"] == "mutual" else ("", "")
    port = values.port(listen["port"], f"{where}.listen.port")
    quic = front and _http3(listen, settings, where)
    return Server(
        route=name,
        gateway=values.name(route["gateway"]["name"], f"{where}.gateway.name"),
        names=_names(route),
        port=port,
        listen=_listen(port, settings, front, _old_http2(listen, settings), behind),
        quic=_listen(port, settings) if quic else (),
        behind=front and port in behind,
        tls=front,
        http2=front and values.boolean(listen["http2"], f"{where}.listen.http2") and settings.http2_directive,
        certificate=certificate,
        key=key,
        hsts=_hsts(listen["hsts"], f"{where}.listen.hsts") if front else "",
        alt_svc=f'h3=":{port}"; ma=86400' if quic else "",
        acme_webroot=_webroot(listen, settings, where) if not front and listen["acme_webroot"] else "",
        sni=values.hostname(tls["server_name"], f"{where}.upstream_tls.server_name"),
        verify=verify,
        verify_depth=values.integer(tls["verify_depth"], f"{where}.upstream_tls.verify_depth", 1, 10),
        ca=material.authority(tls["server_ca"], f"{where}.upstream_tls.server_ca") if verify else "",
        client_certificate=client[0],
        client_key=client[1],
        locations=tuple(_locations(route, where)),
        limit=_limit(route, name, where),
        access_log=values.choice(route["access_log"], f"{where}.access_log", ("default", "json", "off")),
    )


def _locations(route: _Route, where: str) -> Iterator[Location]:
    """The whole site, and the paths with ways of their own. The mesh decides which path is answered at all."""
    own = [(index, path) for index, path in enumerate(route["paths"]) if path["proxy"]]
    whole = next((path["proxy"] for _index, path in own if (path["path"], path["match"]) == ("/", "prefix")), route["proxy"])
    yield _location(route, "/", whole, f"{where}.proxy")
    exact = {path["path"] for _index, path in own if path["match"] == "exact"}
    for index, path in own:
        if (path["path"], path["match"]) == ("/", "prefix"):
            continue
        place = f"{where}.paths[{index}]"
        text = values.url_path(path["path"], f"{place}.path")
        yield _location(route, f"= {text}" if path["match"] == "exact" else text, path["proxy"], f"{place}.proxy")
        if path["match"] == "prefix" and text.endswith("/") and text[:-1] not in exact:
            # nginx would answer the path without its last slash by a redirect of its own
            yield _location(route, f"= {text[:-1]}", whole, f"{where}.proxy")


def _location(route: _Route, match: str, proxy: Mapping[str, Any], where: str) -> Location:
    grpc = values.choice(proxy["protocol"], f"{where}.protocol", ("http", "grpc")) == "grpc"
    most = proxy["client_max_body_size"]
    return Location(
        match=match,
        module="grpc" if grpc else "proxy",
        upstream=_upstream_name(route, grpc),
        connect_timeout=values.duration(proxy["connect_timeout"], f"{where}.connect_timeout"),
        read_timeout=values.duration(proxy["read_timeout"], f"{where}.read_timeout"),
        send_timeout=values.duration(proxy["send_timeout"], f"{where}.send_timeout"),
        next_upstream=" ".join(values.choice(word, f"{where}.next_upstream", _NEXT_UPSTREAM) for word in proxy["next_upstream"]),
        client_max_body_size=values.size(most, f"{where}.client_max_body_size") if most != "" else "0" if grpc else "",
        buffering=values.boolean(proxy["buffering"], f"{where}.buffering"),
        request_buffering=values.boolean(proxy["request_buffering"], f"{where}.request_buffering"),
        websocket=values.boolean(proxy["websocket"], f"{where}.websocket"),
    )


def _upstream_name(route: _Route, grpc: bool) -> str:
    identity = values.identifier("_" + str(route["identity"]), f"edge_routes ({route['name']}).identity")
    return f"edge{identity}{'_grpc' if grpc else ''}"


def _upstreams(route: _Route, reached: Addresses, made: Server) -> Iterator[Upstream]:
    """One for each protocol that the route speaks to its gateway."""
    keepalive = values.integer(route["proxy"]["keepalive"], f"edge_routes ({made.route}).proxy.keepalive", 0, 10000)
    tls = (made.gateway, made.sni, made.verify, made.verify_depth, made.ca, made.client_certificate, made.client_key)
    for module, name in dict.fromkeys((location.module, location.upstream) for location in made.locations):
        yield Upstream(name, reached.servers, reached.resolver, reached.zone, keepalive, reached.known, identity=(*tls, module))


def _limit(route: _Route, name: str, where: str) -> Optional[Limit]:
    asked, where = route["rate_limit"], f"{where}.rate_limit"
    if not asked:
        return None
    return Limit(
        zone=f"edge_{name}",
        rate=values.rate(asked["rate"], f"{where}.rate") if asked["rate"] else "",
        burst=values.integer(asked["burst"], f"{where}.burst", 0, 100000),
        connections=values.integer(asked["connections"], f"{where}.connections", 0, 65535),
    )


def _redirect(route: _Route, settings: Settings) -> list[Redirect]:
    listen, where = route["listen"], f"edge_routes ({route['name']})"
    redirects = values.boolean(listen["redirect_http"], f"{where}.listen.redirect_http")
    if not values.boolean(listen["tls"], f"{where}.listen.tls") or not (redirects or listen["acme_webroot"]):
        return []
    port = values.port(listen["port"], f"{where}.listen.port")
    return [
        Redirect(
            route=_name(route),
            names=_names(route),
            listen=_listen(values.port(listen["http_port"], f"{where}.listen.http_port"), settings),
            acme_webroot=_webroot(listen, settings, where),
            target=("https://$host" + ("" if port == "443" else f":{port}") + "$request_uri") if redirects else "",
        )
    ]


def _names(route: _Route) -> str:
    where = f"edge_routes ({route['name']}).hosts"
    return " ".join(values.hostname(host, f"{where}[{number}]", wildcard=True) for number, host in enumerate(route["hosts"]))


def _listen(
    port: str, settings: Settings, tls: bool = False, http2: bool = False, behind: Optional[Mapping[str, Inner]] = None
) -> tuple[str, ...]:
    words = (" ssl" if tls else "") + (" http2" if http2 else "")
    inner = (behind or {}).get(port) if tls else None
    if inner:
        return (f"{inner.address}{words}{' proxy_protocol' if inner.told else ''}",)
    return tuple(f"{address}{port}{words}" for address in (["", "[::]:"] if settings.ipv6 else [""]))


def _old_http2(listen: Mapping[str, Any], settings: Settings) -> bool:
    return values.boolean(listen["tls"]) and values.boolean(listen["http2"]) and not settings.http2_directive


def _http3(listen: Mapping[str, Any], settings: Settings, where: str) -> bool:
    if not values.boolean(listen["http3"], f"{where}.listen.http3"):
        return False
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


def _hsts(hsts: Mapping[str, Any] | None, where: str) -> str:
    if not hsts:
        return ""
    text = "max-age=" + values.integer(hsts["max_age"], f"{where}.max_age", 0, 10**9)
    for word, option in (("includeSubDomains", "include_subdomains"), ("preload", "preload")):
        text += f"; {word}" if values.boolean(hsts[option], f"{where}.{option}") else ""
    return text


def _webroot(listen: Mapping[str, Any], settings: Settings, where: str) -> str:
    chosen = listen["acme_webroot"] or settings.acme_webroot
    return values.file_path(chosen, f"{where}.listen.acme_webroot") if chosen else ""


# --- all routes ---


def _ports(route: _Route) -> list[tuple[str, str]]:
    """The ports that a route is served on, and what each carries."""
    listen = route["listen"]
    if not values.boolean(listen["tls"]):
        return [(str(listen["port"]), _PLAIN)]
    found = [(str(listen["port"]), _TLS)]
    if values.boolean(listen["redirect_http"]) or listen["acme_webroot"]:
        found.append((str(listen["http_port"]), _PLAIN))
    return found


def _refuse_clashes(routes: Sequence[_Route]) -> None:
    """A host twice on a port would be served by the first route only; a port can't be plain and TLS at once."""
    hosts: dict[tuple[str, str], str] = {}
    kinds: dict[str, tuple[str, str]] = {}
    for route in routes:
        name = str(route["name"])
        for port, kind in _ports(route):
            was, other = kinds.setdefault(port, (kind, name))
            if was != kind:
                raise EdgeError(
                    f"port {port} can't be both {was} and {kind}; route {other} has the other", where=f"edge_routes ({name}).listen",
                    fix="Choose another port", code="BAD_ROUTE",
                )  # fmt: skip
            for host in route["hosts"]:
                other = hosts.setdefault((str(host).lower(), port), name)
                if other != name:
                    raise EdgeError(
                        f"{host} is served by route {other} already on port {port}", where=f"edge_routes ({name}).hosts",
                        fix="Put both routes' paths into one route", code="BAD_ROUTE",
                    )  # fmt: skip


def _names_bucket(routes: Sequence[_Route]) -> str:
    """nginx's default is a cache line, into which a name of 46 characters fits on most machines."""
    longest = max((len(str(name)) for route in routes for name in route["hosts"]), default=0)
    return "" if longest <= 40 else "128" if longest <= 100 else "512"


def _refusals(routes: Sequence[_Route], settings: Settings, behind: Mapping[str, Inner]) -> tuple[Refusal, ...]:
    ports: dict[str, dict[str, bool]] = {}
    for route in routes:
        listen = route["listen"]
        for port, kind in _ports(route):
            found = ports.setdefault(values.port(port, "listen.port"), {"tls": kind == _TLS, "http2": False, "http3": False})
            found["http2"] |= kind == _TLS and values.boolean(listen["http2"])
            found["http3"] |= kind == _TLS and values.boolean(listen["http3"]) and settings.http3
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
