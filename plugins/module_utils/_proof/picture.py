# SPDX-License-Identifier: GPL-3.0-or-later
"""The path of a route as shapes of SVG: nodes, the hops between them, and what was seen on each.

Drawn twice: lying for a wide screen, standing for a phone.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Optional

from .safe import clock

GLYPHS = {"ok": "✓", "failed": "✗", "not_tested": "?"}
_NODE_HEIGHT = 96
Fields = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """An element of SVG. Its attributes are ours; text and title may come from anywhere."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    title: str = ""


@dataclass
class Drawing:
    """A whole picture. ``name`` says for which screen it is, ``label`` what it shows."""

    name: str
    label: str
    width: int = 0
    height: int = 0
    shapes: list[Shape] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, style: str, anchor: str = "", title: str = "") -> None:
        """One line of it."""
        place = {"text-anchor": anchor} if anchor else {}
        self.shapes.append(Shape("text", {"class": style, "x": f"{x:.0f}", "y": f"{y:.0f}", **place}, text, title))

    def box(self, x: float, y: float, width: float, height: float, style: str, corner: int) -> None:
        """A rectangle with round corners."""
        sizes = {"x": x, "y": y, "width": width, "height": height, "rx": corner}
        self.shapes.append(Shape("rect", {"class": style, **{name: f"{value:.0f}" for name, value in sizes.items()}}))

    def line(self, way: str, status: str) -> None:
        """A line in the colour of this status."""
        self.shapes.append(Shape("path", {"class": f"s-{status}", "stroke-width": "2", "d": way}))

    def close(self, width: float, height: float) -> Drawing:
        """Says how large it is."""
        self.width, self.height = round(width + 2), round(height + 8)
        return self


def pictures(route: Fields, hops: list[Fields]) -> list[Drawing]:
    """Both drawings; the style shows the one that fits.

    :param route: its entry in ``routes`` of proof.json, with its chain.
    :param hops: its entries in ``hops``.
    """
    chain, by_key = route["chain"], {hop["hop"]: hop for hop in hops}
    between = [by_key.get(hop["key"]) for hop in chain["hops"][:-1]]
    whole, title = by_key.get(chain["hops"][-1]["key"]), chain["hops"][-1]["title"]
    label = "The path: " + ", ".join(node["name"] for node in chain["nodes"])
    return [_wide(chain["nodes"], between, whole, title, label), _tall(chain["nodes"], between, whole, title, label)]


def _wide(nodes: list[Fields], between: list[Optional[Fields]], whole: Optional[Fields], title: str, label: str) -> Drawing:
    drawing, width, deepest = Drawing("wide", label), 1120.0, 0.0
    node = min(184.0, 736 / len(nodes))
    pitch = (width - node) / max(1, len(nodes) - 1)
    gap = pitch - node
    for index, each in enumerate(nodes):
        x = index * pitch
        _node(drawing, x, 0, node, each)
        if index == len(between):
            continue
        hop = between[index]
        _arrow(drawing, x + node + 4, _NODE_HEIGHT / 2, x + node + gap - 4, _NODE_HEIGHT / 2, hop)
        if hop:
            room = pitch - 22
            bottom = _facts(drawing, x + node + gap / 2 - room / 2, _NODE_HEIGHT + 34, int(room / 6.74), hop["facts"])
            deepest = max(deepest, bottom)
    bottom = max(deepest, _NODE_HEIGHT + 20) + 12
    return drawing.close(width, _whole(drawing, bottom, width, whole, title) if whole else bottom)


def _tall(nodes: list[Fields], between: list[Optional[Fields]], whole: Optional[Fields], title: str, label: str) -> Drawing:
    drawing, width, y = Drawing("tall", label), 360.0, 0.0
    for index, each in enumerate(nodes):
        _node(drawing, 0, y, width, each)
        y += _NODE_HEIGHT
        if index == len(between):
            continue
        hop, start = between[index], y
        y = max(_facts(drawing, 34, y + 44, 46, hop["facts"] if hop else []), y + 60)
        _arrow(drawing, 14, start + 4, 14, y - 4, hop, pill=(34, start + 20))
    return drawing.close(width, _whole(drawing, y + 18, width, whole, title) if whole else y)


