# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plans of this path have in common."""

from __future__ import annotations

from typing import Any, Optional

from ..._probe.spec import Expect, Http, Path
from ..._routes.schema import Route
from ..planner import Planner
from .catalogue import CHECKS
from .machine import Given, Machine


class RoutePlan(Planner):
    """The proofs of one route through one VM, from one vantage point towards one target."""

    KIND = "vm_nginx"
    CHECKS = CHECKS

    def __init__(self, route: Route, machine: Machine, given: Given, vantage: str, target: str) -> None:
        super().__init__(route.name, vantage, given.here, target)
        self.route, self.machine, self.given = route, machine, given
        self.listen, self.upstream = route.listen, route.upstream_tls
        self.mutual = self.upstream.mode == "mutual"
        # clients speak TLS to whoever is behind nginx
        self.passes = self.listen.mode == "passthrough"
        # with passthrough the app itself ends the TLS session and speaks HTTP
        self.http_at_gateway = self.upstream.mode != "passthrough"
        #: the route's own
        self.request = Http(method=route.probe.method, path=route.probe.path, host=route.host)
        self.good = Expect(status=(route.probe.status,))
        nginx = machine.nginx.get(route.name)
        self.context = {"prefix": nginx.prefix} if nginx else {}

    def add(self, check: str, expected: str, probe: Optional[Path], **others: Any) -> None:
        """As every plan does; clients' own certificates are not here to probe with."""
        if self.passes and self.mutual:
            probe, others["reason"] = None, "clients show certificates of their own to the gateway, and none of them is here"
        super().add(check, expected, probe, **others)


def refused(*codes: str) -> Expect:
    """To be turned away, by one of these causes where any are named."""
    return Expect(refused=True, codes=codes)
