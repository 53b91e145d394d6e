# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge route as a dataclass: every key, its kind and its default, in one place. What it is made of stands in :mod:`.parts`.

Templates get :meth:`Route.as_dict`, so the field names here are the keys that users write and templates read.
"""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional, cast

from .. import _lists, _values
from .._kube.labels import COMPONENT, LIST_LABEL, MANAGED_BY, ROUTE_LABEL
from .._schema import kinds
from .._schema.fields import boolean, choice, given, integer, list_of, mapping, nested, of, quoted, read, refuse
from .._schema.typed import build
from .access import Access, access_given, fits
from .parts import Backend, Gateway, KeyPair, Probe, UpstreamTls

#: On every object of role gateway_routes, and on the Secrets that private_ca makes for its gateways: it removes them.
GATEWAY_ROUTES = {COMPONENT: "gateway-routes"}


@dataclass(frozen=True)
class Hsts:
    """Strict-Transport-Security; ``max_age`` in seconds. ``true`` means these defaults."""

    max_age: int = of(integer(0, 10**9), 31536000)
    include_subdomains: bool = of(boolean, False)
    preload: bool = of(boolean, False)


def hsts(value: Any, where: str) -> Optional[Hsts]:
    """false, true, or an entry of :class:`Hsts`."""
    if isinstance(value, (bool, str, int)) and not str(value).lstrip().startswith("{"):
        return Hsts() if boolean(value, where) else None
    made: Hsts = read(Hsts, value, where)
    return made


@dataclass(frozen=True)
class Listen:
    """nginx's side towards clients. With ``mode`` passthrough clients see the server that their SNI selects."""

    mode: str = of(choice("terminate", "passthrough"), "terminate")
    port: int = of(kinds.port, 0)  # 443, or 80 without TLS
    http_port: int = of(kinds.port, 80)  # of the redirect and of ACME
    tls: bool = of(boolean, True)
    http2: bool = of(boolean, True)
    http3: bool = of(boolean, False)
    redirect_http: bool = of(boolean, True)
    acme_webroot: Optional[str] = of(kinds.file_path, None)
    hsts: Optional[Hsts] = of(hsts, None)
    certificate: Optional[KeyPair] = of(nested(KeyPair), None)

    def finished(self, where: str) -> Listen:
        """A certificate when, and only when, nginx speaks TLS to clients."""
        passes = self.mode == "passthrough"
        if passes and not self.tls:
            raise refuse(f"{where}.tls", "is off, but mode is passthrough: only TLS has an SNI", "Remove one of the two")
        if passes or not self.tls:
            extra = next((name for name in ("certificate", "hsts", "http3") if getattr(self, name)), "")
            if extra:
                off, way = ("mode is passthrough: nginx ends no TLS", "mode: terminate") if passes else ("tls is off", "tls: true")
                raise refuse(f"{where}.{extra}", f"is given, but {off}", f"Remove {extra}, or set {way}")
        if not self.tls:
            return dataclasses.replace(self, port=self.port or 80, http2=False, redirect_http=False)
        if self.certificate is None and not passes:
            raise refuse(f"{where}.certificate", "is missing", "Name a Secret, or give cert_file and key_file, or set tls: false")
        if self.redirect_http and (self.port or 443) == self.http_port:
            raise refuse(f"{where}.http_port", f"{self.http_port} is the TLS port too", "Choose another, or set redirect_http: false")
        return dataclasses.replace(self, port=self.port or 443, http2=self.http2 and not passes)


@dataclass(frozen=True)
class Requests:
    """How nginx passes requests on."""

    protocol: str = of(choice("http", "grpc"), "http")
    connect_timeout: str = of(kinds.duration, "5s")
    read_timeout: str = of(kinds.duration, "60s")
    send_timeout: str = of(kinds.duration, "60s")
    client_max_body_size: str = of(kinds.size, "")  # 0: any; nginx's 1m for HTTP, any for gRPC, whose streams have no end
    buffering: bool = of(boolean, True)  # false for server-sent events
    request_buffering: bool = of(boolean, True)
    websocket: bool = of(boolean, True)
    # nginx never repeats a request that is not idempotent by these alone.
    next_upstream: list[str] = of(
        list_of(choice("error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_429", "off"), some=True),
        ["error", "timeout"],
    )


@dataclass(frozen=True)
class Proxy(Requests):
    """How nginx talks to the gateway."""

    keepalive: int = of(integer(0, 10000), 64)  # idle connections kept for each nginx worker
    proxy_protocol: bool = of(boolean, False)  # tell the gateway the client's address; listen.mode passthrough only


