# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's entries for certificates: those in files, and those that were seen on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .kind import Kind


def certificate(facts: dict[str, Any], use: str, route: str, at: list[str]) -> dict[str, Any]:
    """A certificate's entry in the report: what for, whose, until when, and its fingerprint.

    :param use: such as "the gateway presents".
    :param at: where it was seen: hosts, ``host:file``, or addresses.
    """
    kept = ("subject", "issuer", "sans", "not_before", "not_after", "sha256", "key", "serial")
    return {"use": use, "route": route, "at": at, **{name: facts[name] for name in kept if name in facts}}


def merged(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each certificate once for each route and use, with all places where it was seen."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in entries:
        known = found.setdefault((entry["route"], entry["use"], str(entry.get("sha256"))), {**entry, "at": []})
        known["at"] = list(dict.fromkeys([*known["at"], *entry["at"]]))
    return list(found.values())


def presented(kind: Kind, lines: list[dict[str, Any]], sessions: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that were seen on the wire.

    :param lines: the report's proofs of one kind.
    :param sessions: what the probe of a proof saw of TLS, by proof id.
    """
    found = []
    for line in lines:
        shows = kind.checks[line["check"]].presents
        for depth, facts in enumerate(sessions[line["id"]].get("chain") or [] if shows else []):
            found.append(certificate(facts, f"{shows} {'sends along' if depth else 'presents'}", line["route"], [line["to"]]))
    return found
