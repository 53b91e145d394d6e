# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a generation of the time before there were lists apart, so that a run changes of it what it names and leaves the rest serving.

Role nginx_offload wrote all routes of a host into one file, and those whose TLS is passed on into a second one for the stream context. The
first falls apart into parts of list ``default``. The second can't: one map there has the names of all routes of a port. It stays whole,
and its routes can only be changed together.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..._errors import EdgeError
from ..._lists import DEFAULT, Owner
from ..read.listeners import split_listen
from ..read.syntax import Directive, parse
from . import stream
from .desired import Desired
from .parts import FILES, Change, Part, Shared

_HTTP, _STREAM = "routes.conf", "stream/routes.conf"
#: Where the second file stands from now on; the part of the routes in it of which nothing but names is known; the part of other files.
_WHOLE, _UNNAMED, _EXTRA = "stream/before-lists.conf", "before-lists", "extra_files"
#: Below every rank of today's, so that a file of today's with the same path counts.
_RANK = -1
_LONG_NAME = 40
#: How loopback addresses behind the stream context's listeners tell the port.
_INNER = re.compile(r"127\.10[24]\.(\d+)\.(\d+)")
#: Files that were exported from Secrets.
_EXPORTED = re.compile(r"/[^/]+/[^/]+/(tls\.crt|tls\.key|ca\.crt)$")


@dataclass
class _Route:
    """What was found of one route: its own texts in order, its server, its hosts by port, and what its ports carry."""

    name: str
    server: Directive
    texts: list[str] = field(default_factory=list)
    claims: dict[str, str] = field(default_factory=dict)
    agrees: dict[str, str] = field(default_factory=dict)

    def listens(self, server: Directive) -> None:
        """Add what a server of this route claims."""
        for port, tls in _ports(server):
            self.agrees[f"port {port}"] = "TLS" if tls else "plain HTTP"
            self.claims.update(_hosts(port, _names(server)))


def taken_apart(held: Desired) -> Desired:
    """The same as parts of list ``default``: one for each route, or one with all files where no routes are found."""
    try:
        parts = _parts(held)
    except EdgeError:
        # nginx can't have served that
        parts = []
    if not parts:
        parts = [Part(Owner(route=FILES), held.files, depends_on=held.depends_on)]
    sites = {DEFAULT: held.default_site} if held.default_site != "keep" else {}
    return dataclasses.replace(held, parts=tuple(sorted(parts, key=lambda part: part.owner)), default_sites=sites)


def settled(before: Desired, change: Change) -> Desired:
    """``before``, without what this change replaces although it can't name it.

    :raises EdgeError: BEFORE_LISTS where it changes some of the routes that can only be changed together.
    """
    whole = [part for part in before.parts if _WHOLE in part.shared]
    if not whole:
        return before
    run, claimed = change.run, {key for part in change.parts for key in part.claims}
    unnamed = Owner(route=_UNNAMED)
    covered = run.list_name == DEFAULT and all(claimed >= part.claims.keys() for part in whole if part.owner == unnamed)
    gone = [part for part in whole if run.takes(part.owner) or (part.owner == unnamed and covered)]
    if len(gone) == len(whole):
        return dataclasses.replace(before, parts=tuple(part for part in before.parts if part.owner != unnamed))
    ports = sorted(re.findall(r"\$edge_passed_(\d+) ", whole[0].shared[_WHOLE].content), key=int)
    beside = any(f"port {port}" in part.agrees for port in ports for part in change.parts)
    beside |= any(stream.used([*part.files, *part.shared]) for part in change.parts)
    if beside or any(part.owner != unnamed for part in gone):
        raise EdgeError(
            f"the routes at port {', '.join(ports)} can only be changed together", where=f"list {DEFAULT} on this host",
            why="a version without lists wrote those that pass TLS on into one file",
            fix=f"Run list {DEFAULT} once with all its routes, best with edge_exclusive; nothing was touched", code="BEFORE_LISTS",
        )  # fmt: skip
    return before


def _parts(held: Desired) -> list[Part]:
    pieces = list(_pieces(held.files.get(_HTTP, "")))
    routes = {name: _Route(name, server) for name, server in _named(pieces)}
    for route in routes.values():
        route.listens(route.server)
    passed = _passed(held.files.get(_STREAM, ""))
    unnamed = {key: words for key, words in passed.items() if not any(key in route.claims for route in routes.values())}
    if unnamed:
        agrees = {f"port {key.partition('/')[0]}": "TLS" for key in unnamed}
        routes[_UNNAMED] = _Route(_UNNAMED, Directive("server", []), [], unnamed, agrees)
    left = []
    for directive, piece in pieces:
        owner = _owner(directive, routes)
        if owner is None:
            left.append((directive, piece))
        else:
            owner.texts.append(piece)
            owner.listens(directive)
    shared: dict[str, tuple[Shared, list[str]]] = {}
    for directive, piece in left:
        for path, text, rank, users in _needed(directive, piece, [*routes.values()]):
            was = shared[path][0].content if path in shared else ""
            shared[path] = (Shared(was + text, rank), users)
    parts = [*_of_routes(held, routes, shared, passed)]
    extra = {path: text for path, text in held.files.items() if path not in (_HTTP, _STREAM)}
    return [*parts, Part(Owner(route=_EXTRA), extra)] if parts and extra else parts


def _pieces(text: str) -> Iterator[tuple[Directive, str]]:
    """Each directive of a file with its text, and the comments before it."""
    at = 0
    for directive in parse(text, _HTTP):
        yield directive, text[at : directive.end].strip("\n") + "\n"
        at = directive.end


