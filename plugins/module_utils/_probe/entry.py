# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries of edge_probe's ``paths`` from types: what :func:`.spec.path` reads as that very path.

``entry(Path("shop", "192.0.2.1", 443, tls=Tls(sni="shop.example.com", rules="none"), http=Http(path="/", host="shop.example.com")))``

A variant is ``dataclasses.replace(path, ...)``. Nothing is guessed: ``Tls()`` sends no server name, ``Http()`` no Host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from .spec import Path

#: a reader that doesn't find these fills them in
_ALWAYS = {"sni", "host"}


def entry(path: Path) -> dict[str, Any]:
    """``path`` as one entry of edge_probe's ``paths``, without what is the default; of requests before it their method, path and host."""
    made = _options(path)
    for before in made.get("http", {}).get("after", ()):
        before.setdefault("method", "GET")
        before.pop("headers", None)
    return made


def _options(part: Any) -> dict[str, Any]:
    made = {}
    for each in fields(part):
        value = getattr(part, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if value != default or each.name in _ALWAYS:
            made[each.name] = _ranges(value) if each.name == "status" else _plain(value)
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return _options(value) if is_dataclass(value) else value


def _ranges(statuses: Iterable[int]) -> list[str]:
    """``["200-299", "404"]``."""
    found: list[tuple[int, int]] = []
    for status in sorted(set(statuses)):
        first = found.pop()[0] if found and found[-1][1] == status - 1 else status
        found.append((first, status))
    return [str(first) if first == last else f"{first}-{last}" for first, last in found]
