# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locations lend each other their TLS identity. Pure.

nginx keeps TLS sessions, and connections where it pools them, for each server of an upstream, whoever opened them. So a location without a
client certificate is let in with another's, and one that verifies the gateway rides on a connection that nobody verified.
"""

from __future__ import annotations

import re
from typing import Optional

from ..._address import join
from .effective import Config, Effective, Neighbour, Passing, Proxy, Shared, effective, passing

SESSION, POOL = "TLS sessions", "pooled connections"
# as many neighbours are asked; the ones that share an upstream come first
_MOST = 4
_COLUMNS = ("server name", "client certificate", "CA", "verification", "verified name")

Identity = tuple[str, ...]


def look(config: Config, host: str, path: str = "/", port: int | None = None) -> Effective:
    """The way of a request, together with those whose identity it may borrow or lend its own to."""
    way = effective(config, host, path, port)
    way.shared = shared_identities(config)
    way.neighbours = neighbours(config, way)
    return way


def identity(proxy: Proxy) -> Identity:
    """All that makes a connection to the next hop what it is."""
    verified = (proxy.ca, f"to depth {proxy.verify_depth}", proxy.ssl_name) if proxy.verify else ("", "off", "")
    return (proxy.sni, proxy.certificate, *verified)


def shared_identities(config: Config, known: Optional[list[Passing]] = None) -> list[Shared]:
    """Upstreams that locations reach with different identities and over which they can meet; ``known`` as for :func:`neighbours`."""
    uses: dict[str, dict[Identity, list[Passing]]] = {}
    for each in passing(config) if known is None else known:
        if _keeps(each):
            uses.setdefault(_upstream(each.proxy), {}).setdefault(identity(each.proxy), []).append(each)
    found = []
    for upstream, identities in uses.items():
        # who does not reuse sessions leaves none behind either
        sessions = {who for who, users in identities.items() if any(user.proxy.session_reuse for user in users)}
        pooled = _pooled(identities)
        by = (*((SESSION,) if len(sessions) > 1 else ()), *((POOL,) if pooled else ()))
        if by:
            meet = [who for who in identities if who in pooled or (len(sessions) > 1 and who in sessions)]
            differ = tuple(name for name, values in zip(_COLUMNS, zip(*meet)) if len(set(values)) > 1)
            address = _address(next(iter(identities.values()))[0].proxy)
            found.append(Shared(upstream, address, tuple(identities[who][0].place for who in meet), differ, by))
    return found


def own(way: Effective) -> Optional[Shared]:
    """The upstream of this very request, where others use it too."""
    used = {way.proxy.upstream, *(join(*address) for address in way.proxy.addresses)} if way.proxy else set()
    return next((shared for shared in way.shared if shared.upstream in used), None)


def said(shared: Shared) -> str:
    """upstream mesh from a.conf:1 and b.conf:2 (client certificate), by TLS sessions and pooled connections"""
    return f"upstream {shared.upstream} from {' and '.join(shared.places)} ({', '.join(shared.differ)}), by {' and '.join(shared.by)}"


def neighbours(config: Config, way: Effective, known: Optional[list[Passing]] = None) -> list[Neighbour]:
    """One request for each other identity that goes to the same place, if it can be asked for at the same listener.

    Also over other upstreams: nginx may run with other settings than its files, and the probe shows whether identities mix.

    :param known: :func:`passing` of ``config``, where it is asked for many ways.
    """
    own = way.proxy
    if own is None or way.listen is None or own.scheme != "https" or not own.addresses:
        return []
    others = [
        each
        for each in (passing(config) if known is None else known)
        if _keeps(each) and identity(each.proxy) != identity(own) and set(each.proxy.addresses) & set(own.addresses)
    ]
    found: dict[Identity, Neighbour] = {}
    for each in sorted(others, key=lambda each: _upstream(each.proxy) != _upstream(own)):
        if len(found) == _MOST:
            break
        made = None if identity(each.proxy) in found else _request(config, way, each, way.listen.port)
        if made is not None:
            found.setdefault(identity(made.proxy), made)
    return list(found.values())


def _request(config: Config, way: Effective, each: Passing, port: int) -> Neighbour | None:
    """A request that ends in this very location; the path that was asked for if it does too, else what the location begins with."""
    for name in each.names:
        host = name.replace("*", "edgemesh-probe") if not name.startswith(".") else name[1:]
        if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", host):
            continue
        prefix = re.sub(r"^(=|\^~)", "", each.pattern)
        for path in (way.path, prefix):
            if path.startswith("/"):
                other = effective(config, host, path, port)
                if other.location_place == each.place and other.proxy is not None and not other.notes and other.listen == way.listen:
                    return Neighbour(other.host, path, each.place, other.proxy)
    return None


def _keeps(each: Passing) -> bool:
    """Whether there is anything to lend: a target that is looked up for each request has no upstream of its own."""
    proxy = each.proxy
    return proxy.scheme == "https" and bool(proxy.addresses) and not (each.varies and not proxy.upstream)


def _pooled(identities: dict[Identity, list[Passing]]) -> set[Identity]:
    """Those that meet on kept connections: a pool belongs to the whole upstream, but HTTP/1 and HTTP/2 are of no use to each other.

    nginx hands them out all the same; the request then fails or is sent again on a new connection, and arrives as nobody else.
    """
    found: set[Identity] = set()
    for http2 in (False, True):
        speaks = {who: [user for user in users if (user.proxy.http_version == "2") == http2] for who, users in identities.items()}
        who = {each for each, users in speaks.items() if users}
        if len(who) > 1 and any(_leaves_connections(user.proxy) for users in speaks.values() for user in users):
            found |= who
    return found


def _leaves_connections(proxy: Proxy) -> bool:
    """Whether connections go back to the pool. Whoever comes next takes them from there, however it speaks itself."""
    stays = proxy.http_version == "2" or (proxy.http_version == "1.1" and proxy.headers.get("Connection", "").lower() != "close")
    return proxy.keepalive and stays


def _upstream(proxy: Proxy) -> str:
    """What nginx keeps sessions and connections for: the block, or the address that it makes one of by itself."""
    return proxy.upstream or _address(proxy)


def _address(proxy: Proxy) -> str:
    return join(*proxy.addresses[0])