def _named(pieces: Sequence[tuple[Directive, str]]) -> Iterator[tuple[str, Directive]]:
    """The routes' servers, by the comment before each."""
    for directive, piece in pieces:
        found = re.match(r"(?s:.*\n)?# ([A-Za-z0-9][A-Za-z0-9_.-]*)\nserver \{", piece) if directive.name == "server" else None
        if found:
            yield found[1], directive


def _owner(directive: Directive, routes: Mapping[str, _Route]) -> _Route | None:
    """The route that alone needs a directive: its server, the redirect to it, its log format and its limits."""
    if directive.name == "server":
        names = _names(directive)
        passed = {key.partition("/")[2] for key in routes[_UNNAMED].claims} if _UNNAMED in routes else set()
        own = next((route for route in routes.values() if directive is route.server or names == _names(route.server)), None)
        return own or (routes[_UNNAMED] if names and passed.issuperset(names) else None)
    if directive.name == "log_format" and directive.args:
        return routes.get(directive.args[0].removeprefix("edge_"))
    zone = re.search(r"zone=edge_([^:]+):", " ".join(directive.args)) if directive.name in ("limit_req_zone", "limit_conn_zone") else None
    return (routes.get(zone[1]) or routes.get(zone[1].removesuffix("_at_once"))) if zone else None


def _needed(directive: Directive, piece: str, routes: Sequence[_Route]) -> Iterator[tuple[str, str, int, list[str]]]:
    """The shared files that a directive belongs into: path, text, rank, and the routes that need it."""

    def users(needs: Callable[[_Route], bool]) -> list[str]:
        return [route.name for route in routes if needs(route)]

    name = directive.args[0] if directive.args else ""
    if directive.name == "upstream":
        yield f"upstream-{name}.conf", piece, _RANK, users(lambda route: any(word.endswith(f"//{name}") for word in _words(route.server)))
    elif directive.name == "map" and directive.args[-1:] in (["$edge_upgrade"], ["$edge_connection"]):
        yield "websocket.conf", piece, _RANK, users(lambda route: "$edge_upgrade" in _words(route.server))
    elif directive.name == "server_names_hash_bucket_size":
        long = users(lambda route: any(len(key.partition("/")[2]) > _LONG_NAME for key in route.claims))
        # below today's of the same size, above all smaller ones
        yield "names-bucket.conf", piece, int(name) - 1, long or users(lambda _route: True)
    elif directive.name == "server" and _names(directive) == [""]:
        port, *_others = (port for port, _tls in _ports(directive))
        here = users(lambda route: f"port {port}" in route.agrees)
        quic = [listen for listen in directive.find("listen") if "quic" in listen.args]
        yield f"refuse-{port}.conf", _without(quic, directive, piece), _RANK, here
        if quic:
            others = [listen for listen in directive.find("listen") if listen not in quic]
            asks = users(lambda route: any("quic" in listen.args and _port(listen) == port for listen in route.server.find("listen")))
            yield f"quic-{port}.conf", _without(others, directive, piece), _RANK, asks
    else:
        # of a template of the user's
        yield "before-lists.conf", piece, _RANK, users(lambda _route: True)


def _without(gone: Sequence[Directive], directive: Directive, piece: str) -> str:
    """The text of a directive without some of those in it."""
    first = directive.end - (len(piece) - 1)
    for one in sorted(gone, key=lambda each: each.start, reverse=True):
        piece = piece[: one.start - first].rstrip(" ") + piece[one.end - first :].removeprefix("\n")
    return piece


def _of_routes(
    held: Desired, routes: Mapping[str, _Route], shared: Mapping[str, tuple[Shared, list[str]]], passed: Mapping[str, str]
) -> Iterator[Part]:
    """One part for each route."""
    named = {name: {path for path in held.depends_on if path in _words(route.server)} for name, route in routes.items()}
    others = {*held.depends_on}.difference(*named.values())
    for name, route in routes.items():
        needs = {path: each for path, (each, users) in shared.items() if name in users}
        if route.claims.keys() & passed.keys():
            needs[_WHOLE] = Shared(held.files[_STREAM], _RANK)
        yield Part(
            owner=Owner(route=name),
            files={f"route-{name}.conf": "".join(route.texts)} if route.texts else {},
            shared=needs,
            depends_on=tuple(sorted(named[name] | others)),
            material=tuple(sorted(path for path in named[name] if _EXPORTED.search(path))),
            claims={f"route {name}": f"route {name}", **route.claims} if name != _UNNAMED else route.claims,
            agrees=route.agrees,
        )


def _passed(text: str) -> dict[str, str]:
    """The claims of all names in the maps of the stream context's file."""
    claims: dict[str, str] = {}
    for directive in parse(text, _STREAM):
        port = directive.args[-1].removeprefix("$edge_passed_") if directive.name == "map" else ""
        if port.isdigit():
            claims.update(_hosts(port, (entry.name for entry in directive.block or [] if entry.name not in ("hostnames", "default"))))
    return claims


def _hosts(port: str, names: Iterable[str]) -> dict[str, str]:
    return {f"{port}/{name}": f"host {name} on port {port}" for name in names}


def _names(server: Directive) -> list[str]:
    return [name for one in server.find("server_name") for name in one.args]


def _ports(server: Directive) -> Iterator[tuple[str, bool]]:
    """The ports that clients use to reach a server, and whether they speak TLS there."""
    for listen in server.find("listen"):
        if listen.args:
            yield _port(listen), bool({"ssl", "quic"} & {*listen.args})


def _port(listen: Directive) -> str:
    inner = _INNER.fullmatch(split_listen(listen.args[0])[0])
    return str(int(inner[1]) * 256 + int(inner[2])) if inner else split_listen(listen.args[0])[1]


def _words(directive: Directive) -> set[str]:
    """All words in a directive's block."""
    found = set(directive.args)
    for one in directive.block or []:
        found |= _words(one)
    return found
