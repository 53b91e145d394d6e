"""Gateways and routes as dataclasses: every key, its kind and its default, in one place.

Output for roles is ``dataclasses.asdict`` of these, so the field names here are the keys that users write and roles read.
"""

# ruff: noqa: RUF009 - of() makes fields, as dataclasses.field() does
from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Optional

from .._kube.labels import MANAGED_BY, ROUTE_LABEL
from .._schema import kinds
from .._schema.fields import boolean, choice, given, integer, list_of, mapping, nested, of, quoted, read, refuse, wrong_type
from . import agreement
from .access import Access, Front, access_given, fits

# Secrets that only the next stage can name the namespace of: filled with the run's own namespace.
OWN_NAMESPACE = ""
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")


@dataclass(frozen=True)
class SecretName:
    """A Secret (or ConfigMap) by name; as text ``name`` or ``namespace/name``."""

    namespace: str = of(kinds.dns_label, OWN_NAMESPACE)
    name: str = of(kinds.object_name)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """``name`` or ``namespace/name``."""
        if not isinstance(value, str):
            raise wrong_type(value, where, "the name of a Secret")
        namespace, _slash, name = value.strip().rpartition("/")
        return {"namespace": namespace, "name": name}


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key: in a Secret, or already in files on the hosts that use it. A text names a Secret."""

    secret: Optional[SecretName] = of(nested(SecretName), None)
    cert_file: Optional[str] = of(kinds.file_path, None)
    key_file: Optional[str] = of(kinds.file_path, None)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """The Secret's name."""
        return {"secret": SecretName.shorthand(value, where)}

    def finished(self, where: str) -> KeyPair:
        """Exactly one of the two forms."""
        files = (self.cert_file, self.key_file)
        if (self.secret is None) == (files == (None, None)) or (self.secret is None and None in files):
            raise refuse(where, "needs either secret, or both cert_file and key_file")
        return self


@dataclass(frozen=True)
class Authority:
    """CA certificates: in a Secret, or in a file on the hosts that use it. A text names a Secret."""

    secret: Optional[SecretName] = of(nested(SecretName), None)
    file: Optional[str] = of(kinds.file_path, None)

    @staticmethod
    def shorthand(value: Any, where: str) -> dict[str, Any]:
        """The Secret's name."""
        return {"secret": SecretName.shorthand(value, where)}

    def finished(self, where: str) -> Authority:
        """Exactly one of the two forms."""
        if (self.secret is None) == (self.file is None):
            raise refuse(where, "needs either secret or file")
        return self


OWN_CA = Authority(secret=SecretName(name="edge-ca"))


