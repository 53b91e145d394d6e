"""What an nginx does with a request for a host and a path, read from what ``nginx -v -T`` prints.

nginx's own rules: which server answers, which location, what is inherited (a single ``proxy_set_header`` drops all inherited ones),
what is the default in this version. Pure; runs on the controller.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..._errors import EdgeError
from .. import commands
from . import host_table, preread, syntax
from .syntax import Directive
from .variables import Variables

# from this version on, upstreams are spoken to by HTTP/1.1 over kept connections unless told otherwise
KEEPALIVE_BY_DEFAULT = (1, 29, 7)
# values of such headers are nobody's business: they are not read
_SECRET = re.compile(r"auth|cookie|token|secret|key|password", re.IGNORECASE)
_PROTOCOLS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]


@dataclass(frozen=True)
class Listen:
    """A socket that nginx listens at. ``address`` is where this host itself can reach it."""

    address: str
    port: int
    tls: bool = False
    proxy_protocol: bool = False


@dataclass
class Proxy:
    """How a location speaks to the next hop, with everything resolved for the request.

    ``places`` says for each directive where it was read (``file:line``), "" for a default.
    """

    scheme: str
    target: str
    upstream: str = ""
    addresses: list[tuple[str, int]] = field(default_factory=list)
    path: str = "/"
    http_version: str = "1.0"
    host: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sni: str = ""
    ssl_name: str = ""
    ssl_name_varies: bool = False
    verify: bool = False
    verify_depth: int = 1
    ca: str = ""
    certificate: str = ""
    certificate_key: str = ""
    protocols: list[str] = field(default_factory=list)
    session_reuse: bool = True
    keepalive: bool = False
    places: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Proxy:
        """The reverse of :func:`dataclasses.asdict`."""
        return cls(**{**data, "addresses": [tuple(each) for each in data["addresses"]]})


@dataclass
class Effective:
    """The way of one request through nginx as far as the next hop."""

    host: str
    path: str
    version: str
    listen: Listen | None = None
    server: str = ""
    server_names: list[str] = field(default_factory=list)
    by_name: bool = False
    location: str = ""
    location_place: str = ""
    answer: str = ""
    asks_client_certificate: bool = False
    proxy: Proxy | None = None
    #: where TLS is passed on unopened, and whether the PROXY protocol comes before it
    passed: list[tuple[str, int]] = field(default_factory=list)
    passed_tells: bool = False
    notes: list[str] = field(default_factory=list)
    #: upstreams anywhere in the configuration that are reached with several identities (see sharing.py)
    shared: list[Shared] = field(default_factory=list)
    #: requests to the same place in this configuration that go out with another identity (see sharing.py)
    neighbours: list[Neighbour] = field(default_factory=list)
    #: where a Host header is set that the location loses by setting headers of its own
    lost_host: str = ""
    files: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Effective:
        """The reverse of :func:`dataclasses.asdict`."""
        way = dict(data)
        if way["listen"] is not None:
            way["listen"] = Listen(**way["listen"])
        if way["proxy"] is not None:
            way["proxy"] = Proxy.from_dict(way["proxy"])
        way["passed"] = [tuple(each) for each in way["passed"]]
        way["shared"] = [
            Shared(each["upstream"], each["address"], *(tuple(each[name]) for name in ("places", "differ", "by"))) for each in way["shared"]
        ]
        way["neighbours"] = [Neighbour(**{**each, "proxy": Proxy.from_dict(each["proxy"])}) for each in way["neighbours"]]
        return cls(**way)


@dataclass(frozen=True)
class Shared:
    """One upstream reached with several TLS identities.

    ``places`` are the locations, one for each identity; ``differ`` says in what, ``by`` says what nginx would lend: TLS sessions, pooled
    connections, or both.
    """

    upstream: str
    address: str
    places: tuple[str, ...]
    differ: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True)
class Neighbour:
    """A request at the same listener that nginx sends to the same place as another client."""

    host: str
    path: str
    place: str
    proxy: Proxy


@dataclass
class Config:
    """A whole nginx configuration."""

    version: tuple[int, ...]
    folder: str
    files: list[str]
    http: list[Directive]
    stream: list[Directive] = field(default_factory=list)

    @cached_property
    def servers(self) -> list[Directive]:
        """The http servers in their order."""
        return [server for block in self.http for server in block.find("server")]

    @cached_property
    def upstreams(self) -> dict[str, Directive]:
        """The upstream blocks by name."""
        return {block.args[0]: block for http in self.http for block in http.find("upstream") if block.args}

    @cached_property
    def sockets(self) -> dict[tuple[str, int], list[tuple[Directive, list[str]]]]:
        """The servers of each address and port, with the flags of their listen directives."""
        found: dict[tuple[str, int], list[tuple[Directive, list[str]]]] = {}
        for server in self.servers:
            for address, number, flags in _listens(server):
                found.setdefault((address, number), []).append((server, flags))
        return found


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
                f"{directive.name} has too few words", where=_place(directive), why="nginx would not have accepted it",
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
    choice = _choose_server(config, way.host, *(inner if inner and port is not None else (None, port)))
    if choice is None:
        return way
    way.listen, server, way.by_name = choice
    if ahead and (way.listen.address, way.listen.port) == inner:
        way.listen = Listen(_reachable(ahead.address), ahead.port, way.listen.tls, ahead.expects)
    way.server, way.server_names = _place(server), _names(server)
    way.asks_client_certificate = _last(server, "ssl_verify_client", ["off"])[0] in ("on", "optional", "optional_no_ca")
    chain = [*config.http[:1], server]
    variables = Variables(config.http, _request_values(way))
    _follow(config, way, chain, variables)
    way.lost_host = _lost_host(way, chain)
    return way


def _passed_on(way: Effective, ahead: preread.Way) -> Effective:
    way.listen, way.server, way.by_name = Listen(_reachable(ahead.address), ahead.port, True, ahead.expects), ahead.place, ahead.named
    way.passed, way.passed_tells = ahead.addresses, ahead.tells
    way.answer = f"passes TLS on unopened, to {ahead.target}" if ahead.target else "closes the connection"
    return way


# --- which server ----------------------------------------------------------------------------------------------------


def _choose_server(config: Config, host: str, at: str | None, port: int | None) -> tuple[Listen, Directive, bool] | None:
    choices = []
    for (address, number), members in config.sockets.items():
        if (port is not None and number != port) or (at is not None and address != at):
            continue
        named = _by_name([server for server, _flags in members], host)
        server = named or next((server for server, flags in members if "default_server" in flags or "default" in flags), members[0][0])
        all_flags = {flag for _server, given in members for flag in given}
        tls = "ssl" in all_flags or _last(server, "ssl", ["off"])[0] == "on"
        listen = Listen(_reachable(address), number, tls, "proxy_protocol" in all_flags)
        # by name first, TLS first, the well-known ports first, IPv4 first
        rank = (named is None, not tls, number not in (443, 80), ":" in address, number)
        choices.append((rank, listen, server, named is not None))
    if not choices:
        return None
    _rank, listen, server, by_name = min(choices, key=lambda choice: choice[0])
    return listen, server, by_name


def _listens(server: Directive) -> list[tuple[str, int, list[str]]]:
    found = []
    for directive in server.find("listen"):
        text, *flags = directive.args
        if text.startswith("unix:") or "quic" in flags:  # the latter is UDP's port of that number
            continue
        match = re.fullmatch(r"(?:(\[[^\]]+\]|[^:\[\]]+):)?(\d+)", text)
        if match:
            address, port = match[1] or "*", int(match[2])
        else:
            address, port = text, 80
        found.append((address, port, flags))
    return found if server.find("listen") else [("*", 80, [])]


def _reachable(address: str) -> str:
    plain = address.strip("[]")
    return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(plain, plain)  # noqa: S104


def _names(server: Directive) -> list[str]:
    return [name for directive in server.find("server_name") for name in directive.args] or [""]


def _by_name(servers: list[Directive], host: str) -> Directive | None:
    """The server that has this name; the first regular expression comes last. None where only the default is left."""
    names = [(name, server) for server in servers for name in _names(server)]
    found = host_table.find(((name, server) for name, server in names if not name.startswith("~")), host)
    return found or next((server for name, server in names if name.startswith("~") and host_table.search(name[1:], host)), None)


# --- which location --------------------------------------------------------------------------------------------------


def _follow(config: Config, way: Effective, chain: list[Directive], variables: Variables) -> None:
    """From the server into the location, as far as an answer or the next hop."""
    for block in chain[1:]:
        if _rewritten(way, block, variables):
            return
    matched = _locate(chain[-1], way.path.partition("?")[0], variables)
    chain = [*chain, *matched]
    for block in matched:
        variables.set_from(block)
    if matched:
        location = matched[-1]
        way.location, way.location_place = " ".join(location.args), _place(location)
        if _rewritten(way, location, variables, sets=False):
            return
    passing = (chain[-1].find("proxy_pass") if matched else []) or _fallback(chain)
    if not passing:
        way.answer = "serves files" if not any(chain[-1].find(name) for name in _OTHER_HANDLERS) else "passes on by another protocol"
        return
    if passing[0] not in (chain[-1].block or []):
        fallback = next(block for block in chain[1].find("location") if passing[0] in (block.block or []))
        chain = [*chain[:2], fallback]
        way.location, way.location_place = " ".join(fallback.args), _place(fallback)
        variables.set_from(fallback)
    if any(chain[-1].find(name) for name in ("if", "limit_except")):
        way.notes.append(f"{way.location_place} has an if or limit_except block, which is not looked into")
    _proxy(config, way, chain, passing[0], variables)


_OTHER_HANDLERS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass", "memcached_pass")


def _rewritten(way: Effective, block: Directive, variables: Variables, sets: bool = True) -> bool:
    """Whether ``return`` in this block answers; also takes ``set`` and a ``rewrite … break`` into account."""
    if sets:
        variables.set_from(block)
    for directive in block.block or []:
        if directive.name == "return":
            way.answer = f"return {variables.text(' '.join(directive.args)) or ' '.join(directive.args)}"
            return True
        if directive.name == "rewrite" and len(directive.args) >= 2:
            pattern, replacement = directive.args[:2]
            path, separator, query = way.path.partition("?")
            match = host_table.search(pattern, path)
            if not match:
                continue
            variables.capture(match)
            target = variables.text(replacement)
            if target is None or directive.args[2:] != ["break"]:
                way.notes.append(f"{_place(directive)} rewrites the path, which is not followed")
            else:
                way.path = target + separator + query
            return False
    return False


def _fallback(chain: list[Directive]) -> list[Directive]:
    """``proxy_pass`` of the named location that ``try_files`` ends in."""
    for block in reversed(chain[1:]):
        for directive in block.find("try_files"):
            last = directive.args[-1]
            if last.startswith("@"):
                return [
                    each for location in chain[1].find("location") if location.args[-1:] == [last] for each in location.find("proxy_pass")
                ]
    return []


def _modifier(location: Directive) -> tuple[str, str]:
    """(modifier, pattern); the two may be written as one word."""
    if len(location.args) >= 2:
        return location.args[0], location.args[1]
    text = location.args[0] if location.args else ""
    for modifier in ("=", "^~", "~*", "~", "@"):
        if text.startswith(modifier):
            return modifier, text[len(modifier) :]
    return "", text


def _locate(block: Directive, uri: str, variables: Variables) -> list[Directive]:
    """The location that answers ``uri``, with those around it first; [] for none. As ngx_http_core_find_location does."""
    longest: Directive | None = None
    length, skip_patterns = -1, False
    patterns = []
    for location in block.find("location"):
        modifier, text = _modifier(location)
        if modifier == "=" and text == uri:
            return [location]
        if modifier in ("", "^~") and uri.startswith(text) and len(text) > length:
            longest, length, skip_patterns = location, len(text), modifier == "^~"
        if modifier in ("~", "~*"):
            patterns.append((location, text, re.IGNORECASE if modifier == "~*" else 0))
    nested: list[Directive] = []
    if longest is not None:
        nested = _locate(longest, uri, variables)
        if nested and _modifier(nested[-1])[0] in ("=", "~", "~*"):
            return [longest, *nested]
    if not skip_patterns:
        for location, text, flags in patterns:
            match = host_table.search(text, uri, flags)
            if match:
                variables.capture(match)
                return [location, *_locate(location, uri, variables)]
    return [longest, *nested] if longest is not None else []


# --- how the next hop is spoken to -----------------------------------------------------------------------------------


def _proxy(config: Config, way: Effective, chain: list[Directive], passing: Directive, variables: Variables) -> None:
    target = variables.text(passing.args[0])
    match = re.fullmatch(r"(https?)://(unix:[^:]+|\[[^\]]+\]|[^/:]+)(?::(\d+))?(:?/.*)?", target or "")
    if not match:
        way.notes.append(f"{_place(passing)}: where {passing.args[0]} leads depends on what only nginx knows")
        way.proxy = Proxy(scheme="https" if passing.args[0].startswith("https") else "http", target=passing.args[0])
        return
    scheme, name, port, uri = match[1], match[2], match[3], match[4]
    socket = name.startswith("unix:")
    if socket:
        name, uri = "localhost", (uri or "").removeprefix(":")  # so nginx itself calls it
    default = 443 if scheme == "https" else 80
    number = int(port or default)
    proxy = Proxy(scheme=scheme, target=target or "", places={"proxy_pass": _place(passing)})
    way.proxy = proxy
    variables.values["proxy_host"] = name if number == default else f"{name}:{number}"
    variables.values["proxy_port"] = str(number)
    upstream = config.upstreams.get(name)
    new = config.version >= KEEPALIVE_BY_DEFAULT
    if upstream is not None:
        proxy.upstream = name
        proxy.addresses = _members(upstream, way)
        proxy.keepalive = bool(upstream.find("keepalive")) or new
    elif socket:
        way.notes.append(f"{_place(passing)}: a unix socket is not probed")
    else:
        proxy.addresses = [(name.strip("[]"), number)]
    proxy.path = _sent_path(way, chain[-1], uri, "$" in passing.args[0])
    proxy.http_version = _setting(chain, "proxy_http_version", ["1.1" if new else "1.0"], proxy)[0]
    _headers(way, chain, variables, proxy, new)
    if scheme == "https":
        _tls(config, way, chain, variables, proxy)


def _members(upstream: Directive, way: Effective) -> list[tuple[str, int]]:
    found = []
    for server in upstream.find("server"):
        text, *flags = server.args
        if "down" in flags or text.startswith("unix:"):
            way.notes.append(f"{_place(server)}: {text} is {'marked down' if 'down' in flags else 'a unix socket'} and not probed")
            continue
        match = re.fullmatch(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?", text)
        if match:
            # a server of an upstream block without a port is at 80, also behind proxy_pass https://
            found.append((match[1].strip("[]"), int(match[2] or 80)))
    return found


def _sent_path(way: Effective, location: Directive, uri: str | None, varies: bool) -> str:
    """The path that goes to the next hop: with a URI in proxy_pass it takes the place of what the location matched."""
    if not uri:
        return way.path
    if varies:
        return uri
    modifier, text = _modifier(location)
    return uri + way.path[len(text) :] if modifier in ("", "^~", "=") else uri


def _headers(way: Effective, chain: list[Directive], variables: Variables, proxy: Proxy, new: bool) -> None:
    """All headers of the innermost level that sets any; the others are dropped."""
    headers = {"host": ("Host", "$proxy_host")}
    if not (new and proxy.http_version == "1.1"):
        headers["connection"] = ("Connection", "close")
    for block in reversed(chain):
        own = block.find("proxy_set_header")
        if own:
            proxy.places["proxy_set_header"] = _place(own[0])
            for directive in own:
                name = directive.args[0]
                headers[name.lower()] = (name, directive.args[1] if len(directive.args) > 1 else "")
                proxy.places[f"proxy_set_header {name}"] = _place(directive)
            break
    for key, (name, template) in headers.items():
        if _SECRET.search(name):
            continue
        value = variables.text(template)
        if value is None:
            way.notes.append(f"header {name}: {template} depends on what only nginx knows, so it is left out of the replay")
        elif key == "host":
            proxy.host = value
        else:
            proxy.headers[name] = value
    proxy.headers.setdefault("Connection", "")


def _lost_host(way: Effective, chain: list[Directive]) -> str:
    places = way.proxy.places if way.proxy else {}
    if "proxy_set_header Host" in places or "proxy_set_header" not in places:
        return ""
    return next(
        (
            _place(each)
            for block in reversed(chain)
            for each in block.find("proxy_set_header")
            if each.args[:1] and each.args[0].lower() == "host"
        ),
        "",
    )


def _tls(config: Config, way: Effective, chain: list[Directive], variables: Variables, proxy: Proxy) -> None:
    def value(name: str, default: str) -> str:
        template = _setting(chain, name, [default], proxy)[0]
        text = variables.text(template)
        if text is None:
            way.notes.append(f"{name} {template} depends on what only nginx knows")
        return text or ""

    def file(name: str) -> str:
        path = value(name, "")
        return os.path.join(config.folder, path) if path else ""

    name = value("proxy_ssl_name", "$proxy_host")
    proxy.ssl_name_varies = "$" in _setting(chain, "proxy_ssl_name", [""], proxy)[0]
    proxy.ssl_name = name if name.count(":") > 1 and not name.startswith("[") else re.sub(r":\d*$", "", name)
    if value("proxy_ssl_server_name", "off") == "on" and not _is_address(proxy.ssl_name):
        proxy.sni = proxy.ssl_name
    proxy.verify = value("proxy_ssl_verify", "off") == "on"
    proxy.verify_depth = int(value("proxy_ssl_verify_depth", "1") or 1)
    proxy.ca = file("proxy_ssl_trusted_certificate")
    proxy.certificate, proxy.certificate_key = file("proxy_ssl_certificate"), file("proxy_ssl_certificate_key")
    proxy.session_reuse = value("proxy_ssl_session_reuse", "on") == "on"
    proxy.protocols = _setting(chain, "proxy_ssl_protocols", _default_protocols(config.version), proxy)


def _default_protocols(version: tuple[int, ...]) -> list[str]:
    if version >= (1, 27, 3):
        return _PROTOCOLS[2:]
    return _PROTOCOLS if version >= (1, 23, 4) else _PROTOCOLS[:3]


def _setting(chain: list[Directive], name: str, default: list[str], proxy: Proxy) -> list[str]:
    """A directive's words from the innermost level that has it."""
    for block in reversed(chain):
        own = block.find(name)
        if own:
            proxy.places[name] = _place(own[-1])
            return own[-1].args or default
    proxy.places[name] = ""
    return default


