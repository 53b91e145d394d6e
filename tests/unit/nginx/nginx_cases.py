# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations in which any one value may be any text: what is put where, and what the outcome has to be."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st
from nginx_rendering import MUTUAL, files_of, flat, inlined, read_back, route

from plugins.module_utils._nginx.write.blocks import Settings
from plugins.module_utils._nginx.write.offload import as_dict, offload
from plugins.module_utils._routes.load import load

ADDRESS = "192.0.2.77:30443"
#: Values of the role rather than of a route.
OUTSIDE = {
    "address": ADDRESS, "material": "/base/material", "ciphers": "BASE+CIPHERS", "version": "1.22.1", "access_log": "/base/access.log",
    "resolver": "192.0.2.153", "found": "192.0.2.88", "inner_port": "1488",
}  # fmt: skip
_SERVICE = {"namespace": "shop", "name": "web", "port": 8000}
# Every value distinct, so that it is seen where it goes.
_ENDED = route(
    **MUTUAL,
    hosts=["www.base.example"],
    listen={
        "certificate": {"cert_file": "/base/front.crt", "key_file": "/base/front.key"}, "port": 8443, "http_port": 8080,
        "acme_webroot": "/base/acme", "hsts": {"max_age": 4711},
    },
    upstream_tls__server_name="sni.base.example", upstream_tls__verify_depth=7,
    proxy={
        "connect_timeout": "11s", "read_timeout": "12s", "send_timeout": "13s", "keepalive": 17, "next_upstream": ["http_502"],
        "client_max_body_size": "14m",
    },
    paths=[
        {"service": _SERVICE},
        {"path": "/own", "match": "exact", "service": _SERVICE, "proxy": {
            "connect_timeout": "21s", "read_timeout": "22s", "send_timeout": "23s", "client_max_body_size": "24m",
            "next_upstream": ["http_503"],
            "buffering": False, "request_buffering": False,
        }},
        {"path": "/pkg.Service", "service": _SERVICE, "proxy": {
            "protocol": "grpc", "connect_timeout": "31s", "read_timeout": "32s", "send_timeout": "33s", "client_max_body_size": "34m",
            "next_upstream": ["http_504"],
        }},
    ],
    rate_limit={"rate": "41r/s", "burst": 42, "connections": 43},
    access_log="json",
)  # fmt: skip
_PASSED = {
    "name": "passed", "hosts": ["one.passed.example", "two.passed.example"],
    "listen": {"mode": "passthrough", "port": 9443, "http_port": 9080},
    "upstream_tls": {"mode": "simple"}, "paths": [{"service": _SERVICE}], "access_log": "json",
    "proxy": {"connect_timeout": "51s", "read_timeout": "52s", "proxy_protocol": True},
}  # fmt: skip


@dataclass(frozen=True)
class Base:
    """A route as written, and what of it stands in a configuration."""

    written: dict[str, Any]

    @cached_property
    def places(self) -> list[tuple[Any, ...]]:
        """Values of this host's configuration: the rest is for the cluster, and a choice or a boolean turns directives on and off."""
        parts = ("name", "host", "hosts", "listen", "upstream_tls", "proxy", "rate_limit", "paths")
        return [
            place
            for place in sorted(leaves(self.written), key=str)
            if place[0] in parts
            and not {"mode", "protocol", "match", "service", "client_names"} & set(place)
            and lookup(self.written, place) not in (None, True, False, "")
        ]

    def directives(self, outside: dict[str, Any]) -> list[tuple[tuple[str, ...], list[str]]]:
        return directives(configuration(self.written, outside))


BASES = {"ended": Base(_ENDED), "passed": Base(_PASSED)}


