# SPDX-License-Identifier: GPL-3.0-or-later
"""What all plans have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

from .._probe.entry import entry
from .._probe.spec import Path
from .checks import Check
from .model import Proof


class Planner:
    """Collects the proofs of one route from one vantage point towards one target.

    :cvar KIND: the name of the kind of path.
    :cvar CHECKS: its catalogue.
    :ivar other_list: the list of a route that is none of this run's.
    """

    KIND: str
    CHECKS: Mapping[str, Check]
    other_list: str = ""

    def __init__(self, route: str, vantage: str, through: str, target: str) -> None:
        self.name, self.vantage, self.through, self.target = route, vantage, through, target
        #: what the sentences of causes may name
        self.context: dict[str, str] = {}
        self.found: list[Proof] = []

    def id(self, check: str) -> str:
        """A proof's name: stable from run to run."""
        return "/".join(filter(None, [self.other_list, self.name, check, f"{self.vantage}>{self.target}"]))

    def add(
        self,
        check: str,
        expected: str,
        probe: Optional[Path],
        *,
        shared: str = "",
        control: Optional[str] = None,
        reason: str = "",
        context: Optional[dict[str, str]] = None,
        **wanted: Any,
    ) -> None:
        """One proof.

        :param probe: what to send, under whatever name; None together with a ``reason``.
        :param shared: the check whose probe this is too.
        :param control: instead of the check's own control.
        :param context: what the sentences of its causes may name besides.
        :param wanted: what its rule is told.
        """
        made = self.CHECKS[check]
        control = made.control if control is None else control
        self.found.append(
            Proof(
                id=self.id(check),
                route=self.name,
                kind=self.KIND,
                check=check,
                vantage=self.vantage,
                through=self.through,
                target=self.target,
                expected=expected,
                probe=entry(replace(probe, name=self.id(shared or check))) if probe else None,
                judge=made.judge,
                wanted=wanted,
                context={**self.context, **(context or {})},
                control=self.id(control) if control else "",
                required=made.required,
                reason=reason,
                other_list=self.other_list,
            )
        )