@dataclass(frozen=True)
class Gateway:
    """An ingress gateway of the mesh: where it lives, and how it is reached from outside."""

    name: str = of(kinds.name)
    namespace: str = of(kinds.dns_label, "istio-system")
    service: str = of(kinds.dns_label, "istio-ingressgateway")
    port: str = of(kinds.service_port, "https")  # of the Service: its name, or its number
    address: str = of(choice("node_ports", "load_balancer", "addresses"), "node_ports")
    addresses: list[str] = of(list_of(kinds.host_port), [])  # host:port, when address is "addresses"
    address_types: list[str] = of(list_of(choice(*ADDRESS_TYPES), some=True), list(ADDRESS_TYPES))
    istio_gateway: Optional[str] = of(kinds.namespaced_name, None)  # an existing Istio Gateway to attach routes to
    selector: dict[str, str] = of(kinds.labels, {})  # the gateway pods' labels; found from the Service when empty
    front: Front = of(nested(Front), Front(hops=1))
    access: Optional[Access] = of(access_given, None)  # who may come in, whatever the route

    def finished(self, where: str) -> Gateway:
        """Addresses given mean that these are used."""
        fits(self.access, self.front, f"{where}.access")
        if self.addresses and self.address == "node_ports":
            return dataclasses.replace(self, address="addresses")
        if (self.address == "addresses") != bool(self.addresses):
            raise refuse(f"{where}.addresses", "and address disagree", "Set address: addresses together with addresses: [host:port]")
        return self


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
    """What clients of the VM's nginx see. ``mode`` passthrough: not nginx itself, but whoever their SNI leads to."""

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
            raise refuse(f"{where}.tls", "is off, but mode is passthrough: only TLS has an SNI to go by", "Remove one of the two")
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
class UpstreamTls:
    """The TLS from nginx to the gateway. ``mode`` says what the gateway asks for."""

    mode: str = of(choice("simple", "mutual", "passthrough"), "simple")
    server_name: str = of(kinds.concrete_host, "")  # SNI, and the name that is verified; the route's host
    verify: bool = of(boolean, True)
    verify_depth: int = of(integer(1, 10), 3)
    server_ca: Authority = of(nested(Authority), OWN_CA)
    client_certificate: Optional[KeyPair] = of(nested(KeyPair), None)
    client_names: list[str] = of(list_of(kinds.host), [])  # names in the client certificate; the gateway accepts no others
    client_ca: Optional[Authority] = of(nested(Authority), None)  # who signs clients, for the gateway; server_ca
    credential: str = of(kinds.credential, "")  # the gateway's Secret, in its pods' namespace; edge-<route>

    def finished(self, where: str) -> UpstreamTls:
        """Client certificates exactly where the gateway asks for them."""
        if self.mode == "simple" and (self.client_certificate or self.client_ca or self.client_names):
            extra = next(name for name in ("client_certificate", "client_ca", "client_names") if getattr(self, name))
            raise refuse(
                f"{where}.{extra}", "is given, but mode is simple: the gateway won't ask for a client certificate", "Set mode: mutual"
            )
        if self.mode != "mutual":
            return self
        client_ca = self.client_ca or self.server_ca
        if client_ca.secret is None:
            raise refuse(f"{where}.client_ca", "must name a Secret: the gateway can't read a file of the VM")
        return dataclasses.replace(self, client_ca=client_ca)


@dataclass(frozen=True)
class Backend:
    """A Service in the mesh and its port."""

    namespace: str = of(kinds.dns_label)
    name: str = of(kinds.dns_label)
    port: int = of(kinds.port)


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
    """Requests to this path go to this Service. ``proxy``: what differs from the route's; complete once the route is finished."""

    path: str = of(kinds.url_path, "/")
    match: str = of(choice("prefix", "exact"), "prefix")
    service: Backend = of(nested(Backend))
    proxy: Any = of(some_of_requests, None)


@dataclass(frozen=True)
class RateLimit:
    """What one client address may ask for; more is answered 429. ``burst`` requests above the rate pass at once."""

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


@dataclass(frozen=True)
class Probe:
    """The request that proves the route, and the answer that is right."""

    path: str = of(kinds.url_path, "/")
    status: int = of(integer(100, 599), 200)
    method: str = of(choice("GET", "HEAD", "OPTIONS", "POST"), "GET")


@dataclass(frozen=True)
class Route:
    """One public name and everything that follows from it."""

    name: str = of(kinds.name)
    host: str = of(kinds.concrete_host, "")  # public name = Host header = SNI towards the gateway
    hosts: list[str] = of(list_of(kinds.host), [])
    on: str = of(kinds.group, "edge_nginx")
    gateway: str = of(kinds.name, "")
    listen: Listen = of(nested(Listen))
    upstream_tls: UpstreamTls = of(nested(UpstreamTls), UpstreamTls())
    paths: list[Path] = of(list_of(nested(Path), some=True))
    proxy: Proxy = of(nested(Proxy), Proxy())
    rate_limit: Optional[RateLimit] = of(nested(RateLimit), None)
    access_log: str = of(choice("default", "json", "off"), "default")
    access: Optional[Access] = of(access_given, None)
    probe: Probe = of(nested(Probe), Probe())

    def finished(self, where: str) -> Route:
        """Names that follow from others, and paths with the most specific first: the mesh takes the first that matches."""
        hosts = list(dict.fromkeys([self.host, *self.hosts] if self.host else self.hosts))
        if not hosts:
            raise refuse(f"{where}.host", "is missing")
        if hosts[0].startswith("*"):
            raise refuse(
                f"{where}.hosts[0]",
                f"{quoted(hosts[0])} can't stand first: SNI and probes need a full name",
                "Put one before it, or set host",
            )
        pairs = [(path.path, path.match) for path in self.paths]
        twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
        if twice:
            raise refuse(f"{where}.paths", f"{twice[0]} ({twice[1]}) is there twice")
        if self.upstream_tls.mode == "passthrough" and pairs != [("/", "prefix")]:
            raise refuse(f"{where}.paths", "the gateway can't see paths when mode is passthrough", "Give one path: /")
        agreement.check(dataclasses.replace(self, hosts=hosts), where)
        tls = self.upstream_tls
        own = {field.name: getattr(self.proxy, field.name) for field in dataclasses.fields(Requests)}
        paths = [dataclasses.replace(path, proxy=Requests(**{**own, **path.proxy}) if path.proxy else None) for path in self.paths]
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
        return {**MANAGED_BY, ROUTE_LABEL: self.name}


