# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis as lines for people: the answer comes first."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .._quoted import without_query
from .verdict import Diagnosis, Named


def shown(diagnosis: Diagnosis) -> dict[str, Any]:
    """All of it as JSON types. A URL of nginx's configuration may hold credentials in its query: their values stay hidden."""
    made: dict[str, Any] = _hidden(asdict(diagnosis))
    return made


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _hidden(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return without_query(value) if isinstance(value, str) else value


def text(diagnosis: Diagnosis) -> list[str]:
    """The answer, why, the fix, further causes and findings, and the probes that showed it; queries as :func:`shown` has them."""
    lines = [f"{diagnosis.host}{diagnosis.path}: {diagnosis.cause.code if diagnosis.cause else 'healthy'}"]
    if diagnosis.cause:
        lines += _lines(diagnosis.cause, "")
    for each in diagnosis.then:
        lines += [f"and then {each.code}", *_lines(each, "  ")]
    for each in diagnosis.findings:
        lines += [f"besides {each.code}", *_lines(each, "  ")]
    lines += [f"note: {note}" for note in diagnosis.notes]
    lines.append("seen:")
    for seen in diagnosis.evidence:
        total = sum(seen["times"].values())
        mark = "ok " if seen["ok"] else "BAD"
        lines.append(f"  {mark} {seen['name']} ({seen['target']}): {seen['observed']}, {total:.0f} ms {seen['code']}".rstrip())
    return list(map(without_query, lines))


def _lines(named: Named, indent: str) -> list[str]:
    where = f"   # {named.place}" if named.place else ""
    return [f"{indent}why: {named.why}", f"{indent}fix: {named.fix}{where}", f"{indent}see: {named.doc}"]