def _node(drawing: Drawing, x: float, y: float, width: float, node: Fields) -> None:
    middle, room = x + width / 2, int(width / 8.6)
    others = f" + {len(node['sees']) - 1}" if len(node["sees"]) > 1 else ""
    sees = f"sees {node['sees'][0]}{others}" if node["sees"] else ""
    drawing.box(x, y, width, _NODE_HEIGHT, "node", 10)
    drawing.text(middle, y + 20, node["label"], "kind", "middle")
    drawing.text(middle, y + 43, _cut(node["name"], room), "name", "middle", node["name"])
    drawing.text(middle, y + 63, _cut(node["detail"], int(room * 1.25)), "small", "middle", node["detail"])
    drawing.text(middle, y + 82, _cut(sees, int(room * 1.25)), "small", "middle", ", ".join(node["sees"]))


def _arrow(
    drawing: Drawing, x1: float, y1: float, x2: float, y2: float, hop: Optional[Fields], pill: Optional[tuple[float, float]] = None
) -> None:
    status = hop["status"] if hop else "not_tested"
    back, side = ((-8, 0), (0, 5)) if y1 == y2 else ((0, -8), (5, 0))
    wings = [f"{x2 + back[0] + sign * side[0]:.0f} {y2 + back[1] + sign * side[1]:.0f}" for sign in (-1, 1)]
    tip = f"{x2:.0f} {y2:.0f}"
    drawing.line(f"M{x1:.0f} {y1:.0f}L{tip}M{wings[0]}L{tip}L{wings[1]}", status)
    text = f"{GLYPHS[hop['status']]} {hop['session'] or 'HTTP'}" if hop else f"{GLYPHS['not_tested']} not looked at"
    width = 16 + 7.2 * len(text)
    left, middle = pill or ((x1 + x2 - width) / 2 - 3, y1)
    drawing.box(left, middle - 12, width, 24, f"b-{status}", 12)
    drawing.text(left + width / 2, middle + 4.5, text, f"pill f-{status}", "middle")


def _facts(drawing: Drawing, x: float, y: float, room: int, facts: list[Fields]) -> float:
    """Draws them below each other; returns where they end."""
    for fact in facts:
        drawing.text(x, y, GLYPHS[fact["status"]], f"pill f-{fact['status']}")
        for line in textwrap.wrap(fact["label"], room) or [""]:
            drawing.text(x + 16, y, line, "small")
            y += 15
        for line in _wrapped(fact["value"], room - 3):
            drawing.text(x + 16, y, line, "value", title=fact["value"])
            y += 16
        drawing.text(x + 16, y - 1, _when(fact), "small")
        y += 23
    return y - 8


def _whole(drawing: Drawing, y: float, width: float, hop: Fields, title: str) -> float:
    """The bracket under everything; returns where it ends."""
    status = hop["status"]
    drawing.line(f"M1 {y:.0f}v10h{width - 2:.0f}v-10", status)
    drawing.text(width / 2, y + 32, f"{GLYPHS[status]} {title}", f"pill f-{status}", "middle")
    y += 58
    columns = max(1, int(width // 350))
    bottom = y
    for index in range(0, len(hop["facts"]), columns):
        row = enumerate(hop["facts"][index : index + columns])
        bottom = max(_facts(drawing, (column * width / columns) + 4, y, int(width / columns / 8), [fact]) for column, fact in row)
        y = bottom + 12
    return bottom


def _when(fact: Fields) -> str:
    return " · ".join(filter(None, [clock(fact["at"]), f"{fact['milliseconds']:.1f} ms" if fact["milliseconds"] else ""]))


def _wrapped(value: str, room: int) -> list[str]:
    lines = textwrap.wrap(value, room, break_long_words=True) or ["-"]
    return lines if len(lines) <= 3 else [*lines[:2], _cut(lines[2] + " " + lines[3], room)]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"