def enforceable(route: Route, gateway: Gateway, where: str) -> None:
    """Refuses access that this gateway can't enforce for this route."""
    if route.access is None:
        return
    fits(route.access, gateway.front, where)
    if route.upstream_tls.mode == "passthrough":
        unseen = [rule for rule in (*route.access.allow, *route.access.deny) if rule.sees_requests]
        if unseen or gateway.front.hops:
            what = "an address in X-Forwarded-For" if not unseen else "paths, methods, claims and identities"
            raise refuse(where, f"the gateway can't see {what} when mode is passthrough", "Let the app decide, or choose another mode")
    wildcard = next((host for host in route.hosts if host.startswith("*")), None)
    if wildcard and gateway.istio_gateway:
        raise refuse(
            where, f"a policy can't name {wildcard} with every port that a client may write after it",
            "Name the hosts one by one, set access for the whole gateway, or leave istio_gateway out",
            why="in a Gateway of ours the server name stands for the route, but this one is shared",
        )  # fmt: skip


@dataclass(frozen=True)
class EgressTls:
    """The TLS from the egress gateway to the server outside."""

    mode: str = of(choice("simple", "mutual"), "simple")
    server_names: list[str] = of(list_of(kinds.host), [])  # accepted in the server's certificate; the route's host
    server_ca: Optional[SecretName] = of(nested(SecretName), None)  # the system's CAs when not given
    client_certificate: Optional[SecretName] = of(nested(SecretName), None)

    def finished(self, where: str) -> EgressTls:
        """A client certificate exactly when the mode is mutual."""
        if (self.mode == "mutual") != (self.client_certificate is not None):
            raise refuse(f"{where}.client_certificate", f"and mode {self.mode} disagree", "Give it when, and only when, mode is mutual")
        return self


@dataclass(frozen=True)
class EgressRoute:
    """A name outside the mesh that an app calls over plain HTTP; the egress gateway adds the TLS."""

    name: str = of(kinds.name)
    host: str = of(kinds.concrete_host)
    http_port: int = of(kinds.port, 80)
    port: int = of(kinds.port, 443)
    upstream_tls: EgressTls = of(nested(EgressTls), EgressTls())

    def finished(self, where: str) -> EgressRoute:
        """The certificate's name is the host's unless said otherwise."""
        tls = self.upstream_tls
        return dataclasses.replace(self, upstream_tls=dataclasses.replace(tls, server_names=tls.server_names or [self.host]))


def identity(gateway: dict[str, Any], upstream_tls: dict[str, Any]) -> str:
    """12 hex digits for what a TLS connection to the gateway is: two routes share an nginx ``upstream`` only if these are equal.

    nginx shares TLS sessions and pooled connections within an upstream, and with them the identity of whoever opened them.
    """
    # What stands before it, and who may come in, is no part of the connection.
    peer = {name: value for name, value in gateway.items() if name not in ("front", "access")}
    parts = [peer, *(upstream_tls[key] for key in ("server_name", "client_certificate", "server_ca", "verify", "verify_depth"))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
