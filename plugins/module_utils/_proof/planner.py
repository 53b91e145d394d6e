"""What both kinds of plan have in common."""

from __future__ import annotations

from typing import Any, Optional

from .checks import CHECKS
from .model import Machine, Options, Proof

Probe = dict[str, Any]


class Planner:
    """Collects the proofs of one route from one vantage point towards one target."""

    def __init__(self, route: dict[str, Any], machine: Machine, options: Options, vantage: str, target: str) -> None:
        self.route, self.machine, self.options = route, machine, options
        self.vantage, self.target = vantage, target
        self.found: list[Proof] = []
        self.host: str = route["host"]
        self.listen: dict[str, Any] = route["listen"]
        self.upstream: dict[str, Any] = route["upstream_tls"]
        self.mutual = self.upstream["mode"] == "mutual"
        # clients speak TLS to whoever is behind nginx
        self.passes = self.listen["mode"] == "passthrough"
        # with passthrough the app itself ends the TLS session and speaks HTTP
        self.http_at_gateway = self.upstream["mode"] != "passthrough"
        self.status: int = route["probe"]["status"]

    def id(self, check: str) -> str:
        """A proof's name: stable from run to run."""
        return f"{self.route['name']}/{check}/{self.vantage}>{self.target or self.route['gateway']['name']}"

    def add(
        self,
        check: str,
        expected: str,
        probe: Optional[Probe],
        *,
        shared: str = "",
        control: Optional[str] = None,
        reason: str = "",
        **wanted: Any,
    ) -> None:
        """One proof.

        :param probe: what to send; None together with a ``reason``, or where ``wanted`` alone decides.
        :param shared: the check whose probe this is too.
        :param control: instead of the check's own control.
        """
        kind = CHECKS[check]
        if self.passes and self.mutual:
            probe, reason = None, "clients show certificates of their own to the gateway, and none of them is here"
        control = kind.control if control is None else control
        self.found.append(
            Proof(
                id=self.id(check),
                route=self.route["name"],
                check=check,
                vantage=self.vantage,
                machine=self.machine.name,
                target=self.target,
                expected=expected,
                probe={"name": self.id(shared or check), **probe} if probe else None,
                judge=kind.judge,
                wanted=wanted,
                control=self.id(control) if control else "",
                required=kind.required,
                reason=reason,
            )
        )

    def request(self, **changes: Any) -> Probe:
        """The route's own request, with changes."""
        probe = self.route["probe"]
        return {"version": "1.1", "method": probe["method"], "path": probe["path"], "host": self.host, **changes}
