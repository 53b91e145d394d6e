# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs that nginx sends no request with the TLS identity of another one."""

from __future__ import annotations

from dataclasses import replace

from ..._diagnose import ladder as plan
from ..._nginx.read import sharing
from ..._nginx.read.effective import Effective
from ..._probe.entry import entry
from ..._routes.schema import Route
from ..model import Proof
from .machine import Given, Machine, Turn
from .planner import RoutePlan


class TurnsPlan(RoutePlan):
    """On the VM: a request after one that goes to the same place as another client, over one connection to nginx, so over one worker."""

    def __init__(self, route: Route, machine: Machine, given: Given) -> None:
        super().__init__(route, machine, given, given.here, "")

    def proofs(self) -> list[Proof]:
        """Two for each neighbour: who borrows from it, and who lends to it."""
        for turn in self.machine.turns.get(self.name, []):
            self.target = turn.target
            host, path = turn.request
            self.add(turn.check, "arrives as it does alone", turn.after, context={"host": host, "path": path})
            self.found[-1].beside = entry(replace(turn.alone, name=f"{self.found[-1].id} alone"))
        return self.found


def of(way: Effective) -> list[Turn]:
    """The turns of a request whose way through nginx is known for sure."""
    if way.proxy is None or way.notes or not way.proxy.addresses:
        return []
    probes = {probe.name: probe for probe in plan.turns(way, way.host, way.path)}
    own, alone = f"{way.host}{way.path}", replace(plan.replay(way.proxy, *way.proxy.addresses[0]), in_turn=True)
    found = []
    # who shares nothing by the files is asked for a sample: nginx may run with others
    for each in way.neighbours if sharing.own(way) else way.neighbours[:1]:
        other = f"{each.host}{each.path}"
        first, then, other_alone = plan.turn_names(each, way.host, way.path)
        if first in probes:
            found.append(Turn("path.own_identity", f"{own} after {other}", (way.host, way.path), probes[first], alone))
            found.append(Turn("path.lent_identity", f"{other} after {own}", (each.host, each.path), probes[then], probes[other_alone]))
    return found
