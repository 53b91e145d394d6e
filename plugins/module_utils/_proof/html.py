"""proof.html from the model of proof.json: one file, no script, nothing loaded from anywhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from .checks import FRONT, GATEWAY, HOPS, MESH, NEGATIVE, PATH, POSITIVE
from .hops import milliseconds, worst
from .judge import FAILED, NOT_TESTED, OK
from .picture import GLYPHS, picture
from .safe import clock, date, escape
from .style import CSS

_HOP_TITLES = {
    FRONT: "Client to nginx",
    GATEWAY: "nginx's machine to the gateway",
    MESH: "Gateway to app",
    PATH: "Client to app, through nginx",
}
_WORDS = {OK: "ok", FAILED: "failed", NOT_TESTED: "not tested"}
_ORDER = (FAILED, NOT_TESTED, OK)
_COLUMNS = '<th class="place">From → to</th><th class="expected">Expected</th><th>Observed</th><th class="time">When</th>'
# a certificate that ends sooner is pointed out
_SOON_DAYS = 30


def page(model: dict[str, Any]) -> str:
    """The whole page. ``model`` is what report.py makes; every text in it is escaped here."""
    title = "Proven" if model["ok"] else "Not proven"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}: edge to mesh</title><style>{CSS}</style></head>\n<body>{_header(model)}<main>"
        f"{_failures(model)}{''.join(_route(route, model) for route in model['routes'])}{_certificates(model)}"
        f"</main>{_footer(model)}</body></html>\n"
    )


def _header(model: dict[str, Any]) -> str:
    summary, status = (
        model["summary"],
        OK if model["ok"] else (NOT_TESTED if model["check_mode"] and not model["summary"][FAILED] else FAILED),
    )
    verdict = (
        "Every route is proven" if model["ok"] else f"{summary['routes'] - summary['proven']} of {summary['routes']} routes not proven"
    )
    if not model["routes"]:
        verdict = "There is no route to prove"
    chips = [f'<span class="chip {kind if summary[kind] else ""}">{summary[kind]} {word}</span>' for kind, word in _WORDS.items()]
    chips += [_route_chip(route) for route in model["routes"]]
    mode = " · check mode: nothing was changed" if model["check_mode"] else ""
    took, collection = _seconds(model["started"], model["finished"]), model["collection"]
    return (
        f'<header><div><div class="verdict"><div class="seal {status}" aria-hidden="true">{GLYPHS[status]}</div><div><h1>{verdict}</h1>'
        f"<p>{escape(date(model['started']))} · {took:.1f} s · {escape(collection['name'])} {escape(collection['version'])}{mode}</p>"
        f'</div></div><div class="counts">{"".join(chips)}</div></div></header>'
    )


def _route_chip(route: dict[str, Any]) -> str:
    status = OK if route["ok"] else FAILED
    return f'<a class="chip {status}" href="#{escape(route["name"])}">{GLYPHS[status]} {escape(route["name"])}</a>'


def _failures(model: dict[str, Any]) -> str:
    """What failed, one card for each cause, and what is missing."""
    by_id = {line["id"]: line for line in model["proofs"]}
    cards = [_failure(failure, [by_id[proof] for proof in failure["proofs"]]) for failure in model["failures"]]
    for route in model["routes"]:
        if route["missing"]:
            items = "".join(f"<li>{escape(what)}</li>" for what in route["missing"])
            cards.append(f'<div class="card failure not_tested"><h3>{escape(route["name"])}: proofs are missing</h3><ul>{items}</ul></div>')
    return f'<section><div class="head"><h2>What is wrong</h2></div>{"".join(cards)}</section>' if cards else ""


def _failure(cause: dict[str, Any], lines: list[dict[str, Any]]) -> str:
    """One cause, and every claim that it breaks."""
    broken = "".join(
        f"<tr><td>{escape(line['title'])}</td><td>{escape(line['from'])} → {escape(line['to'])}</td>"
        f'<td data-of="expected">{escape(line["expected"])}</td><td data-of="observed">{escape(line["observed"])}</td>'
        f'<td class="time">{_when(line)}</td></tr>'
        for line in lines
    )
    return (
        f'<div class="card failure"><h3>{escape(cause["route"])}: <code>{escape(cause["code"])}</code></h3><p>{escape(cause["why"])}</p>'
        f'<code class="fix">{escape(cause["fix"])}</code>'
        f'<table><thead><tr><th class="what">Not so</th>{_COLUMNS}</tr></thead>'
        f"<tbody>{broken}</tbody></table></div>"
    )


def _route(route: dict[str, Any], model: dict[str, Any]) -> str:
    lines = [line for line in model["proofs"] if line["route"] == route["name"]]
    claims, status = route["claims"], OK if route["ok"] else FAILED
    head = (
        f'<div class="head"><h2>{escape(route["name"])}</h2>'
        f'<span class="host">{escape(route["host"])} · gateway TLS {escape(route["mode"])}</span>'
        f'<span class="chip {status}">{claims[POSITIVE]} positive and {claims[NEGATIVE]} negative claims hold</span></div>'
    )
    drawing = picture(route, [hop for hop in model["hops"] if hop["route"] == route["name"]]) if lines else ""
    groups = "".join(_group(hop, [line for line in lines if line["hop"] == hop]) for hop in HOPS)
    return f'<section id="{escape(route["name"])}">{head}<div class="card picture">{drawing}</div>{groups}</section>'


def _group(hop: str, lines: list[dict[str, Any]]) -> str:
    checks: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        checks.setdefault(line["check"], []).append(line)
    ordered = sorted(checks.values(), key=lambda own: _ORDER.index(worst(own)))
    return f'<h3>{_HOP_TITLES[hop]}</h3><div class="card list">{"".join(map(_check, ordered))}</div>' if checks else ""


def _check(lines: list[dict[str, Any]]) -> str:
    """One claim: folded to a line, unfolded to every place where it was looked at."""
    first, status = lines[0], worst(lines)
    shown = next(line for line in lines if line["status"] == status)
    seen = shown["observed"] if status != NOT_TESTED else shown["cause"].get("why", "")
    good = sum(line["status"] == OK for line in lines)
    negative = '<span class="neg">negative</span>' if first["polarity"] == NEGATIVE else ""
    rows = "".join(map(_place, lines))
    return (
        f'<details{" open" if status == FAILED else ""}><summary><span class="glyph {status}">{GLYPHS[status]}</span>'
        f'<span class="title">{escape(first["title"])}{negative}</span><span class="seen">{escape(seen)}</span>'
        f'<span class="places">{good} of {len(lines)}<br>{escape(_slowest(lines))}</span></summary>'
        f'<div class="inside"><p>{escape(first["proves"])}</p><table><thead><tr><th class="state"></th>{_COLUMNS}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def _place(line: dict[str, Any]) -> str:
    cause = line["cause"]
    why = " ".join(filter(None, [cause.get("code", ""), cause.get("why", "")]))
    reason = f'<span class="why">{escape(why)}</span>' if why else ""
    return (
        f'<tr><td class="{line["status"]}">{GLYPHS[line["status"]]} {_WORDS[line["status"]]}</td>'
        f"<td>{escape(line['from'])} → {escape(line['to'])}</td>"
        f'<td data-of="expected">{escape(line["expected"])}</td>'
        f'<td data-of="observed">{escape(line["observed"])}{reason}</td>'
        f'<td class="time">{_when(line)}</td></tr>'
    )


def _when(line: dict[str, Any]) -> str:
    phases = ", ".join(f"{name.replace('_', ' ')} {float(value):.1f} ms" for name, value in line["times"].items())
    shown = " · ".join(filter(None, [clock(line["started"]), f"{milliseconds(line):.1f} ms" if line["times"] else ""]))
    return f'<span title="{escape(phases)}">{escape(shown)}</span>' if shown else ""


def _slowest(lines: list[dict[str, Any]]) -> str:
    longest = max(milliseconds(line) for line in lines)
    return f"{longest:.1f} ms" if longest else ""


def _certificates(model: dict[str, Any]) -> str:
    """Each certificate once, with everything that it is used for."""
    merged: dict[str, dict[str, Any]] = {}
    for entry in model["certificates"]:
        if not entry.get("sha256"):
            continue
        known = merged.setdefault(entry["sha256"], {**entry, "uses": {}})
        known["uses"].setdefault(entry["use"], set()).update(f"{entry['route']}: {place}" for place in entry["at"])
    cards = [_certificate(entry, model["finished"]) for entry in merged.values()]
    return f'<section><div class="head"><h2>Certificates</h2></div><div class="certs">{"".join(cards)}</div></section>' if cards else ""


def _certificate(entry: dict[str, Any], now: str) -> str:
    begins, ends, today = (_moment(text) for text in (entry["not_before"], entry["not_after"], now))
    left = (ends - today).total_seconds() / 86400
    used = min(100.0, max(0.0, 100 * (today - begins).total_seconds() / max(1.0, (ends - begins).total_seconds())))
    status = "failed" if left <= 0 or today < begins else "warn" if left < _SOON_DAYS else "ok"
    names = ", ".join(name.partition(":")[2] or name for name in entry["sans"])
    uses = "<br>".join(f'<span title="{escape(", ".join(sorted(places)))}">{escape(use)}</span>' for use, places in entry["uses"].items())
    life = "not valid yet" if today < begins else "expired" if left <= 0 else f"{left:.0f} days left"
    return (
        f'<div class="card cert"><b>{escape(names or entry["subject"] or "(no name)")}</b><span class="uses">{uses}</span>'
        f"<dl><dt>Issuer</dt><dd>{escape(entry['issuer'])}</dd><dt>Valid</dt>"
        f'<dd>{escape(entry["not_before"][:10])} to {escape(entry["not_after"][:10])} <span class="chip {status}">{life}</span></dd>'
        f'<dt>SHA-256</dt><dd class="mono">{escape(entry["sha256"])}</dd></dl>'
        f'<div class="life {status}"><i style="width:{used:.0f}%"></i></div></div>'
    )


def _footer(model: dict[str, Any]) -> str:
    return (
        "<footer><p>A claim holds when it holds at every place where it was looked at. A negative proof shows that what must be refused is "
        "refused; it counts only where its control, the same thing done right, works at the same place. What could not be tested says why, "
        "and is never counted as ok.</p>"
        f"<p>Run <code>{escape(model['run'])}</code>, {escape(date(model['started']))} to {escape(date(model['finished']))}. "
        f"The same facts for programs: proof.json (<code>{escape(model['schema'])}</code>).</p></footer>"
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _seconds(start: str, end: str) -> float:
    return (_moment(end) - _moment(start)).total_seconds()
