# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of path that there is in tests alone: parcels that a relay passes on to a shelf. Three nodes, two checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugins.module_utils._probe.causes import Cause
from plugins.module_utils._probe.spec import Expect, Http, Path
from plugins.module_utils._proof.chain import Chain, Hop, Node
from plugins.module_utils._proof.checks import NEGATIVE, POSITIVE, Check
from plugins.module_utils._proof.kind import Given, Kind, Summary
from plugins.module_utils._proof.model import Proof
from plugins.module_utils._proof.planner import Planner
from plugins.module_utils._proof.verdict import Case, Rule, Verdict

CHAIN = Chain(
    nodes=(
        Node("sender", "SENDER", lambda path: path.ends("from", "handed"), lambda path: f"writes to {path.facts['host']}"),
        Node("relay", "RELAY", lambda path: path.ends("to", "handed"), lambda path: path.session("handed"), proxy=True),
        Node("shelf", "SHELF", lambda path: path.facts["shelf"], lambda _path: ""),
    ),
    hops=(
        Hop("handed", "sender", "relay", "Handed to the relay"),
        Hop("stored", "relay", "shelf", "Put on the shelf"),
        Hop("all", "sender", "shelf", "From the sender to the shelf"),
    ),
)
CHECKS = {
    check.name: check
    for check in (
        Check("shelf.arrives", "all", POSITIVE, "A parcel arrives", "It lies on its own shelf.", judge="shelf", telling=True),
        Check("relay.stranger", "handed", NEGATIVE, "A stranger's parcel is refused", "It is sent back.", "shelf.arrives", telling=True),
    )
}


def _shelf(case: Case) -> Verdict:
    found = case.headers.get("x-shelf", "(none)")
    return case.compare(found == case.wanted["shelf"], f"shelf {found}")


@dataclass(frozen=True)
class Parcel:
    """A route of this kind."""

    name: str
    host: str
    shelf: str


class _Plan(Planner):
    KIND, CHECKS = "tiny", CHECKS

    def proofs(self, parcel: Parcel) -> list[Proof]:
        """From the relay itself."""
        for check, host, expect in (("shelf.arrives", parcel.host, 200), ("relay.stranger", "nobody.example", 404)):
            path = Path(self.name, "192.0.2.7", 80, http=Http(host=host), expect=Expect(status=(expect,)))
            self.add(check, f"HTTP {expect}", path, shelf=parcel.shelf)
        return self.found


class Tiny(Kind):
    """Sender, relay, shelf."""

    name, chain, checks, given, unlike = "tiny", CHAIN, CHECKS, Given, "RELAY_ASLEEP"
    causes = {
        "WRONG_SHELF": Cause("WRONG_SHELF", "The parcel lies on another shelf.", "move it"),
        "RELAY_ASLEEP": Cause("RELAY_ASLEEP", "The relay does nothing.", "wake it"),
    }
    rules = {"shelf": Rule(_shelf, "WRONG_SHELF")}

    def routes(self, text: str, groups: Sequence[str] | None = None) -> list[Parcel]:
        """One, which has the name of another kind's route."""
        return [Parcel("shop", "gift.example", "7")]

    def look(self, routes: list[Parcel], given: Given) -> dict[str, str]:
        """One command."""
        return {"clock": "date"}

    def plan(self, routes: list[Parcel], given: Given, printed: Mapping[str, str]) -> list[Proof]:
        """From a sender, through the relay."""
        return [proof for each in routes for proof in _Plan(each.name, "sender-1", given.here, given.here).proofs(each)]

    def certificates(self, routes: list[Parcel], given: Given, printed: Mapping[str, str]) -> list[dict[str, Any]]:
        """There are none."""
        return []

    def summary(self, route: Parcel) -> Summary:
        """The shelf is all there is to say."""
        return Summary(route.host, "by hand", "nobody carries it", {"shelf": route.shelf})


KIND: Kind = Tiny()
