# SPDX-License-Identifier: GPL-3.0-or-later
"""A diagnosis as lines for people: the answer comes first."""

from __future__ import annotations

from .verdict import Diagnosis, Named


def text(diagnosis: Diagnosis) -> list[str]:
    """The answer, why, the fix, further causes and findings, and the probes that showed it."""
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
    return lines


def _lines(named: Named, indent: str) -> list[str]:
    where = f"   # {named.place}" if named.place else ""
    return [f"{indent}why: {named.why}", f"{indent}fix: {named.fix}{where}", f"{indent}see: {named.doc}"]
