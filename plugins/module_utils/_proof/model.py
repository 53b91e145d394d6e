# SPDX-License-Identifier: GPL-3.0-or-later
"""A proof before it is made, and what all probes may say."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

# RFC 2606 and RFC 5737: nobody's name, nobody's address
NOBODY = "nobody.edgemesh.invalid"
FORGED_ADDRESS = "203.0.113.77"
FORGED_IDENTITY = f"By=spiffe://forged.invalid/ns/forged/sa/forged;Hash={'0' * 64};URI=spiffe://forged.invalid/ns/forged/sa/forged"
# RFC 6455 §1.3: its sample key, and the right answer to it
WEBSOCKET_KEY, WEBSOCKET_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CALLED_UPSTREAM = "x-envoy-upstream-service-time"


@dataclass
class Proof:
    """One line of the report before it is made.

    ``other_list`` names the list of a route that is none of this run's: a neighbour, which must still answer where this run changed
    something, and which is not counted as proven. "" for the run's own routes.
    ``through`` is the place that the route goes through at this proof, one of those that are probed from. ``probe`` is an entry of
    edge_probe's ``paths``, or None with the ``reason`` why there is none; several proofs may be judged from one probe, and one from two:
    ``beside`` is what the rule compares with. ``judge`` names the rule ("" takes the probe's own verdict), ``wanted`` is what that rule is
    told, and ``context`` what the sentences of a cause may name. ``control`` is the id of the proof without whose success this one means
    nothing.
    """

    id: str
    route: str
    kind: str
    check: str
    vantage: str
    through: str
    target: str
    expected: str
    probe: Optional[dict[str, Any]] = None
    beside: Optional[dict[str, Any]] = None
    judge: str = ""
    wanted: dict[str, Any] = field(default_factory=dict)
    context: dict[str, str] = field(default_factory=dict)
    control: str = ""
    required: bool = True
    reason: str = ""
    other_list: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        return asdict(self)


def probes(proofs: list[Proof]) -> dict[str, list[dict[str, Any]]]:
    """The probes to run, each once, by vantage point."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for proof in proofs:
        for probe in (proof.probe, proof.beside):
            if probe:
                found.setdefault(proof.vantage, {})[probe["name"]] = probe
    return {vantage: list(each.values()) for vantage, each in found.items()}


def user_agent(run: str, proof: str) -> str:
    """What a request is called, to find it again in an access log."""
    return f"edgemesh-verify/{run}-{hashlib.sha256(proof.encode()).hexdigest()[:10]}"