def leaves(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, item in items:
        found = True
        yield from leaves(item, (*above, key))
    if not found and not isinstance(value, (dict, list)):
        yield above


def lookup(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def replaced(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    lookup(value, place[:-1])[place[-1]] = new
    return value


# Texts that mean something to nginx, Jinja, YAML or a shell, and the neighbourhoods of good values.
PIECES = st.sampled_from(
    [
        ";", "{", "}", "\n", "\r", "\t", " ", "\x00", "#", "$", "${x}", "$host", '"', "'", "\\", "..", "/", "*", "*.", "~", "{{", "{%",
        "}}", "%0a", "ssl_verify off;", "return 200;", "unix:/x", "a", "z", "0", "9", "-", ".", ":", "@", "é", "\u2028", "\u00a0", "\u0663",
        "on", "off", "443", "1.2.3.4", "s", "m", "r/s", "10r/m",
    ]
)  # fmt: skip
TEXT = st.one_of(st.lists(PIECES, max_size=6).map("".join), st.text(max_size=30))


def configuration(written: dict[str, Any], outside: dict[str, Any]) -> tuple[str, str]:
    """What stands in the http and in the stream context for a route that passes the reading."""
    # the version decides whether nginx resolves a gateway's name or is given its addresses
    chosen = Settings(
        build=f"nginx version: nginx/{outside['version']}", material=outside["material"], ipv6=False,
        inner_port=outside["inner_port"], resolvers=[outside["resolver"]], resolved={"named.base.example": [outside["found"]]},
        access_log=outside["access_log"],
    )  # fmt: skip
    made = as_dict(offload(load([written]), {"main": [outside["address"], "named.base.example:444"]}, chosen))
    files = files_of(made, nginx_offload_ciphers=outside["ciphers"])
    # in the order of the plan: that of names would be another for another port
    order = [file["path"] for file in (*made["http"], *made["stream"])].index
    return inlined(files, "", order), inlined(files, "stream/", order)


def directives(texts: tuple[str, str]) -> list[tuple[tuple[str, ...], list[str]]]:
    # loopback addresses are made from the port
    # an upstream is named by all that makes its connections
    http, stream = (
        re.sub(r"edge_(to_[a-z]+_)?[0-9a-f]{12}", r"edge_\1identity", re.sub(r"127\.102\.[0-9.]+:", "127.102.p.p:", text)) for text in texts
    )
    found = flat(read_back(http)) + (flat(read_back(stream, "stream"), ("stream",)) if stream else [])
    # what stands first in a map is a value
    found = [((*name[:-1], "entry"), [name[-1], *args]) if "map" in name[:-1] else (name, args) for name, args in found]
    return [one for one in found if one[0][-1] not in ("server_names_hash_bucket_size", "map_hash_bucket_size")]


def without_the_slashless(texts: tuple[str, str], path: str) -> tuple[str, str]:
    """Without the location that keeps nginx from a redirect of its own, where a path ends in a slash."""
    text, stream = texts
    head, found, rest = text.partition(f"    location = {path[:-1]} {{\n") if path.endswith("/") else (text, "", "")
    return (head + rest.partition("    }\n")[2] if found else text), stream


def written_as(old: str, new: str, case: str) -> tuple[str, str]:
    """The texts that stand in the configuration for a value: a Secret's namespace is part of its path."""
    if case.endswith("client_certificate") and "/" in new:
        return f"edgemesh/{old}", new
    return old, new


def check(texts: tuple[str, str], base: list[tuple[tuple[str, ...], list[str]]], old: str, new: str, case: str) -> None:
    """The configuration differs from the base only by the new value in the base value's places."""
    found = directives(texts)
    old, new = written_as(old, new, case)
    zero = re.fullmatch(r"0+(r/[sm])?", new) is not None
    gone = {"proxy.keepalive": "keepalive", "rate_limit.connections": "limit_conn"}.get(case) if zero else None
    if gone:
        left = [name for name, _args in base if not name[-1].startswith(gone)]
        assert [name for name, _args in found] == left, "directives came or went"
        return
    assert [name for name, _args in found] == [name for name, _args in base], "directives came or went"
    for (name, args), (_name, before) in zip(found, base):
        if args == before:
            continue
        expected = [swap(arg, old, new, name) for arg in before]
        if name[-1] == "return" and new == "443":
            expected = [arg.replace(":443$request_uri", "$request_uri") for arg in expected]
        if zero and case == "rate_limit.burst":
            expected = [arg for arg in expected if not arg.startswith("burst=") and arg != "nodelay"]
        assert [plainly(arg) for arg in args] == [plainly(arg) for arg in expected], f"{name}: {args}"


def swap(arg: str, old: str, new: str, name: tuple[str, ...]) -> str:
    # nothing of a log format's own words is a value
    if name[-1] == "log_format" and f'"{old}"' in arg:
        return arg.replace(f'"{old}"', f'"{new}"')
    return re.sub(rf"(?<![0-9A-Za-z]){re.escape(old)}(?![0-9A-Za-z])", lambda _match: new, arg)


def plainly(arg: str) -> str:
    """The canonical form may lower the case, drop zeros, name seconds: nothing that changes what nginx reads."""
    text = re.sub(r"(?<![0-9])0+(?=[0-9])", "", arg.lower())
    return re.sub(r"^([0-9]+)s?$", r"\1", text)
