# SPDX-License-Identifier: GPL-3.0-or-later
"""How a location speaks to the next hop: address, headers, TLS; with nginx's inheritance and this version's defaults."""

from __future__ import annotations

import os
import re

from ..._address import ip
from .model import Config, Effective, Proxy, modifier_of, place_of
from .syntax import Directive
from .variables import Variables

# from this version on, upstreams are spoken to by HTTP/1.1 over kept connections unless told otherwise
KEEPALIVE_BY_DEFAULT = (1, 29, 7)
# values of such headers are nobody's business: they are not read
_SECRET = re.compile(r"auth|cookie|token|secret|key|password", re.IGNORECASE)
_PROTOCOLS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


# Where proxy_pass and grpc_pass lead: name, port, and for the former a URI. gRPC without a scheme is plaintext.
_PLACE = r"(unix:[^:]+|\[[^\]]+\]|[^/:]+)(?::(\d+))?"
_TARGETS = {"proxy": rf"https?://{_PLACE}(:?/.*)?", "grpc": rf"(?:grpcs?://)?{_PLACE}()"}


def _scheme(target: str) -> str:
    return "https" if target.startswith(("https", "grpcs://")) else "http"


def next_hop(config: Config, way: Effective, chain: list[Directive], passing: Directive, variables: Variables) -> None:
    """Puts into ``way.proxy`` how a location speaks to the next hop, and into ``way.notes`` what only nginx knows.

    :param chain: the blocks from http to the location.
    :param passing: the location's ``proxy_pass`` or ``grpc_pass``.
    """
    target = variables.text(passing.args[0])
    prefix = passing.name.partition("_")[0]
    match = re.fullmatch(_TARGETS[prefix], target or "")
    if not match:
        way.notes.append(f"{place_of(passing)}: where {passing.args[0]} leads depends on what only nginx knows")
        way.proxy = Proxy(_scheme(passing.args[0]), passing.args[0], prefix)
        return
    scheme, name, port, uri = _scheme(target or ""), match[1], match[2], match[3]
    socket = name.startswith("unix:")
    if socket:
        name, uri = "localhost", (uri or "").removeprefix(":")  # so nginx itself calls it
    default = 443 if scheme == "https" else 80
    number = int(port or default)
    proxy = Proxy(scheme, target or "", prefix, places={"proxy_pass": place_of(passing)})
    way.proxy = proxy
    variables.values["proxy_host"] = name if number == default else f"{name}:{number}"
    variables.values["proxy_port"] = str(number)
    upstream = config.upstreams.get(name)
    new = config.version >= KEEPALIVE_BY_DEFAULT
    if upstream is not None:
        proxy.upstream = name
        proxy.addresses = _members(upstream, way)
        proxy.keepalive = bool(upstream.find("keepalive")) or new
    elif socket:
        way.notes.append(f"{place_of(passing)}: a unix socket is not probed")
    else:
        proxy.addresses = [(name.strip("[]"), number)]
    proxy.path = _sent_path(way, chain[-1], uri, "$" in passing.args[0])
    grpc = prefix == "grpc"
    proxy.http_version = "2" if grpc else _setting(chain, "proxy_http_version", ["1.1" if new else "1.0"], proxy)[0]
    _headers(way, chain, variables, proxy, new)
    if scheme == "https":
        _tls(config, way, chain, variables, proxy)


def _members(upstream: Directive, way: Effective) -> list[tuple[str, int]]:
    found = []
    for server in upstream.find("server"):
        text, *flags = server.args
        if "down" in flags or text.startswith("unix:"):
            way.notes.append(f"{place_of(server)}: {text} is {'marked down' if 'down' in flags else 'a unix socket'} and not probed")
            continue
        match = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?", text)
        if match:
            # a server of an upstream block without a port is at 80, also behind proxy_pass https://
            found.append((match[1].strip("[]"), int(match[2] or 80)))
    return found


