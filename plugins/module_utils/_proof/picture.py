"""The path of a route as SVG: four nodes, the hops between them, and what was seen on each.

Drawn twice: lying for a wide screen, standing for a phone.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .checks import FRONT, GATEWAY, MESH, PATH
from .safe import clock, escape

GLYPHS = {"ok": "✓", "failed": "✗", "not_tested": "?"}
_NODE_HEIGHT = 96


@dataclass(frozen=True)
class Node:
    """A box: its kind, its name, a line of detail, and whom it takes its requests to come from."""

    kind: str
    name: str
    detail: str = ""
    sees: Sequence[str] = ()


def picture(route: dict[str, Any], hops: list[dict[str, Any]]) -> str:
    """Both drawings; the style shows the one that fits."""
    by_name = {hop["hop"]: hop for hop in hops}
    nodes = _nodes(route, by_name)
    between = [by_name.get(name) for name in (FRONT, GATEWAY, MESH)]
    return _wide(nodes, between, by_name.get(PATH)) + _tall(nodes, between, by_name.get(PATH))


def _nodes(route: dict[str, Any], hops: dict[str, dict[str, Any]]) -> list[Node]:
    front, gateway = hops.get(FRONT) or hops.get(PATH) or {}, hops.get(GATEWAY) or {}
    namespace, _slash, service = route["gateway"].rpartition("/")
    saw = (hops.get(PATH) or {}).get("saw") or {}
    return [
        Node("CLIENT", _some(front.get("from", [])) or "client", f"asks for {route['host']}"),
        Node("NGINX", _some(front.get("to", [])) or "nginx", "ends TLS, starts its own", saw.get("nginx", ())),
        Node("MESH GATEWAY", service, _some(gateway.get("to", [])) or namespace, saw.get("gateway", ())),
        Node("APP", _some(route["services"]), "behind its sidecar" if hops.get(MESH, {}).get("session") else "",
             saw.get("app", ())),
    ]  # fmt: skip


def _some(names: list[str]) -> str:
    """As many as there is room for."""
    return ", ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} more"


def _pill(hop: Optional[dict[str, Any]]) -> str:
    return f"{GLYPHS[hop['status']]} {hop['session'] or 'HTTP'}" if hop else f"{GLYPHS['not_tested']} not looked at"


def _wide(nodes: list[Node], between: list[Optional[dict[str, Any]]], whole: Optional[dict[str, Any]]) -> str:
    width, node, gap = 1120, 184, 128
    parts, deepest = [], 0.0
    for index, each in enumerate(nodes):
        x = index * (node + gap)
        parts.append(_node(x, 0, node, each))
        if index == len(between):
            continue
        hop = between[index]
        parts.append(_arrow(x + node + 4, _NODE_HEIGHT / 2, x + node + gap - 4, _NODE_HEIGHT / 2, hop))
        if hop:
            drawn, bottom = _facts(x + node + gap / 2 - 145, _NODE_HEIGHT + 34, 43, hop["facts"])
            parts.append(drawn)
            deepest = max(deepest, bottom)
    bottom = max(deepest, _NODE_HEIGHT + 20) + 12
    if whole:
        drawn, bottom = _whole(0, bottom, width, whole)
        parts.append(drawn)
    return _svg("wide", width, bottom, parts)


def _tall(nodes: list[Node], between: list[Optional[dict[str, Any]]], whole: Optional[dict[str, Any]]) -> str:
    width, parts, y = 360, [], 0.0
    for index, each in enumerate(nodes):
        parts.append(_node(0, y, width, each))
        y += _NODE_HEIGHT
        if index == len(between):
            continue
        hop, start = between[index], y
        drawn, bottom = _facts(34, y + 44, 46, hop["facts"] if hop else [])
        y = max(bottom, y + 60)
        parts += [drawn, _arrow(14, start + 4, 14, y - 4, hop, pill=(34, start + 20))]
    if whole:
        drawn, y = _whole(0, y + 18, width, whole)
        parts.append(drawn)
    return _svg("tall", width, y, parts)


def _svg(name: str, width: float, height: float, parts: list[str]) -> str:
    label = "The path from the client through nginx and the gateway to the app"
    return f'<svg class="{name}" viewBox="-1 -1 {width + 2:.0f} {height + 8:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _node(x: float, y: float, width: float, node: Node) -> str:
    middle, room = x + width / 2, int(width / 8.6)
    others = f" + {len(node.sees) - 1}" if len(node.sees) > 1 else ""
    sees = f"sees {node.sees[0]}{others}" if node.sees else ""
    return (
        f'<rect class="node" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_NODE_HEIGHT}" rx="10"/>'
        + _text(middle, y + 20, node.kind, "kind", anchor="middle")
        + _text(middle, y + 43, _cut(node.name, room), "name", anchor="middle", title=node.name)
        + _text(middle, y + 63, _cut(node.detail, int(room * 1.25)), "small", anchor="middle", title=node.detail)
        + _text(middle, y + 82, _cut(sees, int(room * 1.25)), "small", anchor="middle", title=", ".join(node.sees))
    )


def _arrow(x1: float, y1: float, x2: float, y2: float, hop: Optional[dict[str, Any]], pill: Optional[tuple[float, float]] = None) -> str:
    status = hop["status"] if hop else "not_tested"
    back, side = ((-8, 0), (0, 5)) if y1 == y2 else ((0, -8), (5, 0))
    wings = [f"{x2 + back[0] + sign * side[0]:.0f} {y2 + back[1] + sign * side[1]:.0f}" for sign in (-1, 1)]
    tip = f"{x2:.0f} {y2:.0f}"
    line = f'<path class="s-{status}" stroke-width="2" d="M{x1:.0f} {y1:.0f}L{tip}M{wings[0]}L{tip}L{wings[1]}"/>'
    text = _pill(hop)
    width = 16 + 7.2 * len(text)
    left, middle = pill or ((x1 + x2 - width) / 2 - 3, y1)
    return (
        line
        + f'<rect class="b-{status}" x="{left:.0f}" y="{middle - 12:.0f}" width="{width:.0f}" height="24" rx="12"/>'
        + _text(left + width / 2, middle + 4.5, text, f"pill f-{status}", anchor="middle")
    )


def _facts(x: float, y: float, room: int, facts: list[dict[str, Any]]) -> tuple[str, float]:
    parts = []
    for fact in facts:
        parts.append(_text(x, y, GLYPHS[fact["status"]], f"pill f-{fact['status']}"))
        for line in textwrap.wrap(fact["label"], room) or [""]:
            parts.append(_text(x + 16, y, line, "small"))
            y += 15
        for line in _wrapped(fact["value"], room - 3):
            parts.append(_text(x + 16, y, line, "value", title=fact["value"]))
            y += 16
        parts.append(_text(x + 16, y - 1, _when(fact), "small"))
        y += 23
    return "".join(parts), y - 8


def _whole(x: float, y: float, width: float, hop: dict[str, Any]) -> tuple[str, float]:
    """The bracket under everything: from the client to the app."""
    status = hop["status"]
    parts = [
        f'<path class="s-{status}" stroke-width="2" d="M{x + 1:.0f} {y:.0f}v10h{width - 2:.0f}v-10"/>',
        _text(x + width / 2, y + 32, f"{GLYPHS[status]} client to app, through nginx", f"pill f-{status}", anchor="middle"),
    ]
    y += 58
    columns = max(1, int(width // 350))
    bottom = y
    for index in range(0, len(hop["facts"]), columns):
        ends = []
        for column, fact in enumerate(hop["facts"][index : index + columns]):
            drawn, end = _facts(x + (column * width / columns) + 4, y, int(width / columns / 8), [fact])
            parts.append(drawn)
            ends.append(end)
        bottom = max(ends)
        y = bottom + 12
    return "".join(parts), bottom


def _when(fact: dict[str, Any]) -> str:
    return " · ".join(filter(None, [clock(fact["at"]), f"{fact['milliseconds']:.1f} ms" if fact["milliseconds"] else ""]))


def _wrapped(value: str, room: int) -> list[str]:
    lines = textwrap.wrap(value, room, break_long_words=True) or ["-"]
    return lines if len(lines) <= 3 else [*lines[:2], _cut(lines[2] + " " + lines[3], room)]


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _text(x: float, y: float, text: str, style: str, anchor: str = "", title: str = "") -> str:
    hint = f"<title>{escape(title)}</title>" if title else ""
    place = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{style}" x="{x:.0f}" y="{y:.0f}"{place}>{escape(text)}{hint}</text>'
