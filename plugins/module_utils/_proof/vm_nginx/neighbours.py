# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs that other lists' routes answer on a VM where this run changed something."""

from __future__ import annotations

from dataclasses import replace

from ..._address import join
from ..._lists import Owner
from ..._probe.expect import statuses
from ..._probe.spec import Path
from ..model import NOBODY, Proof
from ..planner import Planner
from .catalogue import CHECKS
from .machine import Given
from .planner import refused


class NeighbourPlan(Planner):
    """From the VM itself, as its store of routes says how to ask for one."""

    KIND = "vm_nginx"
    CHECKS = CHECKS

    def __init__(self, given: Given, owner: Owner, path: Path) -> None:
        host = path.http.host if path.http else path.tls.sni if path.tls else path.address
        super().__init__(owner.route, given.here, given.here, join(host, path.port))
        self.other_list, self.path, self.context = owner.list_name, path, {"host": host}

    def proofs(self) -> list[Proof]:
        """The route, and a stranger in the same way."""
        path, expect = self.path, self.path.expect
        wanted = f"refused: {', '.join(expect.codes)}" if expect.refused else f"HTTP {statuses(expect)}"
        self.add("neighbour.answers", wanted, path)
        tls, http = path.tls and replace(path.tls, sni=NOBODY, verify_name=""), path.http and replace(path.http, host=NOBODY)
        self.add("neighbour.stranger", "refused, or an answer of nginx itself", replace(path, tls=tls, http=http, expect=refused()))
        self.found[-1].beside = self.found[0].probe
        return self.found
