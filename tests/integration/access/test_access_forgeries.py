# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that is denied stays out whatever it writes; where somebody miscounted the hops, the same forgeries get in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab import settings
from tests.figures import FIGURES
from tests.integration.access.conftest import World
from tests.integration.access.forgeries import Forgery, forgeries
from tests.integration.access.fronts import DECLARED, FRONTS, Front
from tests.integration.access.gateways import until
from tests.integration.access.test_access_table import FAMILIES
from tests.integration.access.wire import proxy_v1, proxy_v2

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
# One trusted HTTP proxy too many, as nobody who counts would write it.
MISCOUNTED: dict[str, dict[str, Any]] = {
    "proxied": {"proxyProtocol": {}, "numTrustedProxies": 1},
    "hop1": {"numTrustedProxies": 2},
    "hop2": {"numTrustedProxies": 3},
}


@pytest.fixture(scope="module")
def lists(world: World) -> dict[str, Any]:
    """By which a stranger is kept out everywhere."""
    world.ensure(world.both_lists)
    return world.both_lists


def known(world: World, ipv6: bool) -> list[Forgery]:
    hops = tuple(host.address6 if ipv6 else host.address for host in (world.rig.outer, world.rig.host))
    return forgeries(world.client("allowed", ipv6).address, world.client("stranger", ipv6).address, hops)


def verdicts(world: World, front: Front, ipv6: bool) -> dict[str, str]:
    """Of every forgery."""
    stranger, at = world.client("stranger", ipv6), world.rig.at(front, ipv6)
    return {each.name: stranger.ask(at, *each.lines, first=each.first).verdict for each in known(world, ipv6)}


def past_the_front(world: World, name: str, ipv6: bool) -> dict[str, str]:
    """What a stranger is answered who connects to the gateway's NodePort and writes what its front would."""
    allowed, stranger = world.client("allowed", ipv6), world.client("stranger", ipv6)
    at = (settings.NODE_IP6 if ipv6 else settings.NODE_IP, world.rig.node_ports[name]["http2"])
    listed = [f"X-Forwarded-For: {', '.join([allowed.address] * count)}" for count in (1, 2)]
    firsts = [proxy_v1(allowed.address, at[0]), proxy_v2(allowed.address, at[0])] if name == "proxied" else [b"", b""]
    return {f"{first!r} {line}": stranger.ask(at, line, first=first).verdict for first, line in zip(firsts, listed)}


@pytest.mark.parametrize("ipv6", FAMILIES)
@pytest.mark.parametrize("front", FRONTS, ids=lambda front: front.name)
def test_nobody_is_fooled(world: World, lists: dict[str, Any], front: Front, ipv6: bool) -> None:
    at = world.rig.at(front, ipv6)
    assert until(lambda: world.verdicts(["allowed", "stranger"], front, ipv6) == {"allowed": "in", "stranger": "denied"})
    before = world.gateways.denied(front.gateway)
    found = verdicts(world, front, ipv6)
    assert "in" not in found.values(), found
    for each in known(world, ipv6):
        assert each.malformed or found[each.name] == "denied", (each.name, found[each.name])
    assert world.gateways.denied(front.gateway) - before == list(found.values()).count("denied")
    # whom it was about, in spite of a list that it brings along itself
    assert world.client("allowed", ipv6).ask(at, "X-Forwarded-For: 203.0.113.9").verdict == "in"
    FIGURES.append(f"{front.name}, IPv{6 if ipv6 else 4}: {len(found)} forgeries, 0 got in")


@pytest.mark.parametrize("ipv6", FAMILIES)
@pytest.mark.parametrize("name", ["proxied", "hop1", "hop2"])
def test_nobody_comes_past_the_front(world: World, lists: dict[str, Any], name: str, ipv6: bool) -> None:
    """Whoever may connect to a gateway that believes a proxy can be anybody, so that only the proxy may."""
    found = past_the_front(world, name, ipv6)
    assert "in" not in found.values(), found
    assert "denied" in found.values(), found


def got_in(world: World, front: Front, ipv6: bool) -> set[str]:
    """The names of forgeries that were believed."""
    return {name for name, verdict in verdicts(world, front, ipv6).items() if verdict == "in"}


@pytest.mark.soak
def test_a_wrong_count_lets_them_in(world: World, lists: dict[str, Any]) -> None:
    """And the role, run again, sets it right."""
    world.last.clear()
    with ThreadPoolExecutor(len(MISCOUNTED)) as pool:
        list(pool.map(lambda name: world.gateways.configure(name, **MISCOUNTED[name]), MISCOUNTED))
    try:
        for front in (front for front in FRONTS if front.gateway in MISCOUNTED):
            for ipv6 in FAMILIES:
                wanted = {each.name for each in known(world, ipv6) if each.counts}
                # for a moment the pods of before answer, too
                found = until(lambda front=front, ipv6=ipv6, wanted=wanted: wanted <= (seen := got_in(world, front, ipv6)) and seen)
                assert found, f"{front.name}: {sorted(wanted - got_in(world, front, ipv6))} were not believed"
                FIGURES.append(f"{front.name}, IPv{6 if ipv6 else 4}, one hop too many: {len(found)} forgeries got in")
    finally:
        world.apply(lists)
    for front in FRONTS:
        assert "in" not in verdicts(world, front, False).values(), front.name


@pytest.mark.soak
def test_without_its_proxies_named_everybody_is_believed(world: World, lists: dict[str, Any]) -> None:
    """So that the test of who comes past the front can fail."""
    believing = {name: DECLARED[name] for name in ("proxied", "hop1", "hop2")}
    world.apply(lists, **believing)
    try:
        for name in believing:
            assert until(lambda name=name: "in" in past_the_front(world, name, False).values()), name
    finally:
        world.apply(lists)
