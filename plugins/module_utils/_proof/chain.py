# SPDX-License-Identifier: GPL-3.0-or-later
"""The path of a kind's routes: nodes, and the hops between them, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Known:
    """What a node's texts are made of.

    :param facts: the kind's own facts about the route (see :class:`.kind.Summary`).
    :param hops: what was seen of each hop that was looked at, by its key.
    """

    facts: Mapping[str, Any]
    hops: Mapping[str, Mapping[str, Any]]

    def ends(self, end: str, *hops: str) -> str:
        """The places at one end of the first of these hops that was looked at.

        :param end: "from" or "to".
        """
        return some(next((list(self.hops[hop][end]) for hop in hops if hop in self.hops), []))

    def session(self, hop: str) -> str:
        """How the ends of this hop speak; "" where nothing shows it."""
        return str(self.hops.get(hop, {}).get("session", ""))


def some(names: list[str]) -> str:
    """As many names as there is room for."""
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


Told = Callable[[Known], str]


@dataclass(frozen=True)
class Node:
    """A place on the path.

    :param label: what it is, in capitals.
    :param name: says which one it is, or which ones.
    :param detail: says something more about it.
    :param proxy: it passes HTTP on, and adds to X-Forwarded-For where the request came from.
    """

    key: str
    label: str
    name: Told
    detail: Told
    proxy: bool = False


@dataclass(frozen=True)
class Hop:
    """A part of the path, from one node to another."""

    key: str
    start: str
    end: str
    title: str


@dataclass(frozen=True)
class Chain:
    """The whole path: n nodes, n - 1 hops from each to the next, and one hop more that spans all of them."""

    nodes: tuple[Node, ...]
    hops: tuple[Hop, ...]

    @property
    def between(self) -> tuple[Hop, ...]:
        """From each node to the next."""
        return self.hops[:-1]

    @property
    def whole(self) -> Hop:
        """From the first node to the last."""
        return self.hops[-1]

    @property
    def order(self) -> list[str]:
        """The keys of the hops."""
        return [hop.key for hop in self.hops]

    @property
    def proxies(self) -> list[str]:
        """The keys of the nodes that pass HTTP on."""
        return [node.key for node in self.nodes if node.proxy]

    def drawn(self, known: Known) -> dict[str, Any]:
        """The chain of one route as JSON types, with everything that the page needs to draw it."""
        return {
            "nodes": [
                {
                    "key": node.key,
                    "label": node.label,
                    "name": node.name(known),
                    "detail": node.detail(known),
                    "sees": sorted({address for hop in known.hops.values() for address in hop["saw"].get(node.key, [])}),
                }
                for node in self.nodes
            ],
            "hops": [{"key": hop.key, "from": hop.start, "to": hop.end, "title": hop.title} for hop in self.hops],
        }