def some_of_requests(value: Any, where: str) -> dict[str, Any]:
    """Those of :class:`Requests` that are given; the route's hold for the others."""
    asked = mapping(value, where)
    made = dataclasses.asdict(read(Requests, asked, where))
    return {name: made[name] for name in asked if given(asked[name])}


@dataclass(frozen=True)
class Path:
    """Requests to this path go to this Service. ``proxy``: the route's with what differs here; None where nothing does."""

    path: str = of(kinds.url_path, "/")
    match: str = of(choice("prefix", "exact"), "prefix")
    service: Backend = of(nested(Backend))
    proxy: Optional[Requests] = of(some_of_requests, None)  # a dictionary of what differs until the route is finished


@dataclass(frozen=True)
class RateLimit:
    """Limits for one client address; more requests are answered 429. ``burst`` requests above the rate pass at once."""

    rate: str = of(kinds.rate, "")
    burst: int = of(integer(0, 100000), 0)
    connections: int = of(integer(0, 65535), 0)  # at a time, nginx counts no further; 0: any number

    @staticmethod
    def shorthand(value: Any, _where: str) -> dict[str, Any]:
        """The rate."""
        return {"rate": value}

    def finished(self, where: str) -> RateLimit:
        """Some limit."""
        if not self.rate and (self.burst or not self.connections):
            raise refuse(f"{where}.rate", "is missing", "Write it as 10r/s")
        return self


def by_name(value: Any, where: str) -> Gateway:
    """A gateway of which only the name is known yet."""
    return Gateway(name=kinds.name(value, where))


@dataclass(frozen=True)
class Route:
    """One public name and everything that follows from it."""

    name: str = of(kinds.name)
    host: str = of(kinds.concrete_host, "")  # public name = Host header = SNI towards the gateway
    hosts: list[str] = of(list_of(kinds.host), [])
    on: str = of(kinds.group, "edge_nginx")
    gateway: Gateway = of(by_name, Gateway(name=""))  # written as a name; :mod:`.load` puts the gateway of that name here
    listen: Listen = of(nested(Listen))
    upstream_tls: UpstreamTls = of(nested(UpstreamTls), UpstreamTls())
    paths: list[Path] = of(list_of(nested(Path), some=True))
    proxy: Proxy = of(nested(Proxy), Proxy())
    rate_limit: Optional[RateLimit] = of(nested(RateLimit), None)
    access_log: str = of(choice("default", "json", "off"), "default")
    access: Optional[Access] = of(access_given, None)
    probe: Probe = of(nested(Probe), Probe())
    list_name: str = of(kinds.dns_label, "")  # the run's (``edge_list``), which :mod:`.load` puts here

    def finished(self, where: str) -> Route:
        """Names that follow from others, and paths with the most specific first: the mesh takes the first that matches."""
        hosts = list(dict.fromkeys([self.host, *self.hosts] if self.host else self.hosts))
        if not hosts:
            raise refuse(f"{where}.host", "is missing")
        if hosts[0].startswith("*"):
            raise refuse(
                f"{where}.hosts[0]",
                f"{quoted(hosts[0])} can't be the first host: SNI and probes need a full name",
                "Put one before it, or set host",
            )
        pairs = [(path.path, path.match) for path in self.paths]
        twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
        if twice:
            raise refuse(f"{where}.paths", f"{twice[0]} ({twice[1]}) is listed twice")
        if self.upstream_tls.mode == "passthrough" and pairs != [("/", "prefix")]:
            raise refuse(f"{where}.paths", "the gateway can't see paths when mode is passthrough", "Give one path: /")
        _agrees(dataclasses.replace(self, hosts=hosts), where)
        tls = self.upstream_tls
        own = {field.name: getattr(self.proxy, field.name) for field in dataclasses.fields(Requests)}
        paths = [
            dataclasses.replace(path, proxy=Requests(**{**own, **cast(dict[str, Any], path.proxy)}) if path.proxy else None)
            for path in self.paths
        ]
        return dataclasses.replace(
            self,
            host=hosts[0],
            hosts=hosts,
            paths=sorted(paths, key=lambda path: (path.match != "exact", -len(path.path))),
            upstream_tls=dataclasses.replace(
                tls, server_name=tls.server_name or hosts[0], credential=tls.credential or f"edge-{self.name}"
            ),
        )

    @property
    def labels(self) -> dict[str, str]:
        """What every object made for this route carries."""
        return {**MANAGED_BY, LIST_LABEL: self.list_name, ROUTE_LABEL: self.name}

    @property
    def owner(self) -> _lists.Owner:
        """Whose everything is that is made for this route."""
        return _lists.Owner(self.list_name, self.name)

    def requests(self, path: str) -> Requests:
        """How nginx passes on a request for this path, a query included: as the most specific entry that says so, else as the route."""
        asked = path.partition("?")[0]
        own = (each for each in self.paths if each.proxy and (asked == each.path if each.match == "exact" else asked.startswith(each.path)))
        return next((each.proxy for each in own if each.proxy), self.proxy)

    def as_dict(self) -> dict[str, Any]:
        """For templates, and to be carried between tasks as JSON."""
        return {**dataclasses.asdict(self), "labels": self.labels}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Route:
        """What :meth:`as_dict` made of a route, as that route again. Nothing is checked again."""
        return build(cls, data)


