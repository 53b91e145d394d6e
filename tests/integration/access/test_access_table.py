# SPDX-License-Identifier: GPL-3.0-or-later
"""Who comes in through which front: as the lists say, by IPv4 and IPv6, and every denial is counted once."""

from __future__ import annotations

from typing import Any

import pytest

from lab import network
from tests.integration.access.conftest import World
from tests.integration.access.fronts import FRONTS

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
FAMILIES = [False, *([True] if network.has_ipv6() else [])]
NOBODY: dict[str, Any] = {}


def test_both_lists(world: World) -> None:
    world.ensure(world.both_lists)
    for ipv6 in FAMILIES:
        world.expect({"allowed": "in", "stranger": "denied", "denied": "denied", "both": "denied"}, ipv6)


def test_no_list_any_more(world: World) -> None:
    world.ensure(NOBODY)
    for ipv6 in FAMILIES:
        world.expect({"allowed": "in", "stranger": "in", "denied": "in", "both": "in"}, ipv6)
        for front in FRONTS:
            client = world.client("stranger", ipv6)
            assert client.ask(world.rig.at(front, ipv6)).headers["x-seen-client"] == client.address, front.name


@pytest.mark.soak
@pytest.mark.parametrize(
    ("allow", "deny", "verdict", "others"),
    [
        pytest.param(False, False, "in", "in", id="baseline"),
        pytest.param(True, False, "in", "denied", id="in ALLOW"),
        pytest.param(False, True, "denied", "in", id="in DENY"),
        pytest.param(True, True, "denied", "denied", id="in both"),
        pytest.param(False, False, "in", "in", id="removed"),
    ],
)
def test_one_client_step_by_step(world: World, allow: bool, deny: bool, verdict: str, others: str) -> None:
    lists = {"allow": world.both("allowed") if allow else [], "deny": world.both("allowed") if deny else []}
    world.ensure(lists)
    for ipv6 in FAMILIES:
        world.expect({"allowed": verdict, "stranger": others}, ipv6)
