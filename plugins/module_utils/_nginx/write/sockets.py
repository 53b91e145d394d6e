# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the http context's servers listen, and the servers that refuse unknown names there.

A port that also passes TLS on is the stream context's. Servers for it then stand behind that listener, on a loopback address of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from ... import _values as values
from ..._routes.schema import Route
from .blocks import Refusal, Settings, Shared, Sockets
from .layout import LISTENER, Files, told

#: What a port can carry; one port carries one of them.
PLAIN, TLS = "plain HTTP", "TLS"


def ports(route: Route) -> list[tuple[str, str]]:
    """The ports that a route is served on, and what each carries."""
    listen = route.listen
    if not listen.tls:
        return [(str(listen.port), PLAIN)]
    beside = [(str(listen.http_port), PLAIN)] if listen.redirect_http or listen.acme_webroot else []
    return [(str(listen.port), TLS), *beside]


def everywhere(port: str, settings: Settings, words: str = "") -> tuple[str, ...]:
    """All addresses of the host."""
    return tuple(f"{address}{port}{words}" for address in (["", "[::]:"] if settings.ipv6 else [""]))


def inner(port: str, settings: Settings, knows: bool) -> str:
    """``address:port`` behind the stream context's listener: an address for each public port, so that routes on two ports don't meet.

    :param knows: whether the PROXY protocol says who the client is. The address differs with that: while nginx reloads, old workers still
        speak to it as they are used to.
    """
    high, low = divmod(int(port), 256)
    return f"127.{102 if knows else 104}.{high}.{low}:{values.port(settings.inner_port, 'nginx_offload_inner_port')}"


def words(route: Route, settings: Settings) -> str:
    """How a route's TLS port is listened at."""
    return " ssl http2" if route.listen.http2 and not settings.http2_directive else " ssl"


def name(route: Route, settings: Settings) -> str:
    """The file that says where servers for this route's TLS port listen."""
    return f"listen/{route.listen.port}{words(route, settings).replace(' ', '-')}.inc"


def listening(route: Route, settings: Settings, files: Files) -> Shared:
    """That file."""
    port, how = str(route.listen.port), words(route, settings)
    behind = Sockets((f"{inner(port, settings, True)}{how} proxy_protocol",), told=True)
    open_to_all = Sockets(everywhere(port, settings, how))
    return files.shared(name(route, settings), open_to_all, int(settings.ipv6), [((LISTENER.format(port),), behind)])


def refusals(route: Route, settings: Settings, files: Files) -> Iterator[Shared]:
    """The servers for unknown names on the route's ports. Over HTTP/3 they are always refused: that server also makes the sockets."""
    for port, kind in ports(route):
        if settings.refuse_unknown:
            yield _refusal(route, port, kind == TLS, settings, files)
    if route.listen.http3 and settings.http3:
        port = str(route.listen.port)
        yield files.shared(f"quic-{port}.conf", Refusal((), everywhere(port, settings), tls=True), int(settings.ipv6))


def _refusal(route: Route, port: str, tls: bool, settings: Settings, files: Files) -> Shared:
    path = f"refuse-{port}.conf"
    if not tls:
        return files.shared(path, Refusal(everywhere(port, settings)), int(settings.ipv6))
    how, on = words(route, settings), route.listen.http2 and settings.http2_directive
    # with a nginx that was updated, and a host that has got an IPv6 address, other lists' parts may still be as before
    rank = 4 * settings.http2_directive + 2 * settings.ipv6 + route.listen.http2
    told_at, untold_at = f"{inner(port, settings, True)}{how} proxy_protocol", f"{inner(port, settings, False)}{how}"
    behind = [
        ((LISTENER.format(port), told(port)), Refusal((told_at,), told=True, tls=True, http2=on)),
        ((LISTENER.format(port),), Refusal((untold_at,), tls=True, http2=on)),
    ]
    open_to_all = Refusal(everywhere(port, settings, how), tls=True, http2=on)
    return files.shared(path, open_to_all, rank, behind)
