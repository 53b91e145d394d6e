# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before a gateway changes while it is in use, and no request is lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from lab import netns, settings
from tests.integration.access.conftest import World
from tests.integration.access.fronts import TLS
from tests.integration.access.gateways import HOST
from tests.integration.nginx import nginx_load
from tests.integration.nginx.nginx_load import Load
from tests.integration.playbooks import play

pytestmark = [pytest.mark.lab, pytest.mark.mesh]
SOAK = bool(os.environ.get("EDGEMESH_SOAK"))
GATEWAY = "hop1"
#: Requests a second, and for how long at least. The short form shares two processors with all other tests.
RATE, SECONDS = (500, 60) if SOAK else (100, 0)
# Each step is the other way round for who counts hops, or for who looks at packets.
STEPS: list[dict[str, Any]] = [{"kind": "http_proxy", "hops": 2}, {"kind": "node_port"}, {"kind": "http_proxy", "hops": 1}]


@pytest.fixture(scope="module")
def loads(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], list[Load]]:
    """Through nginx; in the long form half of it past nginx: before and after a change clients come either way."""
    program = nginx_load.build(tmp_path_factory.mktemp("load"))
    inside = netns.namespace(world.hosts["stranger"].name)
    ways = [(world.rig.host.address, TLS), (settings.NODE_IP, world.rig.node_ports[GATEWAY]["https"])][: 2 if SOAK else 1]
    # Two processors carry the load, the plays and the new gateways: a tenth of the clients are new ones.
    return lambda: [Load(program, address, port, HOST, RATE // len(ways), new=10, inside=inside) for address, port in ways]


def test_no_request_is_lost(world: World, loads: Callable[[], list[Load]]) -> None:
    # A network that nobody is in: whom a list meets while the front isn't what is declared, other tests ask; here all are let in.
    lists = {"deny": ["203.0.113.0/24"]}
    steps = STEPS if SOAK else STEPS[:1]
    world.apply(lists, (GATEWAY,), **{GATEWAY: STEPS[-1]})
    running = loads()
    with ExitStack() as stack:
        for load in running:
            stack.enter_context(load)
        began = time.monotonic()
        for front in steps:
            world.apply(lists, (GATEWAY,), **{GATEWAY: front})
        time.sleep(max(1.0, SECONDS - (time.monotonic() - began)))
    for load, way in zip(running, ("through nginx", "past it")):
        load.check({"edge"}, f"{len(steps)} changes of what stands before a gateway, {way}")


@pytest.mark.soak
def test_the_load_notices_a_lost_request(world: World, loads: Callable[[], list[Load]]) -> None:
    """A change to the PROXY protocol in place: what it loses is why it is refused."""
    load, *_ = loads()
    try:
        with load:
            time.sleep(2)
            world.last.clear()
            world.gateways.configure(GATEWAY, proxyProtocol={})
            time.sleep(3)
    finally:
        world.apply(world.both_lists)
    assert load.total("failed") > 0, load.seen


@pytest.mark.soak
def test_to_and_from_a_tcp_proxy_is_refused(world: World) -> None:
    """In place it can't be without loss: the header is a must for new pods, and garbage for old ones."""
    world.ensure(world.both_lists)
    before = templates(world)
    fronts = {GATEWAY: {"kind": "tcp_proxy"}, "proxied": {"kind": "node_port"}}
    values = {**world.values({"deny": ["203.0.113.0/24"]}, tuple(fronts), **fronts), "gateway_access_control_allow_interruption": False}
    done = play("access_control.yml", values)
    assert done.returncode != 0
    assert "allow_interruption" in done.stdout, done.stdout[-3000:]
    assert all(f"edge_gateways.{name}: from" in done.stdout for name in fronts), done.stdout[-3000:]
    assert templates(world) == before


def templates(world: World) -> dict[str, Any]:
    """What would start new pods."""
    items = world.gateways.get("deployments")["items"]
    return {each["metadata"]["name"]: json.dumps(each["spec"]["template"], sort_keys=True) for each in items}
