"""How a VM's nginx speaks to the gateway by its own configuration."""

from __future__ import annotations

from typing import Any

from .._errors import EdgeError
from .._nginx import effective
from .model import Upstream, join


def upstreams(routes: list[dict[str, Any]], dump: str) -> tuple[dict[str, Upstream], dict[str, str]]:
    """For each route's name its upstream, or the reason why there is none.

    :param dump: what ``nginx -v -T`` printed on both streams; "" when it could not be run.
    """
    found: dict[str, Upstream] = {}
    reasons: dict[str, str] = {}
    try:
        config = effective.read(dump) if dump else None
    except EdgeError as error:
        return {}, {route["name"]: error.sentence for route in routes}
    for route in routes:
        if config is None or not config.http:
            reasons[route["name"]] = "nginx -T could not be run, or shows no http block"
            continue
        way = effective.effective(config, route["host"], route["probe"]["path"], route["listen"]["port"])
        if not way.by_name:
            reasons[route["name"]] = f"no server of nginx on port {route['listen']['port']} has the name {route['host']}"
        elif way.proxy is None:
            reasons[route["name"]] = (
                f"nginx itself answers {way.path} ({way.answer or 'no proxy_pass'}, {way.location_place or way.server})"
            )
        elif way.proxy.scheme != "https":
            reasons[route["name"]] = f"nginx passes {way.path} on in plaintext ({way.proxy.places.get('proxy_pass', '')})"
        else:
            found[route["name"]] = _upstream(way.proxy)
    return found, reasons


def _upstream(proxy: effective.Proxy) -> Upstream:
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
    )
