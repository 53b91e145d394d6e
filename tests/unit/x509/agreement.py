# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of docs/certificates.md: our verdicts beside what nginx and Envoy did, written by tests/integration/tls_secret."""

from __future__ import annotations

from pathlib import Path

TABLE = Path(__file__).parents[3] / "docs" / "certificates.md"
SETS_HEAD = "| Set | nginx, of a server | nginx, of a client | Envoy, of a server | Envoy, of a client |"
OWN_HEAD = "| Files | nginx | Envoy |"
CREDENTIAL_HEAD = "| Secrets | Envoy |"


def cell(code: str, accepted: bool) -> str:
    """Our verdict, and what the program did."""
    return f"{code or 'fine'} / {'accepted' if accepted else 'refused'}"


def row(title: str, *cells: str) -> str:
    """A line of a table."""
    return f"| {title} | {' | '.join(cells)} |"


def _place(lines: list[str], head: str) -> tuple[int, int]:
    first = lines.index(head) + 2
    return first, next((number for number in range(first, len(lines)) if not lines[number].startswith("|")), len(lines))


def rows(head: str) -> list[str]:
    """The rows under ``head``."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    first, last = _place(lines, head)
    return lines[first:last]


def write(head: str, made: list[str]) -> None:
    """Put these rows under ``head``."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    first, last = _place(lines, head)
    TABLE.write_text("\n".join([*lines[:first], *made, *lines[last:], ""]), encoding="utf-8")
