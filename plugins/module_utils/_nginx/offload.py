"""From routes to what a template needs to write a VM's nginx configuration: checked text only, nothing left to escape."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from .._errors import EdgeError
from . import values

#: Stands for addresses that only the run can find out, in check mode. nginx must be able to test the rest.
UNKNOWN = "192.0.2.1:443"
_NEXT_UPSTREAM = ("error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_429", "off")


@dataclass(frozen=True)
class Upstream:
    """One ``upstream`` block. ``identity`` is all that makes a TLS connection what it is.

    nginx shares TLS sessions and pooled connections within an upstream, and with them the identity of whoever opened
    them: a location without a client certificate would be let in with another's. So nothing is shared but what is equal.
    """

    name: str
    servers: tuple[str, ...]
    zone: str
    keepalive: str
    known: bool
    identity: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True)
class Server:
    """One ``server`` block towards the gateway, every value ready to be written."""

    route: str
    names: str
    listen: tuple[str, ...]
    tls: bool
    http2: bool
    certificate: str
    key: str
    hsts: str
    acme_webroot: str
    upstream: str
    sni: str
    verify: bool
    verify_depth: str
    ca: str
    client_certificate: str
    client_key: str
    connect_timeout: str
    read_timeout: str
    send_timeout: str
    next_upstream: str
    websocket: bool


@dataclass(frozen=True)
class Redirect:
    """The ``server`` on the plain port of a route with TLS: ACME's challenges, and ``target`` or nothing for the rest."""

    route: str
    names: str
    listen: tuple[str, ...]
    acme_webroot: str
    target: str
    http2: bool = False


@dataclass(frozen=True)
class Refusal:
    """The ``server`` for unknown host names on one port."""

    listen: tuple[str, ...]
    tls: bool
    http2: bool
    names: str = '""'


@dataclass(frozen=True)
class Offload:
    """The whole: blocks for the template, Secrets to bring to the host, and files that the configuration depends on.

    ``names_bucket`` is the size that nginx's table of server names needs, empty where its default will do.
    """

    upstreams: tuple[Upstream, ...]
    servers: tuple[Server, ...]
    redirects: tuple[Redirect, ...]
    refusals: tuple[Refusal, ...]
    names_bucket: str
    exports: tuple[dict[str, Any], ...]
    depends_on: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """What holds for all routes of a host.

    :param version: of nginx, as ``1.22.1``; empty where it isn't known yet, which is taken for an old one.
    :param material: the folder for material from Secrets.
    :param acme_webroot: for routes that name none themselves.
    :param check: addresses may be missing.
    """

    version: str = ""
    material: str = "/etc/edgemesh/tls"
    acme_webroot: str = ""
    ipv6: bool = True
    check: bool = False

    @property
    def http2_directive(self) -> bool:
        """``http2 on`` since 1.25.1; a word of ``listen`` before."""
        return tuple(int(part) for part in re.findall(r"[0-9]+", self.version)[:3]) >= (1, 25, 1)


def offload(routes: Sequence[Mapping[str, Any]], upstreams: Mapping[str, Sequence[Any]], settings: Settings) -> Offload:
    """The configuration for these complete routes (see the filter ``routes``).

    :param upstreams: gateway name to ``address:port``; a gateway's own ``addresses`` stand in where it has none.
    :raises EdgeError: naming the route and the field.
    """
    material = _Material(values.file_path(settings.material, "material"))
    blocks: dict[str, Upstream] = {}
    servers, redirects = [], []
    for route in routes:
        made = _server(route, settings, material)
        block = _upstream(route, upstreams, settings, made)
        known = blocks.get(block.name, block)
        if known.identity != block.identity or known.servers != block.servers:
            raise EdgeError(
                "shares its identity with another route although their TLS to the gateway differs",
                where=f"edge_routes ({made.route}).identity", fix="This is a defect of edgemesh.nginx_istio, please report it",
            )  # fmt: skip
        # connections are shared, so the larger pool serves both
        blocks[block.name] = max(known, block, key=lambda one: int(one.keepalive))
        servers.append(made)
        redirects += _redirect(route, settings)
    _refuse_clashes(routes)
    return Offload(
        upstreams=tuple(blocks.values()),
        servers=tuple(servers),
        redirects=tuple(redirects),
        refusals=_refusals(routes, settings),
        names_bucket=_names_bucket(servers),
        exports=tuple(material.exports.values()),
        depends_on=tuple(sorted(material.files)),
    )


def as_dict(made: Offload) -> dict[str, Any]:
    """Plain data for a template."""
    return dataclasses.asdict(made)


# --- one route ---


