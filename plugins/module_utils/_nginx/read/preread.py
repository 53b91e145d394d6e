# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the stream context sends a TLS connection by its SNI: to a gateway, or to servers of nginx's own http context. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Optional

from .syntax import Directive
from .variables import Variables

Address = tuple[str, int]
#: An exit leads to an upstream; a longer chain of exits is a circle.
_MOST = 5


@dataclass(frozen=True)
class Way:
    """What a listener of the stream context does with a name.

    ``addresses`` are where the connection goes, ``tells`` whether it begins with the PROXY protocol there; ``expects`` is whether clients
    of this listener have to begin with it.
    """

    address: str
    port: int
    place: str
    named: bool
    expects: bool = False
    tells: bool = False
    target: str = ""
    addresses: list[Address] = field(default_factory=list)


def way(stream: list[Directive], host: str, port: Optional[int] = None) -> Optional[Way]:
    """The way of a TLS connection for ``host``; None where the stream context doesn't sort by names there.

    :param port: the port that clients use; by default one where a map has the name, else any.
    """
    found = []
    for server in _servers(stream):
        if _on(server, "ssl_preread"):
            found += [made for made in _ways(stream, server, host) if port in (None, made.port)]
    return min(found, key=lambda made: (not made.named, made.port != 443, ":" in made.address, made.port), default=None)


def _ways(stream: list[Directive], server: Directive, host: str) -> list[Way]:
    passing = server.find("proxy_pass")
    if not passing:
        return []
    word = passing[0].args[0]
    target = _value(stream, word, host)
    # the same with a name that nobody has: what the map's default leads to
    named = target != _value(stream, word, "nobody.edgemesh.invalid")
    tells, addresses = _followed(stream, server, target)
    return [
        Way(address, port, f"{server.file}:{server.line}", named, expects, tells, target, addresses)
        for address, port, expects in _listens(server)
    ]


def _value(stream: list[Directive], word: str, host: str) -> str:
    return Variables(stream, {"ssl_preread_server_name": host}).text(word) or ""


def _followed(stream: list[Directive], server: Directive, target: str) -> tuple[bool, list[Address]]:
    """Whether the PROXY protocol comes first, and the addresses, at the end of a chain of servers of the stream context itself."""
    tells, addresses = _on(server, "proxy_protocol"), _addresses(stream, target)
    for _link in range(_MOST):
        own = {(address, port): other for other in _servers(stream) for address, port, _expects in _listens(other)}
        following = own.get(addresses[0]) if len(addresses) == 1 else None
        passing = following.find("proxy_pass") if following else []
        if following is None or not passing or "$" in passing[0].args[0]:
            break
        tells, addresses = _on(following, "proxy_protocol"), _addresses(stream, passing[0].args[0])
    return tells, addresses


def _addresses(stream: list[Directive], target: str) -> list[Address]:
    blocks = [block for context in stream for block in context.find("upstream") if block.args[:1] == [target]]
    words = [server.args[0] for block in blocks for server in block.find("server") if server.args] if blocks else [target]
    return [made for word in words if (made := _address(word))]


def _address(word: str) -> Optional[Address]:
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+):(\d+)", word)
    return (match[1].strip("[]"), int(match[2])) if match else None


def _servers(stream: list[Directive]) -> list[Directive]:
    return [server for context in stream for server in context.find("server")]


def _listens(server: Directive) -> list[tuple[str, int, bool]]:
    found = []
    for listen in server.find("listen"):
        text, *words = listen.args
        made = ("*", int(text)) if text.isdigit() else _address(text)
        if made and "udp" not in words:
            found.append((*made, "proxy_protocol" in words))
    return found


def _on(server: Directive, name: str) -> bool:
    return [directive.args for directive in server.find(name)][-1:] == [["on"]]
