# SPDX-License-Identifier: GPL-3.0-or-later
"""proof.html from the model of proof.json: one file, no script, nothing loaded from anywhere."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from .._lists import DEFAULT, Owner
from .checks import NEGATIVE, NEIGHBOURS_TITLE
from .hops import milliseconds, worst
from .picture import GLYPHS, pictures
from .safe import clock, date, visible
from .verdict import FAILED, NOT_TESTED, OK

_WORDS = {OK: "ok", FAILED: "failed", NOT_TESTED: "not tested"}
_ORDER = (FAILED, NOT_TESTED, OK)
# a certificate that ends sooner is pointed out
_SOON_DAYS = 30


def page(model: dict[str, Any]) -> str:
    """The whole page.

    :param model: what report.py makes. Every text in it may come from anywhere: the template escapes it, and shows what can't be seen.
    """
    by_id = {line["id"]: line for line in model["proofs"]}
    made: str = _template().render(
        model=model,
        status=OK if model["ok"] else NOT_TESTED if model["check_mode"] and not model["summary"][FAILED] else FAILED,
        verdict=_verdict(model),
        took=(_moment(model["ended"]) - _moment(model["began"])).total_seconds(),
        lists=model["list"] != DEFAULT or bool(model["neighbours"]),
        failures=[_failure(failure, by_id) for failure in model["failures"]],
        neighbours=[_neighbour(each, model) for each in model["neighbours"]],
        neighbours_title=NEIGHBOURS_TITLE,
        routes=[_route(route, model) for route in model["routes"]],
        certificates=_certificates(model),
    )
    return made


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # Ansible's own, which only the controller has

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=visible, undefined=StrictUndefined, trim_blocks=True
    )
    made.globals.update(glyphs=GLYPHS, words=_WORDS)
    made.filters.update(clock=clock, date=date, when=_when, phases=_phases)
    return made.get_template("page.html.j2")


def _verdict(model: dict[str, Any]) -> str:
    routes, proven = model["summary"]["routes"], model["summary"]["proven"]
    every = "Every route of this run is proven" if model["neighbours"] else "Every route is proven"
    own = f"{routes - proven} of {routes} routes not proven" if proven < routes else every
    bad = [each["owner"] for each in model["neighbours"] if not each["ok"]]
    others = f"{bad[0] if len(bad) == 1 else f'{len(bad)} routes of other lists'} not seen to answer"
    return "; ".join([own if routes else "There is no route to prove", *([others] if bad else [])])


def _failure(failure: dict[str, Any], by_id: dict[str, dict[str, Any]]) -> dict[str, Any]:
    of = str(Owner(failure["list"], failure["route"])) if failure["neighbour"] else failure["route"]
    return {**failure, "of": of, "lines": [by_id[proof] for proof in failure["proofs"]]}


def _route(route: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """A route with its drawings, and its claims by hop."""

    def own(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in entries if (each["kind"], each["route"]) == (route["kind"], route["name"]) and not each.get("neighbour")]

    lines = own(model["proofs"])
    groups = [(hop["title"], _checks([line for line in lines if line["hop"] == hop["key"]])) for hop in route["chain"]["hops"]]
    drawings = pictures(route, own(model["hops"])) if lines else []
    return {**route, "drawings": drawings, "groups": [(title, checks) for title, checks in groups if checks]}


def _neighbour(neighbour: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    """A route of another list with all that was claimed of it."""
    wanted = (neighbour["kind"], neighbour["list"], neighbour["name"])
    lines = [line for line in model["proofs"] if line["neighbour"] and (line["kind"], line["list"], line["route"]) == wanted]
    shown = next(line for line in lines if line["status"] == neighbour["status"])
    bad = {line["through"] for line in lines if line["status"] != OK}
    said = shown["observed"] or shown["cause"].get("why", "")
    return {**neighbour, "lines": lines, "good": len(neighbour["at"]) - len(bad), "seen": said}


def _checks(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Claims, each with every place where it was looked at; what failed comes first."""
    checks: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        checks.setdefault(line["check"], []).append(line)
    return sorted(map(_check, checks.values()), key=lambda check: _ORDER.index(check["status"]))


def _check(lines: list[dict[str, Any]]) -> dict[str, Any]:
    first, status, longest = lines[0], worst(lines), max(milliseconds(line) for line in lines)
    shown = next(line for line in lines if line["status"] == status)
    return {
        "title": first["title"],
        "proves": first["proves"],
        "negative": first["polarity"] == NEGATIVE,
        "status": status,
        "seen": shown["observed"] if status != NOT_TESTED else shown["cause"].get("why", ""),
        "good": sum(line["status"] == OK for line in lines),
        "slowest": f"{longest:.1f} ms" if longest else "",
        "lines": lines,
    }


def _when(line: dict[str, Any]) -> str:
    return " · ".join(filter(None, [clock(line["started"]), f"{milliseconds(line):.1f} ms" if line["times"] else ""]))


def _phases(line: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {float(value):.1f} ms" for name, value in line["times"].items())


def _certificates(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Each certificate once, with everything that it is used for."""
    merged: dict[str, dict[str, Any]] = {}
    for entry in model["certificates"]:
        if not entry.get("sha256"):
            continue
        known = merged.setdefault(entry["sha256"], {**entry, "uses": {}})
        known["uses"].setdefault(entry["use"], set()).update(f"{entry['route']}: {place}" for place in entry["at"])
    return [{**entry, **_life(entry, model["ended"])} for entry in merged.values()]


def _life(entry: dict[str, Any], now: str) -> dict[str, Any]:
    """How much of its life is used up, and what its card is called."""
    begins, ends, today = (_moment(text) for text in (entry["not_before"], entry["not_after"], now))
    left = (ends - today).total_seconds() / 86400
    names = ", ".join(name.partition(":")[2] or name for name in entry["sans"])
    return {
        "title": names or entry["subject"] or "(no name)",
        "status": "failed" if left <= 0 or today < begins else "warn" if left < _SOON_DAYS else "ok",
        "life": "not valid yet" if today < begins else "expired" if left <= 0 else f"{left:.0f} days left",
        "used": round(min(100.0, max(0.0, 100 * (today - begins).total_seconds() / max(1.0, (ends - begins).total_seconds())))),
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