def _server(route: Mapping[str, Any], settings: Settings, material: _Material) -> Server:
    name = values.name(route["name"], "edge_routes.name")
    where = f"edge_routes ({name})"
    listen, tls, proxy = route["listen"], route["upstream_tls"], route["proxy"]
    if tls["mode"] == "passthrough":
        raise EdgeError(
            "nginx_offload ends the clients' TLS itself", where=f"{where}.upstream_tls.mode", fix="Use simple or mutual", code="BAD_ROUTE"
        )
    front = values.boolean(listen["tls"], f"{where}.listen.tls")
    verify = values.boolean(tls["verify"], f"{where}.upstream_tls.verify")
    certificate, key = material.pair(listen["certificate"], f"{where}.listen.certificate") if front else ("", "")
    client = material.pair(tls["client_certificate"], f"{where}.upstream_tls.client_certificate") if tls["mode"] == "mutual" else ("", "")
    return Server(
        route=name,
        names=_names(route),
        listen=_listen(listen["port"], settings, tls=front, http2=_old_http2(listen, settings), where=f"{where}.listen.port"),
        tls=front,
        http2=front and values.boolean(listen["http2"], f"{where}.listen.http2") and settings.http2_directive,
        certificate=certificate,
        key=key,
        hsts=_hsts(listen["hsts"], f"{where}.listen.hsts") if front else "",
        acme_webroot=_webroot(listen, settings, where) if not front and listen["acme_webroot"] else "",
        upstream=f"edge_{values.identifier('_' + str(route['identity']), f'{where}.identity')[1:]}",
        sni=values.hostname(tls["server_name"], f"{where}.upstream_tls.server_name"),
        verify=verify,
        verify_depth=values.integer(tls["verify_depth"], f"{where}.upstream_tls.verify_depth", 1, 10),
        ca=material.authority(tls["server_ca"], f"{where}.upstream_tls.server_ca") if verify else "",
        client_certificate=client[0],
        client_key=client[1],
        connect_timeout=values.duration(proxy["connect_timeout"], f"{where}.proxy.connect_timeout"),
        read_timeout=values.duration(proxy["read_timeout"], f"{where}.proxy.read_timeout"),
        send_timeout=values.duration(proxy["send_timeout"], f"{where}.proxy.send_timeout"),
        next_upstream=" ".join(values.choice(word, f"{where}.proxy.next_upstream", _NEXT_UPSTREAM) for word in proxy["next_upstream"]),
        websocket=values.boolean(proxy["websocket"], f"{where}.proxy.websocket"),
    )


def _upstream(route: Mapping[str, Any], upstreams: Mapping[str, Sequence[Any]], settings: Settings, made: Server) -> Upstream:
    gateway, where = route["gateway"], f"edge_routes ({made.route})"
    given = [*(upstreams.get(gateway["name"]) or gateway["addresses"])]
    known = bool(given) and not any(str(one).startswith("(known after") for one in given)
    if not known and not settings.check:
        raise EdgeError(
            f"no address is known for gateway {gateway['name']}", where=f"{where}.gateway",
            fix="Give its addresses in edge_gateways, or in nginx_offload_upstreams", code="BAD_ROUTE",
        )  # fmt: skip
    servers = [
        values.endpoint(one, f"nginx_offload_upstreams.{gateway['name']}[{i}]") for i, one in enumerate(given if known else [UNKNOWN])
    ]
    return Upstream(
        name=made.upstream,
        servers=tuple(dict.fromkeys(servers)),
        # a server's state and its TLS session, which takes up to 4k
        zone=f"{64 + 8 * len(servers)}k",
        keepalive=values.integer(route["proxy"]["keepalive"], f"{where}.proxy.keepalive", 0, 10000),
        known=known,
        identity=(gateway["name"], made.sni, made.verify, made.verify_depth, made.ca, made.client_certificate, made.client_key),
    )


def _redirect(route: Mapping[str, Any], settings: Settings) -> list[Redirect]:
    listen, where = route["listen"], f"edge_routes ({route['name']})"
    redirects = values.boolean(listen["redirect_http"], f"{where}.listen.redirect_http")
    if not values.boolean(listen["tls"], f"{where}.listen.tls") or not (redirects or listen["acme_webroot"]):
        return []
    port = values.port(listen["port"], f"{where}.listen.port")
    return [
        Redirect(
            route=values.name(route["name"], "edge_routes.name"),
            names=_names(route),
            listen=_listen(listen["http_port"], settings, where=f"{where}.listen.http_port"),
            acme_webroot=_webroot(listen, settings, where),
            target=("https://$host" + ("" if port == "443" else f":{port}") + "$request_uri") if redirects else "",
        )
    ]


