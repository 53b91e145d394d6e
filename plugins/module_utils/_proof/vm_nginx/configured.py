# SPDX-License-Identifier: GPL-3.0-or-later
"""How a VM's nginx speaks to the gateway by its own configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..._address import join
from ..._errors import EdgeError
from ..._nginx.read import effective, sharing
from ..._quoted import without_query
from ..._routes.schema import Route
from . import turns
from .machine import Turn, Upstream


@dataclass
class Configured:
    """By each route's name: its upstream, or the reason why there is none; and the requests to make by turns."""

    upstreams: dict[str, Upstream] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[Turn]] = field(default_factory=dict)


def read(routes: list[Route], dump: str, echo_path: str = "") -> Configured:
    """What nginx's configuration says of the routes.

    :param dump: what ``nginx -v -T`` printed on both streams; "" when it could not be run.
    :param echo_path: what to ask for by turns in place of the probe's path, because the app shows there who arrived.
    """
    found = Configured()
    try:
        config = effective.read(dump) if dump else None
    except EdgeError as error:
        return Configured(unknown={route.name: error.sentence for route in routes})
    known = list(effective.passing(config)) if config else []
    shared = sharing.shared_identities(config, known) if config else []
    for route in routes:
        if config is None or not config.http:
            found.unknown[route.name] = "nginx -T could not be run, or shows no http block"
            continue
        way = effective.effective(config, route.host, route.probe.path, route.listen.port)
        if way.passed:
            found.unknown[route.name] = f"nginx {way.answer} ({way.server})"
        elif not way.by_name:
            found.unknown[route.name] = f"no server of nginx on port {route.listen.port} has the name {route.host}"
        elif way.proxy is None:
            found.unknown[route.name] = (
                f"nginx itself answers {way.path} ({way.answer or 'no proxy_pass'}, {way.location_place or way.server})"
            )
        elif way.proxy.scheme != "https":
            found.unknown[route.name] = f"nginx passes {way.path} on in plaintext ({way.proxy.places.get('proxy_pass', '')})"
        else:
            way.shared = shared
            own = sharing.own(way)
            found.upstreams[route.name] = _upstream(way.proxy, sharing.said(own) if own else "")
            asked = effective.effective(config, route.host, echo_path or way.path, route.listen.port)
            asked.shared, asked.neighbours = shared, sharing.neighbours(config, asked, known)
            found.turns[route.name] = turns.of(asked)
    found.unknown = {name: without_query(reason) for name, reason in found.unknown.items()}
    return found


def _upstream(proxy: effective.Proxy, shared: str) -> Upstream:
    return Upstream(
        addresses=tuple(join(host, port) for host, port in proxy.addresses),
        sni=proxy.sni,
        name=proxy.ssl_name,
        verify=proxy.verify,
        verify_depth=proxy.verify_depth,
        ca_file=proxy.ca,
        cert_file=proxy.certificate,
        key_file=proxy.certificate_key,
        http_version=proxy.http_version,
        host=proxy.host,
        shared=shared,
        prefix=getattr(proxy, "prefix", "proxy"),
    )
