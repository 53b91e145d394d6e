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