def _names(route: Mapping[str, Any]) -> str:
    where = f"edge_routes ({route['name']}).hosts"
    return " ".join(values.hostname(host, f"{where}[{number}]", wildcard=True) for number, host in enumerate(route["hosts"]))


def _listen(port: Any, settings: Settings, where: str, tls: bool = False, http2: bool = False) -> tuple[str, ...]:
    number = values.port(port, where)
    words = (" ssl" if tls else "") + (" http2" if http2 else "")
    return tuple(f"{address}{number}{words}" for address in (["", "[::]:"] if settings.ipv6 else [""]))


def _old_http2(listen: Mapping[str, Any], settings: Settings) -> bool:
    return values.boolean(listen["tls"]) and values.boolean(listen["http2"]) and not settings.http2_directive


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


def _refuse_clashes(routes: Sequence[Mapping[str, Any]]) -> None:
    """A host twice on a port would be served by the first route only; a port can't be plain and TLS at once."""
    hosts: dict[tuple[str, str], str] = {}
    kinds: dict[str, tuple[bool, str]] = {}
    for route in routes:
        listen, name = route["listen"], str(route["name"])
        front = values.boolean(listen["tls"])
        ports = [(str(listen["port"]), front)]
        if front and (values.boolean(listen["redirect_http"]) or listen["acme_webroot"]):
            ports.append((str(listen["http_port"]), False))
        for port, tls in ports:
            was, other = kinds.setdefault(port, (tls, name))
            if was != tls:
                raise EdgeError(
                    f"port {port} can't be both TLS and plain HTTP; route {other} has the other", where=f"edge_routes ({name}).listen",
                    fix="Choose another port", code="BAD_ROUTE",
                )  # fmt: skip
            for host in route["hosts"]:
                other = hosts.setdefault((str(host).lower(), port), name)
                if other != name:
                    raise EdgeError(
                        f"{host} is served by route {other} already on port {port}", where=f"edge_routes ({name}).hosts",
                        fix="Put both routes' paths into one route", code="BAD_ROUTE",
                    )  # fmt: skip


def _names_bucket(servers: Sequence[Server]) -> str:
    """nginx's default is a cache line, into which a name of 46 characters fits on most machines."""
    longest = max((len(name) for server in servers for name in server.names.split()), default=0)
    return "" if longest <= 40 else "128" if longest <= 100 else "512"


def _refusals(routes: Sequence[Mapping[str, Any]], settings: Settings) -> tuple[Refusal, ...]:
    ports: dict[str, tuple[bool, bool]] = {}
    for route in routes:
        listen = route["listen"]
        front, http2 = values.boolean(listen["tls"]), values.boolean(listen["http2"])
        port = str(listen["port"])
        ports[port] = (front, (front and http2) or ports.get(port, (False, False))[1])
        if front and (values.boolean(listen["redirect_http"]) or listen["acme_webroot"]):
            ports.setdefault(str(listen["http_port"]), (False, False))
    return tuple(
        Refusal(
            listen=_listen(port, settings, "listen.port", tls=tls, http2=http2 and not settings.http2_directive),
            tls=tls,
            http2=http2 and settings.http2_directive,
        )
        for port, (tls, http2) in ports.items()
    )


class _Material:
    """Collects which Secrets must come to the host as which files."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.exports: dict[tuple[str, str], dict[str, Any]] = {}
        self.files: set[str] = set()

    def pair(self, source: Optional[Mapping[str, Any]], where: str) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        if not source:
            raise EdgeError("is missing", where=where, fix="Name a Secret, or cert_file and key_file", code="BAD_ROUTE")
        if source["secret"]:
            return self._from_secret(source["secret"], where, "cert", "tls.crt"), self._from_secret(
                source["secret"], where, "key", "tls.key"
            )
        return self._file(source["cert_file"], f"{where}.cert_file"), self._file(source["key_file"], f"{where}.key_file")

    def authority(self, source: Mapping[str, Any], where: str) -> str:
        """Path of a CA's certificates."""
        if source["secret"]:
            return self._from_secret(source["secret"], where, "ca", "ca.crt")
        return self._file(source["file"], f"{where}.file")

    def _from_secret(self, secret: Mapping[str, Any], where: str, part: str, name: str) -> str:
        namespace, title = (values.name(secret[key], f"{where}.secret.{key}") for key in ("namespace", "name"))
        path = self._file(f"{self.folder}/{namespace}/{title}/{name}", where)
        export = self.exports.setdefault((namespace, title), {"secret": {"namespace": namespace, "name": title}})
        export[part] = path
        return path

    def _file(self, path: Any, where: str) -> str:
        checked = values.file_path(path, where)
        self.files.add(checked)
        return checked
