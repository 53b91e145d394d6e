"""What a route asks of nginx, against what nginx can do with TLS that it ends, or that it passes on unopened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _values as values
from .._schema.fields import refuse

if TYPE_CHECKING:
    from .schema import Route


def check(route: Route, where: str) -> None:
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
            why="nginx sends it only with connections that it passes on whole",
        )  # fmt: skip
    grpc = route.proxy.protocol == "grpc" or any((path.proxy or {}).get("protocol") == "grpc" for path in route.paths)
    if grpc and not route.listen.http2:
        raise refuse(f"{where}.proxy.protocol", "grpc needs HTTP/2 from clients, but it is off", "Set listen.tls and listen.http2 to true")


def _passes(route: Route, where: str) -> None:
    tls, unopened = route.upstream_tls, "is given, but listen.mode is passthrough"
    if tls.client_certificate:
        raise refuse(f"{where}.upstream_tls.client_certificate", f"{unopened}: clients show their own", "Remove it")
    if tls.server_name not in ("", route.hosts[0]):
        raise refuse(f"{where}.upstream_tls.server_name", f"{unopened}: the SNI is what clients send", "Remove it")
    for index, host in enumerate(route.hosts):
        values.map_name(host, f"{where}.hosts[{index}]")
    same = {name: getattr(route.proxy, name) for name in ("connect_timeout", "read_timeout", "proxy_protocol")}
    nothing_more = type(route.proxy)(**same)
    extra = "rate_limit" if route.rate_limit else "proxy" if route.proxy != nothing_more else ""
    extra = extra or next((f"paths[{index}].proxy" for index, path in enumerate(route.paths) if path.proxy), "")
    if extra:
        raise refuse(
            f"{where}.{extra}", "asks for what needs requests, but listen.mode is passthrough",
            "Remove it; of proxy only connect_timeout, read_timeout and proxy_protocol apply",
            why="nginx sees none in TLS that it doesn't end",
        )  # fmt: skip
