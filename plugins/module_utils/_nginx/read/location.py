# SPDX-License-Identifier: GPL-3.0-or-later
"""Which location answers a path, and what it does: answer by itself, or pass the request on."""

from __future__ import annotations

import re

from . import host_table
from .model import Config, Effective, modifier_of, place_of
from .next_hop import next_hop
from .syntax import Directive
from .variables import Variables


def follow(config: Config, way: Effective, chain: list[Directive], variables: Variables) -> None:
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
        way.location, way.location_place = " ".join(location.args), place_of(location)
        if _rewritten(way, location, variables, sets=False):
            return
    passing = (passes(chain[-1]) if matched else []) or _fallback(chain)
    if not passing:
        way.answer = "serves files" if not any(chain[-1].find(name) for name in _OTHER_HANDLERS) else "passes on by another protocol"
        return
    if passing[0] not in (chain[-1].block or []):
        fallback = next(block for block in chain[1].find("location") if passing[0] in (block.block or []))
        chain = [*chain[:2], fallback]
        way.location, way.location_place = " ".join(fallback.args), place_of(fallback)
        variables.set_from(fallback)
    if any(chain[-1].find(name) for name in ("if", "limit_except")):
        way.notes.append(f"{way.location_place} has an if or limit_except block, which is not looked into")
    next_hop(config, way, chain, passing[0], variables)


_OTHER_HANDLERS = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass")


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
                way.notes.append(f"{place_of(directive)} rewrites the path, which is not followed")
            else:
                way.path = target + separator + query
            return False
    return False


def passes(block: Directive) -> list[Directive]:
    """The directives of this very block that pass requests on by HTTP or gRPC."""
    return [*block.find("proxy_pass"), *block.find("grpc_pass")]


def _fallback(chain: list[Directive]) -> list[Directive]:
    """``proxy_pass`` or ``grpc_pass`` of the named location that ``try_files`` ends in."""
    for block in reversed(chain[1:]):
        for directive in block.find("try_files"):
            last = directive.args[-1]
            if last.startswith("@"):
                return [each for location in chain[1].find("location") if location.args[-1:] == [last] for each in passes(location)]
    return []


def _locate(block: Directive, uri: str, variables: Variables) -> list[Directive]:
    """The location that answers ``uri``, with those around it first; [] for none. As ngx_http_core_find_location does."""
    longest: Directive | None = None
    length, skip_patterns = -1, False
    patterns = []
    for location in block.find("location"):
        modifier, text = modifier_of(location)
        if modifier == "=" and text == uri:
            return [location]
        if modifier in ("", "^~") and uri.startswith(text) and len(text) > length:
            longest, length, skip_patterns = location, len(text), modifier == "^~"
        if modifier in ("~", "~*"):
            patterns.append((location, text, re.IGNORECASE if modifier == "~*" else 0))
    nested: list[Directive] = []
    if longest is not None:
        nested = _locate(longest, uri, variables)
        if nested and modifier_of(nested[-1])[0] in ("=", "~", "~*"):
            return [longest, *nested]
    if not skip_patterns:
        for location, text, flags in patterns:
            match = host_table.search(text, uri, flags)
            if match:
                variables.capture(match)
                return [location, *_locate(location, uri, variables)]
    return [longest, *nested] if longest is not None else []