def _sent_path(way: Effective, location: Directive, uri: str | None, varies: bool) -> str:
    """The path that goes to the next hop: with a URI in proxy_pass it takes the place of what the location matched."""
    if not uri:
        return way.path
    if varies:
        return uri
    modifier, text = modifier_of(location)
    return uri + way.path[len(text) :] if modifier in ("", "^~", "=") else uri


def _headers(way: Effective, chain: list[Directive], variables: Variables, proxy: Proxy, new: bool) -> None:
    """All headers of the innermost level that sets any; the others are dropped."""
    headers = {"host": ("Host", "$proxy_host")}
    if not (proxy.http_version == "2" or (new and proxy.http_version == "1.1")):
        headers["connection"] = ("Connection", "close")
    for block in reversed(chain):
        own = block.find(f"{proxy.prefix}_set_header")
        if own:
            proxy.places["proxy_set_header"] = place_of(own[0])
            for directive in own:
                name = directive.args[0]
                headers[name.lower()] = (name, directive.args[1] if len(directive.args) > 1 else "")
                proxy.places[f"proxy_set_header {name}"] = place_of(directive)
            break
    for key, (name, template) in headers.items():
        if _SECRET.search(name):
            continue
        value = variables.text(template)
        if value is None:
            way.notes.append(f"header {name}: {template} depends on what only nginx knows, so it is left out of the replay")
        elif key == "host":
            proxy.host = value
        else:
            proxy.headers[name] = value
    if proxy.prefix == "proxy":
        proxy.headers.setdefault("Connection", "")


def lost_host(way: Effective, chain: list[Directive]) -> str:
    """Where a Host header is set that the location loses by setting headers of its own; empty where it loses none."""
    if way.proxy is None or "proxy_set_header Host" in way.proxy.places or "proxy_set_header" not in way.proxy.places:
        return ""
    return next(
        (
            place_of(each)
            for block in reversed(chain)
            for each in block.find(f"{way.proxy.prefix}_set_header")
            if each.args[:1] and each.args[0].lower() == "host"
        ),
        "",
    )


def _tls(config: Config, way: Effective, chain: list[Directive], variables: Variables, proxy: Proxy) -> None:
    def value(name: str, default: str) -> str:
        template = _setting(chain, name, [default], proxy)[0]
        text = variables.text(template)
        if text is None:
            way.notes.append(f"{proxy.own(name)} {template} depends on what only nginx knows")
        return text or ""

    def file(name: str) -> str:
        path = value(name, "")
        return os.path.join(config.folder, path) if path else ""

    name = value("proxy_ssl_name", "$proxy_host")
    proxy.ssl_name_varies = "$" in _setting(chain, "proxy_ssl_name", [""], proxy)[0]
    proxy.ssl_name = name if name.count(":") > 1 and not name.startswith("[") else re.sub(r":\d*$", "", name)
    if value("proxy_ssl_server_name", "off") == "on" and not ip(proxy.ssl_name):
        proxy.sni = proxy.ssl_name
    proxy.verify = value("proxy_ssl_verify", "off") == "on"
    proxy.verify_depth = int(value("proxy_ssl_verify_depth", "1") or 1)
    proxy.ca = file("proxy_ssl_trusted_certificate")
    proxy.certificate, proxy.certificate_key = file("proxy_ssl_certificate"), file("proxy_ssl_certificate_key")
    proxy.session_reuse = value("proxy_ssl_session_reuse", "on") == "on"
    proxy.protocols = _setting(chain, "proxy_ssl_protocols", _default_protocols(config.version), proxy)


def _default_protocols(version: tuple[int, ...]) -> list[str]:
    if version >= (1, 27, 3):
        return _PROTOCOLS[2:]
    return _PROTOCOLS if version >= (1, 23, 4) else _PROTOCOLS[:3]


def _setting(chain: list[Directive], name: str, default: list[str], proxy: Proxy) -> list[str]:
    """A directive's words from the innermost level that has it; ``name`` is the proxy module's."""
    for block in reversed(chain):
        own = block.find(proxy.own(name))
        if own:
            proxy.places[name] = place_of(own[-1])
            return own[-1].args or default
    proxy.places[name] = ""
    return default
