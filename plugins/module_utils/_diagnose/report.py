"""A diagnosis for people, short enough for two in the morning: the answer first."""

from __future__ import annotations

from typing import Any


def text(diagnosis: dict[str, Any]) -> list[str]:
    """The report, short enough for two in the morning: the answer first."""
    lines = [f"{diagnosis['host']}{diagnosis['path']}: {'healthy' if diagnosis['healthy'] else diagnosis['cause']['code']}"]
    if diagnosis["cause"]:
        lines += _lines(diagnosis["cause"], "")
    for each in diagnosis["then"]:
        lines += [f"and then {each['code']}", *_lines(each, "  ")]
    for each in diagnosis["findings"]:
        lines += [f"besides {each['code']}", *_lines(each, "  ")]
    lines += [f"note: {note}" for note in diagnosis["notes"]]
    lines.append("seen:")
    for each in diagnosis["evidence"]:
        total = sum(each["times"].values())
        mark = "ok " if each["ok"] else "BAD"
        lines.append(f"  {mark} {each['name']} ({each['target']}): {each['observed']}, {total:.0f} ms {each['code']}".rstrip())
    return lines


def _lines(named: dict[str, str], indent: str) -> list[str]:
    where = f"   # {named['place']}" if named["place"] else ""
    return [f"{indent}why: {named['why']}", f"{indent}fix: {named['fix']}{where}", f"{indent}see: {named['doc']}"]
