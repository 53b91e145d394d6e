# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that nginx passes on unopened, by the name in its ClientHello: a route's share of the stream context.

One port may serve both kinds of routes. Its listener is then the stream context's, and routes that end TLS stand behind it on a loopback
address. They must hear of the clients' addresses, so this listener speaks the PROXY protocol to all that is behind it; gateways that
don't want it are reached through an exit that takes it off. nginx knows the PROXY protocol and the timeouts before it knows the name, so
these belong to the port: the longest of its routes' timeouts hold.

A route that ends TLS says where its names lead too, for the case that another route passes TLS on at its port: nothing reads it before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator

from ... import _values as values
from ..._routes.schema import Route
from .addresses import Addresses
from .blocks import Constant, Exit, Line, Names, Passage, Settings, Shared, Upstream
from .layout import FOLDER, LISTENER, NAMES, Files, read, short, told
from .sockets import everywhere, inner

#: An http server keeps a silent client this long (keepalive_timeout 75s), so the listener before it must.
_KEPT = 80
_PREREAD_ZONE = "64k"
#: Words that a map takes for something else.
_WORDS = ("default", "hostnames", "include", "volatile")
#: Whose log a port has: the most that one of its routes wants.
_LOGS = ("off", "default", "json")


def passes(route: Route) -> bool:
    """Whether the route's TLS is passed on."""
    return route.listen.mode == "passthrough"


def names(route: Route, reached: Addresses, files: Files) -> str:
    """The route's own file: where its names lead."""
    port = str(route.listen.port)
    target = _way(route, reached) if passes(route) else f"edge_here_{port}"
    hosts = tuple(f"\\{host}" if host in _WORDS else host for host in route.hosts)
    return files.own(f"{NAMES.format(port)}/{route.name}.map", Names(hosts, target))


def shared(route: Route, reached: Addresses, settings: Settings, files: Files) -> Iterator[Shared]:
    """What the route has in common with others of its TLS port."""
    port = str(route.listen.port)
    folder, here = FOLDER.format(port), f"edge_here_{port}"
    if not passes(route) or route.proxy.proxy_protocol:
        yield files.shared(told(port), Line("proxy_protocol on"))
    if not passes(route) or settings.refuse_unknown:
        # the http context refuses them, by an alert
        yield files.shared(f"{folder}/unknown.map", Names(("default",), here))
    idle = values.seconds(route.proxy.read_timeout) if passes(route) else _patience(route)
    yield _timeout(f"{folder}/idle-timeout.inc", "proxy_timeout", idle, files)
    if passes(route):
        yield _timeout(f"{folder}/connect-timeout.inc", "proxy_connect_timeout", values.seconds(route.proxy.connect_timeout), files)
        yield from _log(route, folder, settings, files)
        maps = (read(f"{folder}/*.map"), read(f"{NAMES.format(port)}/*.map"))
        listener = Passage(port, everywhere(port, settings), maps, read(f"{folder}/*.inc"))
        yield files.shared(LISTENER.format(port), listener, int(settings.ipv6))
        untold, knowing = (Upstream(here, (inner(port, settings, knows),), "", _PREREAD_ZONE) for knows in (False, True))
        yield files.shared(f"stream/here-{port}.conf", untold, 0, [((told(port),), knowing)])
        yield files.shared("stream/names.conf", Line(f"include {read('stream/names/*.inc')}"))
        yield _gateway(route, reached, settings, files)


def _way(route: Route, reached: Addresses) -> str:
    """The upstream's name. Nothing of a client's TLS session is nginx's, so connections to a gateway differ in nothing else."""
    name = f"edge_to_{route.gateway.name}_{short(reached.servers, reached.resolver, reached.known)}"
    return name if route.proxy.proxy_protocol else f"{name}_{route.listen.port}"


def _gateway(route: Route, reached: Addresses, settings: Settings, files: Files) -> Shared:
    """The way to the gateway; through an exit where its port says who the client is, and the gateway doesn't want to know."""
    name, port = _way(route, reached), str(route.listen.port)
    path, direct = f"stream/{name}.conf", Upstream(name, reached.servers, reached.resolver, reached.zone, reached.known)
    if route.proxy.proxy_protocol:
        return files.shared(path, direct)
    # by its name rather than a number in order: while nginx reloads, nobody else's exit may stand there
    first, second = hashlib.sha256(name.encode()).digest()[:2]
    at = f"127.103.{first}.{second}:{inner(port, settings, True).rpartition(':')[2]}"
    behind = dataclasses.replace(direct, name=f"{name}_out")
    leave = Exit(Upstream(name, (at,), "", _PREREAD_ZONE), behind, at, read(f"{FOLDER.format(port)}/*-timeout.inc"))
    return files.shared(path, direct, 0, [((told(port),), leave)])


def _log(route: Route, folder: str, settings: Settings, files: Files) -> Iterator[Shared]:
    path, rank = f"{folder}/log.inc", _LOGS.index(route.access_log)
    if route.access_log == "json":
        file = values.file_path(settings.access_log, "nginx_offload_access_log")
        yield files.shared("stream/log-format.conf", Constant("log_format"))
        yield files.shared(f"{folder}/logs/{short(file)}.inc", Line(f"access_log {file} edge_passed"))
        # each list may have a file of its own
        yield files.shared(path, Line(f"include {read(f'{folder}/logs/*.inc')}"), rank)
    else:
        yield files.shared(path, Line("access_log off" if route.access_log == "off" else ""), rank)


def _timeout(path: str, directive: str, seconds: float, files: Files) -> Shared:
    """The longest holds. Equal ones are written equally, whatever their unit was."""
    milliseconds = round(seconds * 1000)
    text = f"{milliseconds}ms" if milliseconds % 1000 else f"{milliseconds // 1000}s"
    return files.shared(path, Line(f"{directive} {text}"), milliseconds)


def _patience(route: Route) -> float:
    """How many seconds a client of a route that ends TLS may wait in silence."""
    each = [route.proxy, *(path.proxy for path in route.paths if path.proxy)]
    return math.ceil(max(_KEPT, *(values.seconds(one.connect_timeout) + values.seconds(one.read_timeout) for one in each)))
