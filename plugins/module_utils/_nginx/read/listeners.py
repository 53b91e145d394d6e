# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an effective configuration listens, as far as the confirmation server needs to know."""

from __future__ import annotations

from collections.abc import Iterator

from .syntax import Directive


def http_listens(tree: list[Directive]) -> Iterator[tuple[Directive, Directive]]:
    """(server, listen) for all servers in the http context; a ``quic`` listen is another protocol and left out."""
    for http in tree:
        if http.name == "http":
            for server in http.find("server"):
                for listen in server.find("listen") or [Directive("listen", ["80"])]:
                    if listen.args and "quic" not in listen.args:
                        yield server, listen


def stream_listens(tree: list[Directive]) -> Iterator[Directive]:
    """The TCP listens of all servers in the stream context."""
    for stream in tree:
        if stream.name == "stream":
            for server in stream.find("server"):
                yield from (listen for listen in server.find("listen") if listen.args and "udp" not in listen.args)


def split_listen(word: str) -> tuple[str, str]:
    """(address, port) of a ``listen``; ``*`` for every IPv4 address, an empty port for a unix socket."""
    if word.startswith("unix:"):
        return word, ""
    if word.isdigit():
        return "*", word
    address, colon, port = word.rpartition(":")
    if not colon or not port.isdigit():
        return word, "80"
    return ("*" if address in ("*", "0.0.0.0") else address), port  # noqa: S104


def confirm_at(tree: list[Directive], own: str, chosen: str) -> str:
    """The ``address:port`` at which the confirmation server needs no socket of its own, or one that nobody can hold.

    nginx binds ``*:80`` once and serves more specific addresses of the same port from it. A port that nginx holds on
    one IPv4 address can't be held by another program on all of them. A dual-stack ``[::]:port`` is in the way of both.
    A unix socket would be simpler, but a killed master leaves its file behind, and nginx then refuses to start.
    """
    everywhere, somewhere, dual = set(), set(), set()
    # what the stream context holds on all addresses leaves none of ours
    elsewhere = {port for one in stream_listens(tree) for address, port in [split_listen(one.args[0])] if address in ("*", "[::]")}
    for _server, listen in http_listens(tree):
        address, port = split_listen(listen.args[0])
        if address == own:
            continue
        if address == "*":
            everywhere.add(port)
        elif address.startswith("["):
            if "ipv6only=off" in listen.args:
                dual.add(port)
        elif port:
            somewhere.add(port)
    usable = sorted(everywhere, key=int) + sorted(somewhere - everywhere - dual - elsewhere, key=int)
    if not usable:
        return f"{own}:{next(port for port in ('80', '8009', '488') if port not in dual | elsewhere)}"
    return chosen if chosen.rpartition(":")[2] in usable else f"{own}:{usable[0]}"


def in_both(tree: list[Directive]) -> tuple[str, str, str] | None:
    """``address:port`` of a socket that is asked for in the http and in the stream context, and where (http, stream).

    nginx's test sees each context alone; the reload would fail.
    """
    asked = [(*split_listen(listen.args[0]), listen if listen.file else server) for server, listen in http_listens(tree)]
    for listen in stream_listens(tree):
        address, port = split_listen(listen.args[0])
        for other, number, at in asked:
            if number == port and _same_socket(address, other):
                return f"{address}:{port}", f"{at.file}:{at.line}", f"{listen.file}:{listen.line}"
    return None


def _same_socket(one: str, other: str) -> bool:
    """Whether only one of two listeners can have a port at these addresses."""
    return one == other or (one.startswith("[") == other.startswith("[") and bool({"*", "[::]"} & {one, other}))


def taken_over(tree: list[Directive], own_folder: str) -> list[tuple[str, str]]:
    """(address:port, file:line) of servers that would answer unknown host names there, were it not for files of ours.

    nginx gives these requests to the server marked ``default_server``, else to the first that it read. Ours may be read
    before a site of the user's that relies on being the only one.
    """
    groups: dict[str, list[tuple[Directive, bool]]] = {}
    for server, listen in http_listens(tree):
        address, port = split_listen(listen.args[0])
        groups.setdefault(f"{address}:{port}", []).append((server, "default_server" in listen.args or "default" in listen.args))
    lost = []
    for place, servers in groups.items():
        others = [one for one in servers if not one[0].file.startswith(own_folder)]
        first = _default(servers)
        if others and first.file.startswith(own_folder):
            displaced = _default(others)
            lost.append((place, f"{displaced.file}:{displaced.line}"))
    return lost


def _default(servers: list[tuple[Directive, bool]]) -> Directive:
    return next((server for server, marked in servers if marked), servers[0][0])
