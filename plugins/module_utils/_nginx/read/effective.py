# SPDX-License-Identifier: GPL-3.0-or-later
"""What an nginx does with a request for a host and a path, read from what ``nginx -v -T`` prints.

nginx's own rules: which server answers, which location, what is inherited (a single ``proxy_set_header`` drops all inherited ones),
what is the default in this version. Pure; runs on the controller.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..._errors import EdgeError
from .. import commands
from . import preread, syntax
from .location import follow, passes
from .model import Config, Effective, Listen, Neighbour, Proxy, Shared, last_words, modifier_of, names_of, place_of, reachable
from .next_hop import lost_host, next_hop
from .server import choose_server
from .syntax import Directive
from .variables import Variables

__all__ = ["Config", "Effective", "Listen", "Neighbour", "Passing", "Proxy", "Shared", "effective", "passing", "read"]


def read(dump: str) -> Config:
    """A configuration from the output, both streams, of ``nginx -v -T``.

    :raises EdgeError: where it can't be read.
    """
    tree = syntax.effective(dump)
    _refuse_incomplete(tree)
    files = list(syntax.split_dump(dump))
    return Config(
        version=commands.version(dump),
        folder=os.path.dirname(files[0]) if files else "",
        files=files,
        http=[directive for directive in tree if directive.name == "http"],
        stream=[directive for directive in tree if directive.name == "stream"],
    )


# How many words nginx insists on, where they are read here; server is also the name of a block.
_LEAST_WORDS = {
    "grpc_pass": 1,
    "grpc_set_header": 2,
    "listen": 1,
    "map": 2,
    "proxy_pass": 1,
    "proxy_set_header": 2,
    "return": 1,
    "rewrite": 2,
    "server": 1,
    "set": 2,
    "try_files": 2,
}


def _refuse_incomplete(block: list[syntax.Directive]) -> None:
    """`nginx -T` prints only what nginx has accepted, so text with such a directive is not its output."""
    for directive in block:
        if (directive.block is None or directive.name != "server") and len(directive.args) < _LEAST_WORDS.get(directive.name, 0):
            raise EdgeError(
                f"{directive.name} has too few words", where=place_of(directive), why="nginx would not have accepted it",
                fix="Give the output of nginx -T as it is",
            )  # fmt: skip
        _refuse_incomplete(directive.block or [])


def effective(config: Config, host: str, path: str = "/", port: int | None = None) -> Effective:
    """The way of a GET for ``host`` and ``path``.

    :param port: the port that clients use; by default one where a server has this name, TLS first.
    """
    way = Effective(host=host.lower().rstrip("."), path=path, version=".".join(map(str, config.version)), files=config.files)
    ahead = preread.way(config.stream, way.host, port)
    inner = ahead.addresses[0] if ahead and len(ahead.addresses) == 1 and ahead.addresses[0] in config.sockets else None
    if ahead and inner is None and (ahead.named or port is not None):
        return _passed_on(way, ahead)
    choice = choose_server(config, way.host, *(inner if inner and port is not None else (None, port)))
    if choice is None:
        return way
    way.listen, server, way.by_name = choice
    if ahead and (way.listen.address, way.listen.port) == inner:
        way.listen = Listen(reachable(ahead.address), ahead.port, way.listen.tls, ahead.expects)
    way.server, way.server_names = place_of(server), names_of(server)
    way.asks_client_certificate = last_words(server, "ssl_verify_client", ["off"])[0] in ("on", "optional", "optional_no_ca")
    chain = [*config.http[:1], server]
    variables = Variables(config.http, _request_values(way))
    follow(config, way, chain, variables)
    way.lost_host = lost_host(way, chain)
    return way


def _passed_on(way: Effective, ahead: preread.Way) -> Effective:
    way.listen, way.server, way.by_name = Listen(reachable(ahead.address), ahead.port, True, ahead.expects), ahead.place, ahead.named
    way.passed, way.passed_tells = ahead.addresses, ahead.tells
    way.answer = f"passes TLS on unopened, to {ahead.target}" if ahead.target else "closes the connection"
    return way


def _request_values(way: Effective) -> dict[str, str]:
    listen = way.listen or Listen("127.0.0.1", 80)
    path, question, query = way.path.partition("?")
    default = 443 if listen.tls else 80
    first = way.server_names[0] if way.server_names else ""
    return {
        "host": way.host or first,
        "http_host": way.host if listen.port == default else f"{way.host}:{listen.port}",
        "server_name": first,
        "scheme": "https" if listen.tls else "http",
        "https": "on" if listen.tls else "",
        "server_port": str(listen.port),
        "server_addr": listen.address,
        "remote_addr": listen.address,
        "realip_remote_addr": listen.address,
        "proxy_add_x_forwarded_for": listen.address,
        "request_uri": way.path,
        "uri": path,
        "document_uri": path,
        "args": query,
        "query_string": query,
        "is_args": question,
        "request_method": "GET",
        "server_protocol": "HTTP/1.1",
        "http_user_agent": "edgemesh-probe",
        "http_accept": "*/*",
        "ssl_server_name": way.host if listen.tls else "",
        "request_id": "0" * 32,
    }


@dataclass(frozen=True)
class Passing:
    """A location that passes requests on: where it stands, the names of its server, how it speaks to the next hop for the first of them."""

    place: str
    server: str
    names: tuple[str, ...]
    pattern: str
    proxy: Proxy
    varies: bool


def passing(config: Config) -> Iterator[Passing]:
    """Every location that passes requests on, by TLS or not."""
    for server, chain, directive in _passing_blocks(config):
        names = names_of(server)
        way = Effective(host=names[0], path="/", version="", server_names=names)
        variables = Variables(config.http, _request_values(way))
        for block in chain[1:]:
            variables.set_from(block)
        next_hop(config, way, chain, directive, variables)
        if way.proxy is not None:
            pattern = "".join(modifier_of(chain[-1])) if chain[-1].name == "location" else ""
            yield Passing(place_of(chain[-1]), place_of(server), tuple(names), pattern, way.proxy, "$" in directive.args[0])


def _passing_blocks(config: Config) -> Iterator[tuple[Directive, list[Directive], Directive]]:
    """(server, blocks from http to the location, proxy_pass or grpc_pass)."""

    def inside(chain: list[Directive]) -> Iterator[tuple[list[Directive], Directive]]:
        for passing in passes(chain[-1]):
            yield chain, passing
        for location in chain[-1].find("location"):
            yield from inside([*chain, location])

    for server in config.servers:
        for chain, passing in inside([*config.http[:1], server]):
            yield server, chain, passing
