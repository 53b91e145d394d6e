# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server answers a host name: by its sockets, its names, and nginx's order among them."""

from __future__ import annotations

from . import host_table
from .model import Config, Listen, last_words, names_of, reachable
from .syntax import Directive


def choose_server(config: Config, host: str, at: str | None, port: int | None) -> tuple[Listen, Directive, bool] | None:
    """The socket, the server, and whether the server has the name; None where nothing listens.

    :param at: the address of the socket, by default any.
    :param port: the port of the socket, by default the best of those where a server has the name.
    """
    choices = []
    for (address, number), members in config.sockets.items():
        if (port is not None and number != port) or (at is not None and address != at):
            continue
        named = _by_name([server for server, _flags in members], host)
        server = named or next((server for server, flags in members if "default_server" in flags or "default" in flags), members[0][0])
        all_flags = {flag for _server, given in members for flag in given}
        tls = "ssl" in all_flags or last_words(server, "ssl", ["off"])[0] == "on"
        listen = Listen(reachable(address), number, tls, "proxy_protocol" in all_flags)
        # by name first, TLS first, the well-known ports first, IPv4 first
        rank = (named is None, not tls, number not in (443, 80), ":" in address, number)
        choices.append((rank, listen, server, named is not None))
    if not choices:
        return None
    _rank, listen, server, by_name = min(choices, key=lambda choice: choice[0])
    return listen, server, by_name


def _by_name(servers: list[Directive], host: str) -> Directive | None:
    """The server that has this name; the first regular expression comes last. None where only the default is left."""
    names = [(name, server) for server in servers for name in names_of(server)]
    found = host_table.find(((name, server) for name, server in names if not name.startswith("~")), host)
    return found or next((server for name, server in names if name.startswith("~") and host_table.search(name[1:], host)), None)
