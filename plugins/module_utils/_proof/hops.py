# SPDX-License-Identifier: GPL-3.0-or-later
"""The hops of a route with the most telling observations, for the picture of the path."""

from __future__ import annotations

from collections import Counter
from typing import Any, Optional

from .checks import TLS
from .kind import Kind
from .verdict import FAILED, NOT_TESTED, OK


def hops(kind: Kind, route: str, lines: list[dict[str, Any]], sessions: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each hop of ``route`` that was looked at.

    :param lines: the report's proofs of this route.
    :param sessions: what the probe of a proof saw of TLS, by proof id.
    """
    made = []
    for hop in kind.chain.order:
        own = [line for line in lines if line["hop"] == hop]
        if own:
            made.append(
                {
                    "route": route,
                    "kind": kind.name,
                    "hop": hop,
                    "from": sorted({line["from"] for line in own}),
                    "to": sorted({line["to"] for line in own if line["to"]}),
                    "status": worst(own),
                    "counts": dict(Counter(line["status"] for line in own)),
                    "session": _session(kind, hop, own, sessions),
                    "facts": [_fact(line) for line in _telling(kind, hop, own)],
                    "saw": _saw(own),
                }
            )
    return made


def worst(lines: list[dict[str, Any]]) -> str:
    """failed if any failed, else ok if any is ok, else not_tested."""
    found = {line["status"] for line in lines}
    return next((status for status in (FAILED, OK) if status in found), NOT_TESTED)


def milliseconds(line: dict[str, Any]) -> float:
    """All phases of a proof's probe together."""
    return round(sum(float(value) for value in line["times"].values()), 1)


def _saw(lines: list[dict[str, Any]]) -> dict[str, list[str]]:
    """From which addresses the requests came, for each place that shows it."""
    found: dict[str, set[str]] = {}
    for line in lines:
        for place, address in line["saw"].items():
            found.setdefault(place, set()).add(address)
    return {place: sorted(filter(None, addresses)) for place, addresses in found.items()}


def _session(kind: Kind, hop: str, lines: list[dict[str, Any]], sessions: dict[str, dict[str, Any]]) -> str:
    """How the two ends of the hop speak: ``TLS 1.3``, ``mTLS 1.3``, or what its check calls it; "" where nothing shows it."""
    check = next((check for check in kind.checks.values() if check.hop == hop and check.session), None)
    line = _first(lines, check.name) if check else None
    if check is None or line is None:
        return ""
    if check.session != TLS:
        return check.session if line["status"] == OK else ""
    tls = sessions[line["id"]]
    mutual = "m" if tls.get("certificate_requested") and line["status"] == OK else ""
    return f"{mutual}TLS {tls['version']}" if tls.get("version") else ""


def _telling(kind: Kind, hop: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What failed, and what always tells something."""
    telling = (check.name for check in kind.checks.values() if check.hop == hop and check.telling)
    checks = dict.fromkeys([*(line["check"] for line in lines if line["status"] == FAILED), *telling])
    return [line for check in checks if (line := _first(lines, check))]


def _first(lines: list[dict[str, Any]], check: str) -> Optional[dict[str, Any]]:
    """The line to show for a check: a failed one rather than a good one, and none that wasn't tested."""
    tested = [line for line in lines if line["check"] == check and line["status"] != NOT_TESTED]
    return next((line for line in tested if line["status"] == FAILED), tested[0] if tested else None)


def _fact(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "label": line["title"],
        "value": line["observed"],
        "status": line["status"],
        "at": line["started"],
        "milliseconds": milliseconds(line),
        "proof": line["id"],
    }