def _last(block: Directive, name: str, default: list[str]) -> list[str]:
    own = block.find(name)
    return own[-1].args if own and own[-1].args else default


def _place(directive: Directive) -> str:
    return f"{directive.file}:{directive.line}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


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


# --- all of it ---------------------------------------------------------------------------------------------------------


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
        names = _names(server)
        way = Effective(host=names[0], path="/", version="", server_names=names)
        variables = Variables(config.http, _request_values(way))
        for block in chain[1:]:
            variables.set_from(block)
        _proxy(config, way, chain, directive, variables)
        if way.proxy is not None:
            pattern = "".join(_modifier(chain[-1])) if chain[-1].name == "location" else ""
            yield Passing(_place(chain[-1]), _place(server), tuple(names), pattern, way.proxy, "$" in directive.args[0])


def _passing_blocks(config: Config) -> Iterator[tuple[Directive, list[Directive], Directive]]:
    """(server, blocks from http to the location, proxy_pass)."""

    def inside(chain: list[Directive]) -> Iterator[tuple[list[Directive], Directive]]:
        for passing in chain[-1].find("proxy_pass"):
            yield chain, passing
        for location in chain[-1].find("location"):
            yield from inside([*chain, location])

    for server in config.servers:
        for chain, passing in inside([*config.http[:1], server]):
            yield server, chain, passing