def _agrees(route: Route, where: str) -> None:
    """Refuses options that the route's mode has no use for, and what a mode can't do without.

    :raises EdgeError: naming the option.
    """
    if route.listen.mode == "passthrough":
        _passes(route, where)
    else:
        _ends(route, where)


def _ends(route: Route, where: str) -> None:
    if route.upstream_tls.mode == "mutual" and route.upstream_tls.client_certificate is None:
        raise refuse(
            f"{where}.upstream_tls.client_certificate", "is missing, and mode is mutual", "Name the Secret of nginx's client certificate"
        )
    if route.proxy.proxy_protocol:
        raise refuse(
            f"{where}.proxy.proxy_protocol", "needs listen.mode passthrough", "Remove it: the gateway gets X-Forwarded-For",
            why="nginx sends it only on connections whose TLS it passes on",
        )  # fmt: skip
    grpc = route.proxy.protocol == "grpc" or any(cast(dict[str, Any], path.proxy or {}).get("protocol") == "grpc" for path in route.paths)
    if grpc and not route.listen.http2:
        raise refuse(f"{where}.proxy.protocol", "grpc needs HTTP/2 from clients, but it is off", "Set listen.tls and listen.http2 to true")


def _passes(route: Route, where: str) -> None:
    tls, unopened = route.upstream_tls, "is given, but listen.mode is passthrough"
    if tls.client_certificate:
        raise refuse(f"{where}.upstream_tls.client_certificate", f"{unopened}: clients show their own certificates", "Remove it")
    if tls.server_name not in ("", route.hosts[0]):
        raise refuse(f"{where}.upstream_tls.server_name", f"{unopened}: clients send the SNI themselves", "Remove it")
    for index, host in enumerate(route.hosts):
        _values.map_name(host, f"{where}.hosts[{index}]")
    same = {name: getattr(route.proxy, name) for name in ("connect_timeout", "read_timeout", "proxy_protocol")}
    nothing_more = Proxy(**same)
    extra = "rate_limit" if route.rate_limit else "proxy" if route.proxy != nothing_more else ""
    extra = extra or next((f"paths[{index}].proxy" for index, path in enumerate(route.paths) if path.proxy), "")
    if extra:
        raise refuse(
            f"{where}.{extra}", "needs HTTP requests, but listen.mode is passthrough",
            "Remove it; of proxy only connect_timeout, read_timeout and proxy_protocol apply",
            why="nginx doesn't decrypt this TLS",
        )  # fmt: skip


def enforceable(route: Route, where: str) -> None:
    """Refuses access that this gateway can't enforce for this route."""
    if route.access is None:
        return
    gateway = route.gateway
    fits(route.access, gateway.front, where)
    if route.upstream_tls.mode == "passthrough":
        unseen = [rule for rule in (*route.access.allow, *route.access.deny) if rule.sees_requests]
        if unseen or gateway.front.hops:
            what = "an address in X-Forwarded-For" if not unseen else "paths, methods, claims and identities"
            raise refuse(where, f"the gateway can't see {what} when mode is passthrough", "Let the app decide, or choose another mode")
    wildcard = next((host for host in route.hosts if host.startswith("*")), None)
    if wildcard and gateway.istio_gateway:
        raise refuse(
            where, f"a policy can't match {wildcard} together with a port",
            "Name the hosts one by one, set access for the whole gateway, or leave istio_gateway out",
            why="in our own Gateway the server name identifies the route, but this Gateway is shared",
        )  # fmt: skip
