# SPDX-License-Identifier: GPL-3.0-or-later
"""What one task hands on to the next as text: Ansible looks into every value that it passes on, a second for some hundred proofs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from .._errors import EdgeError


@dataclass(frozen=True)
class Asked:
    """Entries for edge_probe, by the inventory name of who is asked to probe them."""

    probes: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Asked:
        """All that several hosts ask; the same entry once.

        :raises EdgeError: for a text that is none of :meth:`text`.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for text in texts:
            for name, entries in _read(text, "asked").items():
                found.setdefault(name, {}).update((entry["name"], entry) for entry in entries)
        return cls({name: list(entries.values()) for name, entries in found.items()})

    def text(self) -> str:
        """To be carried to who is asked."""
        return json.dumps(self.probes)


@dataclass(frozen=True)
class Seen:
    """What a host has seen; one that routes go through adds what was to be proven, and the certificates that lie there.

    :param by: the host's inventory name.
    :param results: of edge_probe.
    :param trouble: why there are none.
    :param certificates: the report's entries for them.
    """

    by: str
    results: list[dict[str, Any]]
    trouble: str = ""
    proofs: list[dict[str, Any]] = field(default_factory=list)
    certificates: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Seen:
        """:raises EdgeError: for a text that is none of :meth:`text`."""
        found = _read(text, "evidence")
        if found.keys() != {each.name for each in fields(cls)}:
            raise _foreign("evidence")
        return cls(**found)

    def text(self) -> str:
        """To be carried to the report."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)})


def _read(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise _foreign(name)
    return found


def _foreign(name: str) -> EdgeError:
    return EdgeError(f"{name} is not a result of proof_probe", fix=f"Pass `{name}` of its results unchanged")
